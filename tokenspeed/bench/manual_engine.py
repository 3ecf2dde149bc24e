"""The engine without its thread, and clocks that leave out waiting: replay faster than real time.

The scheduler, the requests and the cache are the engine's own; only who turns the crank and what
time it is differ.
"""

import time
from collections.abc import Callable

from tokenspeed.engine.engine import Deliver, Engine
from tokenspeed.engine.request import Request, Sequence


class SkippingClock:
    """Real time, except that idle stretches can be skipped: computation costs what it costs.

    Args:
        source: seconds. `time.process_time` leaves out what other programs take of the processor,
            and counts all threads of this one: it is for computation on one core.
    """

    def __init__(self, source: Callable[[], float] = time.perf_counter) -> None:
        self._source = source
        self._skipped = 0.0

    def __call__(self) -> float:
        return self._source() + self._skipped

    def skip_to(self, moment: float) -> None:
        """Go on at a moment; one that is over already changes nothing."""
        self._skipped += max(0.0, moment - self())


class VirtualClock:
    """Time that only passes when told: what a computation costs comes from a model of it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def skip_to(self, moment: float) -> None:
        """Go on at a moment; one that is over already changes nothing."""
        self.now = max(self.now, moment)


class SteppedEngine(Engine):
    """An engine whose steps are run by the caller, on the caller's thread."""

    def _loop(self) -> None:
        """Leave the thread of the engine without work."""

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self._inbox and not self._has_work()

    def enqueue(self, request: Request, deliver: Deliver) -> Sequence:
        """Hand a request over; its tokens and its end are delivered during `turn`.

        Raises:
            RequestTooLong: prompt and output cannot fit a slot.
            EngineStopped: the engine was closed.
        """
        return self._enqueue(request, deliver)

    def withdraw(self, sequence: Sequence) -> None:
        """Cancel a request."""
        self._cancel(sequence)

    def turn(self) -> None:
        """Take in what was handed over and run one step."""
        inbox, self._inbox = self._inbox, []
        self._take_in(inbox)
        if self._has_work():
            self._step()
