"""What operators see: Prometheus metrics, labelled by language pair and never by session."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tokenspeed.engine.core import EngineStats

BUCKETS = (0.01, 0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1.0, 2.0)  # seconds
STALL_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds


class Metrics:
    """Counters of one service; each has its own registry, so that tests do not share any.

    Attributes:
        longest_stall_s: the longest turn of the event loop so far.
        longest_work_s: most processor time of a turn: others' work on the machine left out.
    """

    def __init__(self, engine_stats: Callable[[], EngineStats]) -> None:
        self.registry = CollectorRegistry()
        pair = ("source", "target")
        self.sessions = Gauge("tokenspeed_sessions", "Open sessions", registry=self.registry)
        self.closed = Counter(
            "tokenspeed_sessions_closed", "Ended sessions", ("code",), registry=self.registry
        )
        self.refused = Counter(
            "tokenspeed_sessions_refused", "Refused sessions", ("reason",), registry=self.registry
        )
        self.connections_refused = Counter(
            "tokenspeed_connections_refused",
            "Connections that were too many, or gave way to others while they waited",
            ("reason",),
            registry=self.registry,
        )
        self.updates = Counter(
            "tokenspeed_updates", "Translations begun", (*pair, "kind"), registry=self.registry
        )
        self.superseded = Counter(
            "tokenspeed_updates_superseded",
            "Translations that a newer revision cut short",
            pair,
            registry=self.registry,
        )
        self.update_seconds = Histogram(
            "tokenspeed_update_seconds",
            "From the arrival of a revision to its whole translation",
            (*pair, "kind"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "tokenspeed_queue_seconds",
            "From submission to the engine's first step",
            pair,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "tokenspeed_tokens", "Output tokens", (*pair, "kind"), registry=self.registry
        )
        self.faults = Counter(
            "tokenspeed_output_faults",
            "Outputs that were no translation, and texts that were left as they were for it",
            ("target", "kind"),
            registry=self.registry,
        )
        self.coalesced = Counter(
            "tokenspeed_coalesced",
            "Revisions or deltas that a newer one replaced",
            ("where",),
            registry=self.registry,
        )
        self.stale = Counter(
            "tokenspeed_stale_revisions", "Revisions that came too late", registry=self.registry
        )
        self.slow = Counter(
            "tokenspeed_slow_consumers", "Closed for reading too slowly", registry=self.registry
        )
        self.errors = Counter(
            "tokenspeed_errors", "Errors told to clients", ("code",), registry=self.registry
        )
        self.requests = Counter(
            "tokenspeed_rest_requests",
            "Answers over plain HTTP",
            ("path", "status"),
            registry=self.registry,
        )
        self.stalls = Histogram(
            "tokenspeed_event_loop_stall_seconds",
            "Turns of the event loop of more than a millisecond: so long nobody was listened to",
            buckets=STALL_BUCKETS,
            registry=self.registry,
        )
        self.longest_stall_s = self.longest_work_s = 0.0
        self.gauge(
            "tokenspeed_event_loop_longest_stall_seconds",
            "Longest turn of the event loop since the start",
            lambda: self.longest_stall_s,
        )
        self.gauge(
            "tokenspeed_event_loop_longest_work_seconds",
            "Most processor time of one turn of the event loop since the start",
            lambda: self.longest_work_s,
        )
        self.registry.register(_EngineCollector(engine_stats))

    def stalled(self, seconds: float, own_s: float) -> None:
        """Record a long turn of the event loop, of which `own_s` was its own work."""
        self.stalls.observe(seconds)
        self.longest_stall_s = max(self.longest_stall_s, seconds)
        self.longest_work_s = max(self.longest_work_s, own_s)

    def count_faults(self, target: str, faults: int, untranslated: int) -> None:
        """Count rejected outputs, and texts left in the source language."""
        self.faults.labels(target, "output").inc(faults)
        self.faults.labels(target, "untranslated").inc(untranslated)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is computed when it is read."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)


class _EngineCollector(Collector):
    """Reads the engine's own counters on demand."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        gauges: dict[str, float] = {
            "running": stats.running,
            "waiting": stats.waiting,
            "slots": stats.num_slots,
            "slots_in_use": stats.slots_in_use,
            "read_bandwidth_bytes_per_second": stats.read_bytes_per_s,
            "bandwidth_share": stats.bandwidth_share,
        }
        counters: dict[str, float] = {
            "steps": stats.steps,
            "rows": stats.rows,
            "busy_seconds": stats.busy_s,
            "weight_bytes_read": stats.weight_bytes * stats.steps,
            "failures": stats.failures,
            "draft_tokens": stats.draft_tokens,
            "guessed_tokens": stats.guessed,
            "reused_tokens": stats.reused_tokens,
        }
        for name, value in gauges.items():
            yield GaugeMetricFamily(f"tokenspeed_engine_{name}", f"Engine: {name}", value=value)
        for name, value in counters.items():
            yield CounterMetricFamily(f"tokenspeed_engine_{name}", f"Engine: {name}", value=value)
