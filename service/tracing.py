"""OpenTelemetry: where spans go, whose trace they join, and those of engine requests and steps.

Imported where the environment asks for traces, and nowhere else: without them nothing of
OpenTelemetry is loaded. Knows requests and steps; does not know sessions or HTTP. A span holds
counts, times and names of ours, never anything that a user wrote.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, StatusCode

from tokenspeed.engine.core import Deliver
from tokenspeed.engine.engine import Cancellable
from tokenspeed.engine.request import Completion, Request
from tokenspeed.engine.scheduler import Plan
from tokenspeed.errors import EngineStopped

LAST_S: Final = 2.0  # for what is left when the process exits
MAX_LINKS: Final = 32  # in a step's span, to the requests that it served beside its own


class Tracing:
    """Makes spans and sends them to a collector, on a thread of its own.

    Where to, how many and under which name is said by the standard variables, which OpenTelemetry
    reads itself (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`,
    `OTEL_BSP_MAX_QUEUE_SIZE`, ...). What a collector does not take in time is dropped.

    Args:
        clock: seconds, monotonic; of the engine.
        instance: names this process.

    Attributes:
        tracer: makes spans.
    """

    def __init__(self, clock: Callable[[], float], instance: str) -> None:
        self._clock = clock
        own = {"service.version": version("tokenspeed-live"), "service.instance.id": instance}
        if SERVICE_NAME not in OTELResourceDetector().detect().attributes:
            own[SERVICE_NAME] = "tokenspeed"
        self._provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self._provider.get_tracer("tokenspeed", version("tokenspeed-live"))

    def wall_ns(self, at_s: float) -> int:
        """Return a time of the engine's clock in nanoseconds since 1970."""
        return time.time_ns() - round((self._clock() - at_s) * 1e9)

    def close(self) -> None:
        """Send what is left; blocks until it is sent, for two seconds at most."""
        # A collector that does not answer would delay the exit for ten seconds.
        last = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        last.start()
        last.join(LAST_S)


def caller(headers: Mapping[str, str]) -> Context:
    """Return what a client said in its headers (W3C `traceparent`, by `OTEL_PROPAGATORS`)."""
    return extract(headers)


class Engine(Protocol):
    """The part of an engine that is wrapped."""

    @property
    def clock(self) -> Callable[[], float]: ...
    def submit(self, request: Request, deliver: Deliver) -> Cancellable: ...


@dataclass(eq=False, slots=True)
class _Open:
    """A request under way."""

    request: Request  # held, so that its id is not reused
    span: Span
    num_steps: int = 0  # with a span below this one


class TracedEngine:
    """An engine whose requests have spans if their caller has one.

    Args:
        engine: does the work.
        tracing: makes the spans.
        step_spans_per_s: most step spans per second; further steps are events of requests.
    """

    def __init__(self, engine: Engine, tracing: Tracing, step_spans_per_s: float) -> None:
        self.clock = engine.clock
        self._engine = engine
        self._tracing = tracing
        self._open: dict[int, _Open] = {}  # by the id of the request
        self._spans = _Allowance(step_spans_per_s)

    @property
    def num_open(self) -> int:
        """Requests under way that have spans."""
        return len(self._open)

    def submit(self, request: Request, deliver: Deliver) -> Cancellable:
        """Submit a request, like `Engine.submit`."""
        if not trace.get_current_span().is_recording():
            return self._engine.submit(request, deliver)
        span = self._tracing.tracer.start_span("engine.request", attributes=_asked(request))
        opened = self._open[id(request)] = _Open(request, span)

        def traced(tokens: tuple[int, ...], ending: Completion | EngineStopped | None) -> None:
            if ending is not None:
                self._ended(opened, ending)
            deliver(tokens, ending)

        try:
            return self._engine.submit(request, traced)
        except Exception as exc:
            self._ended(opened, exc)
            raise

    def _ended(self, opened: _Open, ending: Completion | Exception) -> None:
        self._open.pop(id(opened.request), None)
        span = opened.span
        if isinstance(ending, Completion):
            span.set_attributes(_answered(ending))
        else:
            span.set_attribute("error.type", type(ending).__name__)
            span.set_status(StatusCode.ERROR)
        span.end()

    def stepped(self, plan: Plan, began_s: float, ended_s: float) -> None:
        """Record a step with the requests that have spans; called on the engine's thread."""
        if not self._open:
            return
        served = [
            found
            for sequence, _ in plan.parts
            if (found := self._open.get(id(sequence.request))) is not None
        ]
        if not served:
            return
        attributes = {
            "tokenspeed.step.rows": len(plan.batch.tokens),
            "tokenspeed.step.live_rows": plan.num_live_rows,
            "tokenspeed.step.requests": len(plan.parts),
        }
        # A step serves many traces but a span is in one: that of the request with the fewest so
        # far.
        own = min(served, key=lambda found: found.num_steps)
        others = [found for found in served if found is not own]
        at_ns = self._tracing.wall_ns(began_s)
        if self._spans.take(ended_s):
            own.num_steps += 1
            step = self._tracing.tracer.start_span(
                "engine.step",
                trace.set_span_in_context(own.span, Context()),
                attributes=attributes,
                links=[Link(other.span.get_span_context()) for other in others[:MAX_LINKS]],
                start_time=at_ns,
            )
            step.end(self._tracing.wall_ns(ended_s))
        else:
            others = served
        attributes["tokenspeed.step.microseconds"] = round((ended_s - began_s) * 1e6)
        for other in others:
            other.span.add_event("engine.step", attributes, at_ns)


class _Allowance:
    """How many there may be a second; as many at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left = 0.0
        self._at_s = float("-inf")

    def take(self, now_s: float) -> bool:
        """Whether there may be one more now."""
        if not self._per_s:
            return False
        earned = (now_s - self._at_s) * self._per_s
        self._left = min(self._left + earned, max(self._per_s, 1.0))
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def _asked(request: Request) -> dict[str, int | bool]:
    return {
        "tokenspeed.prompt_tokens": len(request.prompt),
        "tokenspeed.forced_tokens": len(request.forced),
        "tokenspeed.draft_tokens": len(request.draft),
        "tokenspeed.is_final": request.is_final,
    }


def _answered(completion: Completion) -> dict[str, int | float | str]:
    return {
        "tokenspeed.finish_reason": completion.finish_reason,
        "tokenspeed.output_tokens": len(completion.tokens),
        "tokenspeed.accepted_tokens": completion.accepted,
        "tokenspeed.decoded_tokens": completion.decoded,
        "tokenspeed.guessed_tokens": completion.guessed,
        "tokenspeed.reused_tokens": completion.reused,
        "tokenspeed.steps": completion.steps,
        "tokenspeed.queue_ms": round(completion.queue_ms, 3),
        "tokenspeed.first_token_ms": round(completion.first_token_ms, 3),
        "tokenspeed.compute_ms": round(completion.compute_ms, 3),
    }
