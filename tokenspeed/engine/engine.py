"""The engine: requests in, tokens out. One thread runs the steps; an event loop never waits for it.

Everything that decides is elsewhere and pure (request, scheduler, kv_cache). This file owns the
thread, the inbox between it and its callers, and the clock.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace

from tokenspeed.backends import Backend
from tokenspeed.engine.kv_cache import KVCache
from tokenspeed.engine.request import Completion, Request, Sequence
from tokenspeed.engine.scheduler import Plan, Scheduler
from tokenspeed.errors import EngineStopped, RequestTooLong

logger = logging.getLogger("tokenspeed.engine.engine")

Outcome = Completion | EngineStopped
Deliver = Callable[[tuple[int, ...], Outcome | None], None]
"""deliver(new tokens, outcome or None): called on the engine's thread after each step."""


@dataclass
class EngineStats:
    """Counters since start, and what is going on now.

    `weight_bytes` is what one step reads at least, so weight_bytes * steps / busy_s is the read
    bandwidth that the engine reached; `read_bytes_per_s` is what the machine was measured to reach
    (0: not measured).
    """

    running: int = 0
    waiting: int = 0
    slots_in_use: int = 0
    num_slots: int = 0
    steps: int = 0
    rows: int = 0
    busy_s: float = 0.0
    weight_bytes: int = 0
    requests: int = 0
    superseded: int = 0
    cancelled: int = 0
    accepted: int = 0
    decoded: int = 0
    draft_tokens: int = 0
    reused_tokens: int = 0
    failures: int = 0
    step_s: float = 0.0  # of a step, and of each of its rows, by recent steps
    row_s: float = 0.0
    recent_step_s: float = 0.0  # mean over about the last 100 steps
    read_bytes_per_s: float = 0.0

    @property
    def bandwidth_share(self) -> float:
        """Share of the measured read bandwidth that recent steps reached; 0 while unknown.

        Above 1 where caches hold weights that the measurement had to read from memory.
        """
        available = self.recent_step_s * self.read_bytes_per_s
        return self.weight_bytes / available if available else 0.0


class Engine:
    """Runs requests over one backend.

    Args:
        backend: the device; the engine's thread alone calls it.
        eos_token_ids: ids that end an output.
        max_step_ms: a step takes no more rows than fit this time, by what steps took so far.
        read_bytes_per_s: what the device was measured to read, for the statistics; 0: unknown.
        clock: seconds, monotonic; deadlines are on the same clock.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        eos_token_ids: Iterable[int],
        max_step_ms: float = math.inf,
        read_bytes_per_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend = backend
        self.clock = clock
        self._eos = frozenset(eos_token_ids)
        self._scheduler = Scheduler(
            KVCache(backend.num_slots, backend.max_length),
            backend.max_step_tokens,
            max_step_ms / 1e3,
        )
        self._deliver: dict[int, Deliver] = {}  # by id of the sequence
        self._stats = EngineStats(
            num_slots=backend.num_slots,
            weight_bytes=backend.weight_bytes,
            read_bytes_per_s=read_bytes_per_s,
        )
        self._inbox: list[tuple[Sequence, Deliver] | Sequence] = []  # a bare one: cancel it
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="tokenspeed-engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> "Generation":
        """Hand a request over and return at once. Call it from a running event loop.

        Raises:
            RequestTooLong: prompt and output cannot fit a slot.
            EngineStopped: the engine was closed.
        """
        loop = asyncio.get_running_loop()
        generation = Generation(self)

        def deliver(tokens: tuple[int, ...], outcome: Outcome | None) -> None:
            try:
                loop.call_soon_threadsafe(generation._receive, tokens, outcome)
            except RuntimeError:  # the loop was closed while the step ran: nobody listens
                logger.debug("result dropped, its event loop is closed")

        generation._sequence = self._enqueue(request, deliver)
        return generation

    def run(self, requests: Seq[Request]) -> list[Completion]:
        """Run requests side by side and wait for all: for scripts and tests without a loop.

        Raises:
            RequestTooLong: a request cannot fit a slot.
            EngineStopped: the engine was closed, or a step failed.
        """
        outcomes: dict[int, Outcome] = {}
        done = threading.Semaphore(0)

        def collector(index: int) -> Deliver:
            def deliver(tokens: tuple[int, ...], outcome: Outcome | None) -> None:
                if outcome is not None:
                    outcomes[index] = outcome
                    done.release()

            return deliver

        for index, request in enumerate(requests):
            self._enqueue(request, collector(index))
        for _ in requests:
            done.acquire()
        completions = []
        for index in range(len(requests)):
            outcome = outcomes[index]
            if isinstance(outcome, EngineStopped):
                raise outcome
            completions.append(outcome)
        return completions

    def stats(self) -> EngineStats:
        """Return a snapshot of the counters; callable from any thread."""
        scheduler = self._scheduler
        step_s, row_s = scheduler.cost.line()
        return replace(
            self._stats,
            step_s=step_s,
            row_s=row_s,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting) + len(self._inbox),
            slots_in_use=len(scheduler.cache.slots) - scheduler.cache.num_free,
        )

    def close(self) -> None:
        """End the thread and give the backend's memory back; open requests get EngineStopped."""
        with self._wake:
            if self._stopping:
                return
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        self.backend.close()

    def _enqueue(self, request: Request, deliver: Deliver) -> Sequence:
        needed = len(request.prompt) + max(request.max_new_tokens, len(request.forced))
        if needed > self.backend.max_length:
            raise RequestTooLong(needed, self.backend.max_length)
        sequence = Sequence(request, self._eos, self.clock())
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
            self._wake.notify()

    # Everything below runs on the engine's thread.

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not (self._inbox or self._stopping or self._has_work()):
                    self._wake.wait()
                inbox, self._inbox = self._inbox, []
                stopping = self._stopping
            self._take_in(inbox)
            if stopping:
                self._fail_all(EngineStopped("the engine was closed"))
                return
            try:
                self._step()
            except Exception:
                # One broken step must not end the service: whoever was in it gets an error.
                logger.exception("step failed")
                self._count(failures=1)
                self._fail_all(EngineStopped("a step failed; the log has its traceback"))
                self._scheduler.cache.forget()

    def _has_work(self) -> bool:
        return bool(self._scheduler.running or self._scheduler.waiting)

    def _take_in(self, inbox: list[tuple[Sequence, Deliver] | Sequence]) -> None:
        for item in inbox:
            if isinstance(item, Sequence):
                if id(item) in self._deliver:
                    self._count(cancelled=1)
                    self._end(item, "cancelled")
                continue
            sequence, deliver = item
            self._deliver[id(sequence)] = deliver
            self._count(requests=1)
            self._supersede_for(sequence)
            self._scheduler.add(sequence)
            if sequence.finish_reason:  # `forced` fills the output already
                self._end(sequence, sequence.finish_reason)

    def _supersede_for(self, new: Sequence) -> None:
        """End the older partial of the same key; the new one goes on from what it produced."""
        key = new.request.key
        if key is None:
            return
        for old in [*self._scheduler.running, *self._scheduler.waiting]:
            if old.request.key != key or old.request.is_final:
                continue
            produced, forced = old.hypothesis(), new.request.forced
            new.waiting_since = min(new.waiting_since, old.waiting_since)
            if old.started is not None and produced[: len(forced)] == forced:
                new.draft = list(produced[len(forced) :])
            self._count(superseded=1)
            self._end(old, "superseded")

    def _step(self) -> None:
        for lease in self._scheduler.admit(self.clock()):
            if lease.fork_from is not None:
                self.backend.copy_slot(lease.fork_from, lease.slot, lease.reused)
        plan = self._scheduler.plan()
        if plan is None:
            return
        before = self.clock()
        predicted = self.backend.step(plan.batch).tolist()
        now = self.clock()
        self._scheduler.cost.observe(len(plan.batch.tokens), now - before)
        self._count(steps=1, rows=len(plan.batch.tokens), busy_s=now - before)
        weight = 1 / min(self._stats.steps, 100)
        self._stats.recent_step_s += weight * (now - before - self._stats.recent_step_s)
        self._distribute(plan, predicted, now, now - before)

    def _distribute(self, plan: Plan, predicted: list[int], now: float, took: float) -> None:
        at = 0
        for sequence, rows in plan.parts:
            tokens = sequence.advance(rows, predicted[at : at + len(rows.drafts)])
            at += len(rows.drafts)
            sequence.compute_s += took
            if rows.drafts and sequence.first_token is None:
                sequence.first_token = now
            self._scheduler.cache.hold(sequence.slot, sequence.tokens, sequence.computed)
            if sequence.finish_reason:
                self._end(sequence, sequence.finish_reason, tokens)
            elif tokens:
                self._deliver[id(sequence)](tokens, None)

    def _end(self, sequence: Sequence, reason: str, tokens: tuple[int, ...] = ()) -> None:
        sequence.finish_reason = reason
        self._scheduler.remove(sequence)
        completion = sequence.completion(self.clock())
        self._count(
            accepted=completion.accepted,
            decoded=completion.decoded,
            draft_tokens=completion.draft_tokens,
            reused_tokens=completion.reused,
        )
        self._deliver.pop(id(sequence))(tokens, completion)

    def _fail_all(self, error: EngineStopped) -> None:
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            self._scheduler.remove(sequence)
            self._deliver.pop(id(sequence))((), error)

    def _count(self, **increments: float) -> None:
        for name, increment in increments.items():
            setattr(self._stats, name, getattr(self._stats, name) + increment)


class Generation:
    """The output of one request as it grows. Belongs to the event loop that submitted it.

    Iterating yields the tokens that one step made sure, `forced` not repeated.
    """

    _sequence: Sequence

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parts: list[tuple[int, ...]] = []
        self._outcome: Outcome | None = None
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[tuple[int, ...]]:
        at = 0
        while True:
            while at < len(self._parts):
                yield self._parts[at]
                at += 1
            if self._outcome is not None:
                self._raise_if_failed()
                return
            self._changed.clear()
            await self._changed.wait()

    async def result(self) -> Completion:
        """Wait for the end.

        Raises:
            EngineStopped: the engine was closed, or a step failed.
        """
        while self._outcome is None:
            self._changed.clear()
            await self._changed.wait()
        return self._raise_if_failed()

    def cancel(self) -> None:
        """Stop before the next step. The result then says "cancelled"; a finished one stays."""
        if self._outcome is None:
            self._engine._cancel(self._sequence)

    def _receive(self, tokens: tuple[int, ...], outcome: Outcome | None) -> None:
        if tokens:
            self._parts.append(tokens)
        self._outcome = outcome
        self._changed.set()

    def _raise_if_failed(self) -> Completion:
        assert self._outcome is not None
        if isinstance(self._outcome, EngineStopped):
            raise self._outcome
        return self._outcome
