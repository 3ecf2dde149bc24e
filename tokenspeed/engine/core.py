"""The engine without a thread: takes requests in, runs one step at a time, delivers what came out.

Owns the scheduler, the backend and the counters. Knows no event loop and no inbox; whoever drives
it (`Engine` on its own thread, a benchmark on the caller's) calls it from one thread at a time.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from tokenspeed.backends import Backend
from tokenspeed.engine.kv_cache import KVCache
from tokenspeed.engine.request import Completion, Request, Rows, Sequence
from tokenspeed.engine.scheduler import Plan, Scheduler
from tokenspeed.errors import EngineStopped, RequestTooLong

FAILURES_OF_ONE: Final = 2  # steps in a row that fail with a request alone before it is blamed
Deliver = Callable[[tuple[int, ...], Completion | EngineStopped | None], None]
"""deliver(new tokens, how it ended or None): called when a request has new tokens or ends."""
OnStep = Callable[[Plan, float, float], None]
"""on_step(what a step ran, when it began, when it ended): called before its results go out."""


@dataclass
class EngineStats:
    """Counters since start, and what is going on now.

    `weight_bytes` is the least that a step reads, so weight_bytes * steps / busy_s is the read
    bandwidth that the engine reached; `read_bytes_per_s` is the measured bandwidth of the machine
    (0: not measured).
    """

    running: int = 0
    waiting: int = 0
    slots_in_use: int = 0
    num_slots: int = 0
    steps: int = 0
    rows: int = 0
    live_rows: int = 0  # those of `rows` that somebody may have been waiting for
    busy_s: float = 0.0
    weight_bytes: int = 0
    requests: int = 0
    superseded: int = 0
    cancelled: int = 0
    accepted: int = 0
    decoded: int = 0
    guessed: int = 0
    draft_tokens: int = 0
    reused_tokens: int = 0
    failures: int = 0
    step_s: float = 0.0  # a step takes step_s + row_s * its rows, by recent steps
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


class EngineCore:
    """Runs requests over one backend, a step a call.

    Args:
        backend: the device.
        eos_token_ids: ids that end an output.
        max_step_ms: a step gets only as many rows as fit this time, judging by earlier steps.
        read_bytes_per_s: measured read bandwidth of the device, for statistics; 0: unknown.
        clock: seconds, monotonic; deadlines are on the same clock.

    Attributes:
        failures_in_a_row: steps that raised since the last successful one.
        on_step: called for each step, on the thread that runs it; must not raise.
        on_delivered: called when the tokens of a step were delivered, before its guesses are waited
            for; must not raise.
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
        self.failures_in_a_row = 0
        self.on_step: OnStep | None = None
        self.on_delivered: Callable[[], None] | None = None
        self._eos = frozenset(eos_token_ids)
        self._scheduler = Scheduler(
            KVCache(backend.num_slots, backend.max_length),
            backend.max_step_tokens,
            max_step_ms / 1e3,
        )
        self._deliver: dict[Sequence, Deliver] = {}
        self._ended_s = 0.0  # when the last step did
        self._in_step: list[tuple[Sequence, Rows]] = []  # of the step under way
        self._partials: dict[Hashable, Sequence] = {}  # by key: what a newer request supersedes
        self._stats = EngineStats(
            num_slots=backend.num_slots,
            weight_bytes=backend.weight_bytes,
            read_bytes_per_s=read_bytes_per_s,
        )

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._scheduler.running or self._scheduler.waiting)

    def sequence(self, request: Request) -> Sequence:
        """Return the sequence that stands for a request; callable from any thread.

        Raises:
            RequestTooLong: prompt and output cannot fit a slot.
        """
        needed = len(request.prompt) + max(request.max_new_tokens, len(request.forced))
        if needed > self.backend.max_length:
            raise RequestTooLong(needed, self.backend.max_length)
        return Sequence(request, self._eos, self.clock())

    def add(self, sequence: Sequence, deliver: Deliver) -> None:
        """Take a request in; it supersedes an older partial of the same key."""
        self._deliver[sequence] = deliver
        self._count(requests=1)
        self._supersede_for(sequence)
        self._scheduler.add(sequence)
        if sequence.finish_reason:  # `forced` fills the output already
            self._end(sequence, sequence.finish_reason)

    def cancel(self, sequence: Sequence) -> None:
        """End a request as "cancelled"; one that has ended stays as it is."""
        if sequence in self._deliver:
            self._count(cancelled=1)
            self._end(sequence, "cancelled")

    def step(self) -> None:
        """Run one step and deliver its results; without work, do nothing."""
        for lease in self._scheduler.admit(self.clock()):
            if lease.fork_from is not None:
                self.backend.copy_slot(lease.fork_from, lease.slot, lease.reused)
        plan = self._scheduler.plan(self.clock())
        if plan is None:
            return
        self._in_step = plan.parts
        before = self.clock()
        predicted = self.backend.step(plan.batch).tolist()
        now_s = self.clock()
        if self.backend.was_ahead:  # the device has been at it since the one before
            before = self._ended_s
        self._ended_s = now_s
        self._in_step, self.failures_in_a_row = [], 0
        took_s = now_s - before
        self._scheduler.observe(plan, took_s)
        self._count_step(plan, took_s)
        if self.on_step is not None:
            self.on_step(plan, before, now_s)
        goes_on = self._distribute(plan, predicted, now_s, took_s)
        if self.on_delivered is not None:
            self.on_delivered()
        if goes_on:
            self._expect(plan)

    def recover(self, *, is_device: bool = False) -> None:
        """Go on after a step that raised: try its sequences again, each in a step of its own.

        A step writes only the rows that it was given, so what was computed before stays valid. If
        it failed before it had rows, while copying a slot, all running sequences start again from
        their tokens.

        A sequence that fails in a step of its own is tried once more. If it fails again without
        having made progress, it is at fault and ends with an error. One failure proves nothing:
        sporadic failures can hit any sequence, and a long output may meet several.

        Args:
            is_device: the device is at fault; the sequences are tried again as they were.
        """
        self._count(failures=1)
        self.failures_in_a_row += 1
        suspects, self._in_step = [sequence for sequence, _ in self._in_step], []
        if not suspects:
            suspects = list(self._scheduler.running)
            self._scheduler.restart_running()
            self._scheduler.cache.forget()
        if is_device:
            return
        is_alone = len(suspects) == 1 and suspects[0] in self._scheduler.alone
        if is_alone and suspects[0].fail_alone() >= FAILURES_OF_ONE:
            self._fail(suspects[0], EngineStopped("its step failed; the log has the traceback"))
        else:
            self._scheduler.alone.update(suspects)

    def replace_backend(self, backend: Backend) -> None:
        """Go on with another backend of the same shape; requests start again from their tokens."""
        self.backend = backend
        self._scheduler.restart_running()
        self._scheduler.cache.forget()

    def take_back(self, sequence: Sequence) -> bool:
        """Forget a request that was only half taken in; return whether to try it again."""
        if self._deliver.pop(sequence, None) is not None:
            self._leave(sequence)
        return sequence.finish_reason is None

    def fail(self, error: EngineStopped) -> None:
        """End every request with an error, and no longer rely on what the slots hold."""
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            self._fail(sequence, error)
        self._scheduler.cache.forget()

    def _fail(self, sequence: Sequence, error: EngineStopped) -> None:
        self._leave(sequence)
        self._deliver.pop(sequence)((), error)

    def stats(self) -> EngineStats:
        """Return a snapshot of the counters; callable from any thread."""
        scheduler = self._scheduler
        step_s, row_s = scheduler.cost.line()
        return replace(
            self._stats,
            step_s=step_s,
            row_s=row_s,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            slots_in_use=len(scheduler.cache.slots) - scheduler.cache.num_free,
        )

    def _supersede_for(self, new: Sequence) -> None:
        """End the older partial of the same key; the new one goes on from what it produced."""
        key = new.request.key
        if key is None:
            return
        old = self._partials.get(key)
        if old is not None:
            produced, forced = old.hypothesis(), new.request.forced
            new.waiting_since_s = min(new.waiting_since_s, old.waiting_since_s)
            if old.started_s is not None and produced[: len(forced)] == forced:
                new.draft = list(produced[len(forced) :])
            self._count(superseded=1)
            self._end(old, "superseded")
        if not new.request.is_final:
            self._partials[key] = new

    def _distribute(self, plan: Plan, predicted: list[int], now_s: float, took_s: float) -> bool:
        """Hand out the tokens of a step; return whether any of its sequences goes on."""
        goes_on, at = False, 0
        for sequence, rows in plan.parts:
            end = at + len(rows.drafts)
            tokens, at = sequence.advance(rows, predicted[at:end]), end
            sequence.compute_s += took_s
            if rows.drafts and sequence.first_token_s is None:
                sequence.first_token_s = now_s
            self._scheduler.cache.hold(sequence.slot, sequence.tokens, sequence.computed)
            if sequence.finish_reason:
                self._end(sequence, sequence.finish_reason, tokens)
                continue
            goes_on = True
            if tokens:
                self._deliver[sequence](tokens, None)
        return goes_on

    def _expect(self, plan: Plan) -> None:
        """Hand out what the backend guesses, which is there later than the tokens."""
        guessed = self.backend.guessed
        if guessed is None:
            return
        guesses, at = guessed.tolist(), 0
        for sequence, rows in plan.parts:
            sequence.expect(guesses[at : at + len(rows.drafts)])
            at += len(rows.drafts)

    def _end(self, sequence: Sequence, reason: str, tokens: tuple[int, ...] = ()) -> None:
        sequence.finish_reason = reason
        self._leave(sequence)
        completion = sequence.completion(self.clock())
        self._count(
            accepted=completion.accepted,
            decoded=completion.decoded,
            guessed=completion.guessed,
            draft_tokens=completion.draft_tokens,
            reused_tokens=completion.reused,
        )
        self._deliver.pop(sequence)(tokens, completion)

    def _leave(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        if self._partials.get(sequence.request.key) is sequence:
            del self._partials[sequence.request.key]

    def _count_step(self, plan: Plan, took_s: float) -> None:
        stats = self._stats
        stats.steps += 1
        stats.rows += len(plan.batch.tokens)
        stats.live_rows += plan.num_live_rows
        stats.busy_s += took_s
        stats.recent_step_s += (took_s - stats.recent_step_s) / min(stats.steps, 100)

    def _count(self, **increments: float) -> None:
        for name, increment in increments.items():
            setattr(self._stats, name, getattr(self._stats, name) + increment)
