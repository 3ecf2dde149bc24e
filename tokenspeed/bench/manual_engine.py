"""An engine that its caller steps, and clocks that skip waiting, to replay faster than real time.

The core is the engine's own; only the caller of its steps and the clock differ.
"""

import math
import time
from collections.abc import Callable, Iterable

from tokenspeed.backends import Backend
from tokenspeed.engine.core import Deliver, EngineCore, EngineStats
from tokenspeed.engine.request import Request, Sequence


class SkippingClock:
    """Real time, except that idle stretches can be skipped: computation takes its real time.

    Args:
        source: seconds. `time.process_time` leaves out other programs' processor time, and adds up
            all threads of this one: it is for computation on one core.
    """

    def __init__(self, source: Callable[[], float] = time.perf_counter) -> None:
        self._source = source
        self._skipped = 0.0

    def __call__(self) -> float:
        return self._source() + self._skipped

    def skip_to(self, moment: float) -> None:
        """Go on at a moment; one that is over already changes nothing."""
        self._skipped += max(0.0, moment - self())


class SimulatedClock:
    """Time that passes only when it is told to: the time of a computation comes from a model."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def skip_to(self, moment: float) -> None:
        """Go on at a moment; one that is over already changes nothing."""
        self.now = max(self.now, moment)


class ManualEngine:
    """The engine, its steps run by the caller on the caller's thread.

    Args:
        backend: the device.
        eos_token_ids: ids that end an output.
        max_step_ms: a step takes no more rows than fit this time, judging by earlier steps.
        clock: seconds; deadlines are on the same clock.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        eos_token_ids: Iterable[int],
        max_step_ms: float = math.inf,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.backend = backend
        self.clock = clock
        self._core = EngineCore(
            backend, eos_token_ids=eos_token_ids, max_step_ms=max_step_ms, clock=clock
        )
        self._inbox: list[tuple[Sequence, Deliver] | Sequence] = []  # a bare one: cancel it

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self._inbox and not self._core.has_work

    def submit(self, request: Request, deliver: Deliver) -> "ManualGeneration":
        """Submit a request; its tokens and its end are delivered during `step`.

        Raises:
            RequestTooLong: prompt and output cannot fit a slot.
        """
        sequence = self._core.sequence(request)
        self._inbox.append((sequence, deliver))
        return ManualGeneration(self._inbox, sequence)

    def step(self) -> None:
        """Take what was submitted and run one step."""
        inbox = self._inbox[:]
        self._inbox.clear()
        for item in inbox:
            if isinstance(item, Sequence):
                self._core.cancel(item)
            else:
                self._core.add(*item)
        self._core.step()

    def run_until_idle(self) -> None:
        """Run steps until everything submitted has ended."""
        while not self.is_idle:
            self.step()

    def stats(self) -> EngineStats:
        """Return a snapshot of the counters."""
        return self._core.stats()

    def close(self) -> None:
        """Release the backend's memory."""
        self.backend.close()


class ManualGeneration:
    """The handle of a request to a manual engine."""

    def __init__(
        self, inbox: list[tuple[Sequence, Deliver] | Sequence], sequence: Sequence
    ) -> None:
        self._inbox = inbox
        self._sequence = sequence

    def cancel(self) -> None:
        """End the request at the next step."""
        self._inbox.append(self._sequence)
