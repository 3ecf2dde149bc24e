"""The engine as a service uses it: requests in, tokens out, and no event loop waits for a step.

All decisions are made elsewhere, without a thread (core, request, scheduler, kv_cache). This file
owns the thread, the inbox between it and its callers, and the handles that callers get.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tokenspeed.backends import Backend
from tokenspeed.engine.core import Deliver, EngineCore, EngineStats, OnStep
from tokenspeed.engine.request import Completion, Request, Sequence
from tokenspeed.errors import DeviceLost, EngineStopped

logger = logging.getLogger("tokenspeed.engine")

MAX_FAILURES: Final = 6  # in a row before a new backend is made; as many again, and it is given up
LOST_COUNTS: Final = 3  # failures: a device that does not answer takes seconds to say so

Result = tuple[Deliver, tuple[int, ...], Completion | EngineStopped | None]
"""(deliver, new tokens, how it ended or None): what an event loop has to deliver."""


@dataclass(frozen=True)
class EngineHealth:
    """Whether an engine can be relied on.

    Attributes:
        is_alive: whether its thread runs and its backend has not been given up.
        step_s: how long the step under way has taken so far; 0 between steps.
        failures_in_a_row: steps that failed since the last successful one.
    """

    is_alive: bool
    step_s: float
    failures_in_a_row: int


class Engine:
    """Runs requests over one backend, on a thread of its own.

    Args:
        backend: the device; only the engine's thread runs steps on it.
        eos_token_ids: ids that end an output.
        max_step_ms: a step gets only as many rows as fit this time, judging by earlier steps.
        read_bytes_per_s: measured read bandwidth of the device, for statistics; 0: unknown.
        clock: seconds, monotonic; deadlines are on the same clock.
        rebuild: makes a new backend, called when steps keep failing.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        eos_token_ids: Iterable[int],
        max_step_ms: float = math.inf,
        read_bytes_per_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        rebuild: Callable[[], Backend] | None = None,
    ) -> None:
        self.clock = clock
        self._rebuild = rebuild
        self._is_given_up = False
        self._failures = 0  # in a row, a lost device counted as several
        self._step_began_s: float | None = None
        self._core = EngineCore(
            backend,
            eos_token_ids=eos_token_ids,
            max_step_ms=max_step_ms,
            read_bytes_per_s=read_bytes_per_s,
            clock=clock,
        )
        self._core.on_delivered = self._hand_over
        self._inbox: list[tuple[Sequence, Deliver] | Sequence] = []  # a bare Sequence: cancel it
        self._results: dict[asyncio.AbstractEventLoop, list[Result]] = {}  # not handed over yet
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="tokenspeed-engine", daemon=True)
        self._thread.start()

    @property
    def backend(self) -> Backend:
        """The device."""
        return self._core.backend

    def health(self) -> EngineHealth:
        """Return whether the engine can be relied on; callable from any thread."""
        began_s = self._step_began_s
        return EngineHealth(
            is_alive=self._thread.is_alive() and not self._is_given_up,
            step_s=0.0 if began_s is None else self.clock() - began_s,
            failures_in_a_row=self._core.failures_in_a_row,
        )

    def watch_steps(self, on_step: OnStep) -> None:
        """Call `on_step` for each step, on the engine's thread; it must be quick."""
        self._core.on_step = on_step

    def submit(self, request: Request, deliver: Deliver) -> "Generation":
        """Hand a request over and return at once. Call it from a running event loop.

        Args:
            deliver: called on that loop with the new tokens of each step (`forced` not repeated),
                and once with how the request ended.
        Raises:
            RequestTooLong: prompt and output cannot fit a slot.
            EngineStopped: the engine was closed.
        """
        loop = asyncio.get_running_loop()

        def deliver_there(
            tokens: tuple[int, ...], ending: Completion | EngineStopped | None
        ) -> None:
            self._results.setdefault(loop, []).append((deliver, tokens, ending))

        return Generation(self, self._enqueue(request, deliver_there))

    def run(self, requests: Seq[Request]) -> list[Completion]:
        """Run requests side by side and wait for all: for scripts and tests without a loop.

        Raises:
            RequestTooLong: a request cannot fit a slot.
            EngineStopped: the engine was closed, or a step failed.
        """
        endings: dict[int, Completion | EngineStopped] = {}
        done = threading.Semaphore(0)

        def collector(index: int) -> Deliver:
            def deliver(tokens: tuple[int, ...], ending: Completion | EngineStopped | None) -> None:
                if ending is not None:
                    endings[index] = ending
                    done.release()

            return deliver

        for index, request in enumerate(requests):
            self._enqueue(request, collector(index))
        for _ in requests:
            done.acquire()
        return [completed(endings[index]) for index in range(len(requests))]

    def stats(self) -> EngineStats:
        """Return a snapshot of the counters; callable from any thread."""
        stats = self._core.stats()
        return replace(stats, waiting=stats.waiting + len(self._inbox))

    def close(self, timeout_s: float | None = None) -> bool:
        """End the thread and give the backend's memory back; open requests get EngineStopped.

        Args:
            timeout_s: how long to wait for a step under way; None waits for ever.
        Returns:
            Whether the thread ended; a step that hangs keeps the thread and the memory.
        """
        with self._wake:
            if self._stopping:
                return not self._thread.is_alive()
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self.backend.close()
        return True

    def _enqueue(self, request: Request, deliver: Deliver) -> Sequence:
        sequence = self._core.sequence(request)
        self._post((sequence, deliver))
        return sequence

    def _cancel(self, sequence: Sequence) -> None:
        try:
            self._post(sequence)
        except EngineStopped:
            logger.debug("nothing to cancel, the engine has stopped")

    def _post(self, item: tuple[Sequence, Deliver] | Sequence) -> None:
        with self._wake:
            if self._stopping:
                raise EngineStopped("the engine was closed")
            self._inbox.append(item)
            self.backend.hold(True)  # the step under way may not be followed by one like it
            self._wake.notify()

    # Everything below runs on the engine's thread.

    def _loop(self) -> None:
        is_open = True
        while is_open:
            try:
                is_open = self._run_once()
            finally:
                self._hand_over()

    def _run_once(self) -> bool:
        """Take in what came, and run a step; return whether to go on."""
        core = self._core
        with self._wake:
            while not (self._inbox or self._stopping or core.has_work):
                self._wake.wait()
            inbox, self._inbox = self._inbox, []
            if inbox:
                self.backend.hold(False)
            stopping = self._stopping
        for item in inbox:
            self._take_in(item)
        self._hand_over()  # what has ended without a step, which may take long
        if stopping:
            core.fail(EngineStopped("the engine was closed"))
            return False
        if self._is_given_up:
            core.fail(EngineStopped("the backend fails again and again; it was given up"))
            return True
        self._step_began_s = self.clock()
        try:
            core.step()
        except BaseException as exc:
            # One broken step must not end the service; SystemExit would end only this thread.
            logger.exception("step failed")
            self._recover(exc)
        finally:
            self._step_began_s = None
        return True

    def _hand_over(self) -> None:
        """Hand results to their event loops, to each all at once: waking one takes microseconds."""
        if not self._results:
            return
        results, self._results = self._results, {}
        for loop, own in results.items():
            try:
                loop.call_soon_threadsafe(_deliver_all, loop, own)
            except RuntimeError:  # the loop was closed while the step ran: nobody listens
                logger.debug("results dropped, their event loop is closed")

    def _take_in(self, item: tuple[Sequence, Deliver] | Sequence) -> None:
        if isinstance(item, Sequence):
            try:
                self._core.cancel(item)
            except BaseException:
                logger.exception("request not cancelled")
            return
        sequence, deliver = item
        try:
            self._core.add(sequence, deliver)
        except BaseException:
            # As with a step, one failure proves nothing; and a bug that shows only with this
            # request must not harm the others.
            logger.exception("request not taken in; it is tried again")
            self._take_in_again(sequence, deliver)

    def _take_in_again(self, sequence: Sequence, deliver: Deliver) -> None:
        error = EngineStopped("the request was not taken in; the log has the traceback")
        try:
            if self._core.take_back(sequence):
                self._core.add(sequence, deliver)
        except BaseException:
            logger.exception("request not taken in")
            try:
                self._core.take_back(sequence)
            finally:
                deliver((), error)

    def _recover(self, error: BaseException) -> None:
        """Try the sequences of a failed step again; after repeated failures, on a new backend."""
        core, is_device = self._core, isinstance(error, DeviceLost)
        core.recover(is_device=is_device)
        before = self._failures if core.failures_in_a_row > 1 else 0
        self._failures = before + (LOST_COUNTS if is_device else 1)
        times = self._failures // MAX_FAILURES
        if times == before // MAX_FAILURES:
            return
        if self._rebuild is not None and times == 1:
            try:
                logger.error("the backend is built anew after %d failures", core.failures_in_a_row)
                core.backend.close()
                core.replace_backend(self._rebuild())
            except Exception:
                logger.exception("the backend could not be built anew")
            else:
                return
        self._is_given_up = True


def _deliver_all(loop: asyncio.AbstractEventLoop, results: list[Result]) -> None:
    for deliver, tokens, ending in results:
        try:
            deliver(tokens, ending)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # as if the loop had called each: the others get theirs
            loop.call_exception_handler({"message": "result not taken", "exception": exc})


class Generation:
    """The handle on a request that the engine works on."""

    def __init__(self, engine: Engine, sequence: Sequence) -> None:
        self._engine = engine
        self._sequence = sequence

    def cancel(self) -> None:
        """Stop before the next step: a request that has not ended ends as "cancelled"."""
        self._engine._cancel(self._sequence)


class Cancellable(Protocol):
    """A handle on a request, whatever engine runs it."""

    def cancel(self) -> None: ...


class TokenStream:
    """The output of one request as it grows, for callers that await it.

    Iterating yields the new tokens of one step at a time, without `forced`. Belongs to the event
    loop that made it.

    Args:
        submit: the `submit` of an engine.
        request: what to run.
    Raises:
        RequestTooLong, EngineStopped: as `Engine.submit` does.
    """

    def __init__(self, submit: Callable[[Request, Deliver], Cancellable], request: Request) -> None:
        self._parts: list[tuple[int, ...]] = []
        self._ending: Completion | EngineStopped | None = None
        self._changed = asyncio.Event()
        self._generation = submit(request, self._receive)

    async def __aiter__(self) -> AsyncIterator[tuple[int, ...]]:
        at = 0
        while True:
            while at < len(self._parts):
                yield self._parts[at]
                at += 1
            if self._ending is not None:
                completed(self._ending)
                return
            self._changed.clear()
            await self._changed.wait()

    async def completion(self) -> Completion:
        """Wait for the end.

        Raises:
            EngineStopped: the engine was closed, or a step failed.
        """
        while self._ending is None:
            self._changed.clear()
            await self._changed.wait()
        return completed(self._ending)

    def cancel(self) -> None:
        """Stop before the next step; an output that has ended stays as it is."""
        if self._ending is None:
            self._generation.cancel()

    def _receive(self, tokens: tuple[int, ...], ending: Completion | EngineStopped | None) -> None:
        if tokens:
            self._parts.append(tokens)
        self._ending = ending
        self._changed.set()


def completed(ending: Completion | EngineStopped) -> Completion:
    """Return how a request ended.

    Raises:
        EngineStopped: the engine stopped before the request was done.
    """
    if isinstance(ending, EngineStopped):
        raise ending
    return ending
