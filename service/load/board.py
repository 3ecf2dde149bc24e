"""What each replica reports of itself, collected in one place so that one scrape sees them all.

Knows text and ranks; does not know how replicas reach it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

STALE_S: Final = 20.0  # age at which a silent replica's report is dropped


class Board:
    """The newest report of each replica.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[int, tuple[float, str]] = {}

    def put(self, rank: int, text: str) -> None:
        """Store the report of the replica with this rank, replacing its previous one."""
        self._said[rank] = (self._clock(), text)

    def read(self) -> dict[int, str]:
        """Return the recent reports, by rank."""
        begin_s = self._clock() - STALE_S
        self._said = {rank: said for rank, said in self._said.items() if said[0] >= begin_s}
        return {rank: text for rank, (_, text) in self._said.items()}


def merged(texts: Mapping[int, str]) -> str:
    """Merge many Prometheus texts: each sample gets its replica's rank as the label `replica`.

    Ranks go from 0 to the number of replicas, whatever comes and goes: so does the label.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(texts))
    return generate_latest(registry).decode()


class _Merged(Collector):
    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for rank, text in sorted(self._texts.items()):
            for found in text_string_to_metric_families(text):
                family = families.setdefault(
                    found.name, Metric(found.name, found.documentation, found.type)
                )
                for sample in found.samples:
                    labels = {**sample.labels, "replica": str(rank)}
                    family.add_sample(sample.name, labels, sample.value)
        yield from families.values()
        yield GaugeMetricFamily(
            "tokenspeed_replicas", "Replicas that this answer speaks of", value=len(self._texts)
        )
