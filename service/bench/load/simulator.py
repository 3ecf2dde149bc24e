"""How many speakers one machine holds: many sessions through the real scheduler, at a model's cost.

A discrete-event simulation. The engine, its scheduler, requests and cache are the real ones; the
model is a toy translator whose output grows and changes like a real one's, and a step costs what a
`LinearCost` (fitted by `measure_cost`) or a `MeasuredCost` says. Or each step really runs on a
backend, whose weights may be random, and takes its real time; then only the speakers, their silence
and the words are simulated.
"""

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from service.bench.captions.scores import percentile, share_within
from service.bench.load.costs import MeasuredCost
from tokenspeed.backends import Backend, Step
from tokenspeed.bench.engines.steps import make_step
from tokenspeed.bench.manual_engine import ManualEngine, SimulatedClock, SkippingClock
from tokenspeed.engine.request import Completion, Request
from tokenspeed.model.config import ModelConfig

BEGIN, OPEN, TARGET, END = 1, 2, 3, 4  # marks of the toy translator's prompts
FIRST_WORD = 16  # ids from here on are words
NUM_WORDS = 5000
MAX_LAG = 2  # source tokens that a word of the output may need before it is right

BUDGET_MS = 200.0


@dataclass(frozen=True, slots=True)
class LinearCost:
    """Time of a step: `base_ms + row_ms * rows + context_ms * (rows * their positions)`."""

    base_ms: float
    row_ms: float
    context_ms: float = 0.0

    def ms(self, rows: int, context: int) -> float:
        """Return the time of a step; `context` is the sum of the rows' positions."""
        return self.base_ms + self.row_ms * rows + self.context_ms * context


def fit_cost(steps: Sequence[tuple[int, int, float]]) -> LinearCost:
    """Fit a cost with no negative part to measured steps of (rows, sum of positions, ms).

    Raises:
        ValueError: fewer than two widths were measured.
    """
    if len({rows for rows, _, _ in steps}) < 2:
        raise ValueError("a cost needs steps of at least two widths")
    columns = np.array([(1.0, rows, context) for rows, context, _ in steps])
    times = np.array([ms for _, _, ms in steps])
    # Relative errors count: captions wait for narrow steps.
    weights = 1 / times
    kept = [0, 1, 2]
    while True:
        solution = np.linalg.lstsq(columns[:, kept] * weights[:, None], times * weights)[0]
        if (solution >= 0).all() or len(kept) == 1:
            break
        kept.remove(kept[int(solution.argmin())])
    parts = [0.0, 0.0, 0.0]
    for i, value in zip(kept, solution, strict=True):
        parts[i] = max(float(value), 0.0)
    return LinearCost(*parts)


def measure_cost(backend: Backend, clock: Callable[[], float], repeats: int = 5) -> LinearCost:
    """Time steps of some widths at short and long context, and fit a cost to the medians."""
    steps = []
    longest = backend.max_length - 1
    for rows in (1, 2, 4, 8, 16, 32, 64):
        if rows > backend.max_step_tokens:
            break
        for start in (0, longest - rows):
            positions = np.arange(rows) + max(start, 0)
            batch = make_step(np.full(rows, 5), np.zeros(rows), positions, [rows - 1])
            times = []
            for _ in range(repeats + 1):
                before = clock()
                backend.step(batch)
                times.append((clock() - before) * 1e3)
            ms = sorted(times[1:])[repeats // 2]  # without the first, which warms up
            steps.append((rows, int(batch.positions.sum()), ms))
    return fit_cost(steps)


# ---- the toy translator ------------------------------------------------------------------------


def toy_prompt(words: Sequence[int], *, is_open: bool) -> tuple[int, ...]:
    """Return a prompt for `ToyBackend`."""
    return (BEGIN, *words, *([OPEN] if is_open else []), TARGET)


def toy_translation(words: Sequence[int], *, is_open: bool) -> tuple[int, ...]:
    """Translate word for word; near an open end words are guesses that each revision changes."""
    count = len(words)
    found = []
    for i, word in enumerate(words):
        lag = word * 7919 % 101 * (MAX_LAG + 1) // 101 if is_open else 0
        is_guess = count - i <= lag
        found.append(FIRST_WORD + NUM_WORDS + word * 31 + (count if is_guess else 0))
    return tuple(found)


class ToyBackend:
    """Translates word for word at the cost of a model.

    Holds the tokens of each slot as a real cache holds their keys and values, so a scheduler that
    confuses slots or positions gives wrong translations here too.

    Args:
        cost: of a step. If it is a backend, that is run at its own cost, and its output ignored.
    """

    name = "simulated"
    was_ahead = False
    guessed = None
    weight_bytes = 0
    cache_bytes = 0
    config = ModelConfig(
        vocab_size=2**20,
        hidden_size=8,
        intermediate_size=8,
        num_layers=1,
        num_heads=1,
        num_kv_heads=1,
        head_dim=8,
    )

    def __init__(
        self,
        cost: LinearCost | MeasuredCost | Backend,
        clock: SimulatedClock | SkippingClock,
        *,
        num_slots: int = 16,
        max_length: int = 512,
        max_step_tokens: int = 256,
    ) -> None:
        self.num_slots = num_slots
        self.max_length = max_length
        self.max_step_tokens = max_step_tokens
        self._cost = cost
        self._clock = clock
        self._held = [[0] * max_length for _ in range(num_slots)]

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step; see `Backend.step`. Biases have no effect."""
        places = list(zip(batch.slots.tolist(), batch.positions.tolist(), strict=True))
        for token, (slot, position) in zip(batch.tokens.tolist(), places, strict=True):
            self._held[slot][position] = token
        if isinstance(self._cost, LinearCost | MeasuredCost):
            took_s = self._cost.ms(len(places), int(batch.positions.sum())) / 1e3
            self._clock.skip_to(self._clock() + took_s)
        else:
            real = self._cost.config.vocab_size
            drafts = np.where(batch.drafts < 0, batch.drafts, batch.drafts % real)
            self._cost.step(replace(batch, tokens=batch.tokens % real, drafts=drafts))
        answers = [self._next(*places[row]) for row in batch.outputs.tolist()]
        return np.array(answers, np.int32)

    def logits(self, batch: Step) -> NDArray[np.float32]:
        """Raise: a toy has none."""
        raise NotImplementedError("the simulated backend has no logits")

    def copy_slot(self, source: int, target: int, length: int) -> None:
        self._held[target][:length] = self._held[source][:length]

    def hold(self, is_held: bool) -> None:
        """No step begins before it is asked for."""

    def close(self) -> None:
        """There is nothing to release."""

    def _next(self, slot: int, position: int) -> int:
        held = self._held[slot]
        target = held.index(TARGET, 0, position + 1)
        is_open = held[target - 1] == OPEN
        words = held[1 : target - is_open]
        at = position - target
        return toy_translation(words, is_open=is_open)[at] if at < len(words) else END


# ---- the traffic -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traffic:
    """What speakers do.

    Attributes:
        updates_per_s: of one speaker while it speaks.
        tokens_per_update: that each adds to the source.
        min_words, max_words: of a sentence.
        pause_s: between sentences.
        verifies: whether the last hypothesis is offered as a draft.
        overhead_ms: of an update outside of the steps, during which nothing else runs.
    """

    updates_per_s: float = 3.0
    tokens_per_update: float = 1.4
    min_words: int = 5
    max_words: int = 25
    pause_s: float = 0.6
    verifies: bool = True
    overhead_ms: float = 0.0


@dataclass(slots=True)
class SimulatedLoad:
    """What became of the updates; times in ms, superseded partials included.

    An update is answered by its own translation or by that of a newer revision. `seconds` passed
    until all were answered.
    """

    sessions: int
    seconds: float = 0.0
    update_ms: list[float] = field(default_factory=list)
    final_ms: list[float] = field(default_factory=list)
    requests: int = 0
    completed: int = 0
    superseded: int = 0
    steps: int = 0
    busy_s: float = 0.0

    @property
    def p95_ms(self) -> float:
        """Of all updates, finals included."""
        return percentile(self.update_ms + self.final_ms, 0.95)

    @property
    def within_budget(self) -> float:
        """Share of all updates, finals included."""
        return share_within(self.update_ms + self.final_ms, BUDGET_MS)

    @property
    def load(self) -> float:
        """Share of the time in which steps ran."""
        return self.busy_s / self.seconds if self.seconds else 0.0

    @property
    def is_within_budget(self) -> bool:
        """Whether the machine holds that many: p95 of all updates is inside the budget."""
        return self.p95_ms <= BUDGET_MS


Script = Sequence[tuple[float, bool]]
"""When a speaker adds a word or, if the second part is true, ends its sentence; in seconds."""


def random_script(traffic: Traffic, seconds: float, rng: random.Random) -> Script:
    """Return sentences of random lengths that begin within a time; the last one is finished."""
    at = rng.random() * (1 / traffic.updates_per_s + traffic.pause_s)
    found: list[tuple[float, bool]] = []
    while at < seconds or not found:
        for _ in range(rng.randint(traffic.min_words, traffic.max_words)):
            found.append((at, False))
            at += 1 / traffic.updates_per_s
        found.append((at, True))
        at += traffic.pause_s
    return found


@dataclass(slots=True)
class _Speaker:
    number: int
    rng: random.Random
    sentence: int = 0
    said: list[int] = field(default_factory=list)
    hypothesis: tuple[int, ...] = ()
    waiting: list[float] = field(default_factory=list)  # arrivals of updates without an answer


class Simulation:
    """Speakers that talk side by side until everything they said is translated.

    Args:
        cost: of a step, or a backend that really runs them.
        scripts: one for each speaker.
        seed: of everything random.
        num_slots, max_step_ms: as in EngineConfig.
    """

    def __init__(
        self,
        cost: LinearCost | Backend,
        scripts: Sequence[Script],
        *,
        traffic: Traffic | None = None,
        seed: int = 0,
        num_slots: int = 16,
        max_step_ms: float = 60.0,
    ) -> None:
        sizes = {"num_slots": num_slots}
        if isinstance(cost, LinearCost):
            self.clock: SimulatedClock | SkippingClock = SimulatedClock()
        else:
            self.clock = SkippingClock()
            sizes = {name: getattr(cost, name) for name in ("num_slots", "max_length")}
            sizes["max_step_tokens"] = cost.max_step_tokens
        self._began = self.clock()
        self.engine = ManualEngine(
            ToyBackend(cost, self.clock, **sizes),
            eos_token_ids=[END],
            max_step_ms=max_step_ms,
            clock=self.clock,
        )
        self.report = SimulatedLoad(len(scripts))
        self._traffic = traffic or Traffic()
        rng = random.Random(seed)
        self._speakers = [_Speaker(i, random.Random(rng.random())) for i in range(len(scripts))]
        self._events = [  # when, which speaker, whether its sentence ends
            (self._began + at, number, is_final)
            for number, script in enumerate(scripts)
            for at, is_final in script
        ]
        heapq.heapify(self._events)

    def run(self) -> SimulatedLoad:
        """Run until everybody has finished and everything is answered."""
        while self._events or not self.engine.is_idle:
            if self.engine.is_idle:
                self.clock.skip_to(self._events[0][0])
            while self._events and self._events[0][0] <= self.clock():
                arrival, number, is_final = heapq.heappop(self._events)
                self._speak(self._speakers[number], arrival, is_final)
            self.engine.step()
        stats = self.engine.stats()
        self.report.steps, self.report.busy_s = stats.steps, stats.busy_s
        self.report.superseded = stats.superseded
        self.report.seconds = self.clock() - self._began
        self.engine.close()
        return self.report

    def _speak(self, speaker: _Speaker, arrival: float, is_final: bool) -> None:
        """Say one more word, or end the sentence."""
        if not is_final:
            tokens = int(self._traffic.tokens_per_update + speaker.rng.random())
            speaker.said += [
                FIRST_WORD + speaker.rng.randrange(NUM_WORDS - FIRST_WORD)
                for _ in range(max(tokens, 1))
            ]
        self._ask(speaker, arrival, is_final=is_final)
        if is_final:
            speaker.said, speaker.hypothesis, speaker.waiting = [], (), []
            speaker.sentence += 1

    def _ask(self, speaker: _Speaker, arrival: float, *, is_final: bool) -> None:
        self.report.requests += 1
        sentence, waiting = speaker.sentence, speaker.waiting
        waiting.append(arrival)
        asked = len(waiting)
        expected = toy_translation(speaker.said, is_open=not is_final)
        self.clock.skip_to(self.clock() + self._traffic.overhead_ms / 1e3)

        def deliver(tokens: tuple[int, ...], outcome: Completion | Exception | None) -> None:
            if outcome is None:
                return
            if isinstance(outcome, Exception):
                raise outcome
            self.report.completed += 1
            if outcome.finish_reason == "superseded":
                return
            assert outcome.tokens == expected, "the scheduler mixed slots or positions up"
            if speaker.sentence == sentence:
                speaker.hypothesis = outcome.tokens
            answered = [at for at in waiting[:asked] if not math.isnan(at)]
            waiting[:asked] = [math.nan] * asked
            late = [(self.clock() - at) * 1e3 for at in answered]
            if is_final:
                self.report.final_ms.append(late.pop())
            self.report.update_ms += late

        self.engine.submit(
            Request(
                prompt=toy_prompt(speaker.said, is_open=not is_final),
                draft=speaker.hypothesis if self._traffic.verifies else (),
                max_new_tokens=2 * len(speaker.said) + 10,
                deadline_s=arrival + BUDGET_MS / 1e3,
                is_final=is_final,
                key=(speaker.number, sentence),
                client=speaker.number,
            ),
            deliver,
        )


def find_capacity(
    cost: LinearCost | Backend,
    *,
    seconds: float = 20.0,
    max_sessions: int = 1024,
    traffic: Traffic | None = None,
    seed: int = 0,
    max_step_ms: float = 60.0,
) -> list[SimulatedLoad]:
    """Find the most sessions whose p95 stays within the budget, by doubling, then bisection.

    Returns:
        The runs, by number of sessions; slots are as many as sessions, plus some.
    """

    traffic = traffic or Traffic()

    def run(sessions: int) -> SimulatedLoad:
        rng = random.Random(seed)
        simulation = Simulation(
            cost,
            [random_script(traffic, seconds, rng) for _ in range(sessions)],
            traffic=traffic,
            seed=seed,
            num_slots=max(16, sessions + 4),
            max_step_ms=max_step_ms,
        )
        return simulation.run()

    runs: dict[int, SimulatedLoad] = {}
    good, bad = 0, 1
    while bad <= max_sessions:
        runs[bad] = run(bad)
        if not runs[bad].is_within_budget:
            break
        good, bad = bad, bad * 2
    while bad - good > max(1, good // 16) and bad <= max_sessions:
        middle = (good + bad) // 2
        runs[middle] = run(middle)
        good, bad = (middle, bad) if runs[middle].is_within_budget else (good, middle)
    return [runs[sessions] for sessions in sorted(runs)]
