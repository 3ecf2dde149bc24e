"""Steps that are launched before they are asked for: the same tokens, none that nobody wants."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.backends.test_cuda import rows
from tests.tokenspeed.kernels.support import DEVICE
from tokenspeed.backends import ANY_TOKEN, NO_DRAFT, Step
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_ahead import (
    StepsAhead,
    behind_draft,
    decodes_on,
    draft_end_of,
    ends_draft,
    next_pairs,
)
from tokenspeed.backends.cuda_weights import load_weights
from tokenspeed.bench.engines.steps import NEVER
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Completion, Request
from tokenspeed.kernels.lm_head import MAX_STOPS
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

CONFIG = EngineConfig(num_slots=3, max_length=96, max_step_tokens=24)


class Counter:
    """A GPU whose token after t is t + 1, and that says what it was told to do."""

    max_length, guesses = 64, False

    def __init__(self) -> None:
        self.told: list[str] = []
        self.queue: list[tuple[np.ndarray, bool]] = []  # tokens, whether void
        self.rows = np.zeros(0, np.int32)
        self.stops: set[int] = set()
        self.is_held = False
        self.void = self.ended = False

    def begin(self, batch: Step, written: Any = None) -> None:
        self.rows, self.void = batch.tokens[batch.outputs], False
        self.stops = {int(token) for _, token in ([] if batch.stops is None else batch.stops)}
        self._run("begin")

    def may_follow(self, rows: int) -> bool:
        return not self.is_held

    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None:
        self._run("follow")

    def _run(self, how: str) -> None:
        if not self.void:
            self.rows = self.rows + 1
        self.told.append(how)
        self.void = self.void or bool(self.stops & set(self.rows.tolist()))
        self.queue.append((self.rows, self.void))

    def finish(self, outputs: int) -> np.ndarray:
        tokens, self.ended = self.queue.pop(0)
        return tokens

    def finish_guesses(self, outputs: int) -> np.ndarray:
        raise NotImplementedError

    def has_ended(self) -> bool:
        return self.ended

    def drop(self) -> None:
        if self.queue:
            self.told.append("drop")
        self.queue.clear()


def decoding(tokens: list[int], position: int, *stops: tuple[int, int]) -> Step:
    step = rows(*((slot, position, [token]) for slot, token in enumerate(tokens)))
    return replace(step, stops=np.array(stops, np.int32).reshape(-1, 2))


def test_a_step_that_decodes_on_has_been_launched_when_it_is_asked_for() -> None:
    gpu, steps = Counter(), StepsAhead()
    assert steps.step([gpu], decoding([5], 0)).tolist() == [6]
    assert steps.step([gpu], decoding([6], 1)).tolist() == [7]
    assert gpu.told == ["begin", "follow", "follow"]
    assert steps.was_ahead
    assert steps.step([gpu], replace(decoding([7], 2), stops=None)).tolist() == [8]
    assert gpu.told == ["begin", "follow", "follow"]  # nothing is wanted behind the last one


@pytest.mark.parametrize(
    "other",
    [
        decoding([9], 1),
        decoding([6], 2),
        decoding([6, 6], 1),
        rows((1, 1, [6])),
        rows((0, 1, [6, 7])),
    ],
)
def test_another_step_than_the_one_launched_is_begun(other: Step) -> None:
    gpu, steps = Counter(), StepsAhead()
    steps.step([gpu], decoding([5], 0))
    assert steps.step([gpu], other).tolist() == (other.tokens + 1).tolist()
    assert gpu.told[:4] == ["begin", "follow", "drop", "begin"]
    assert not steps.was_ahead


def test_what_has_ended_is_not_waited_for() -> None:
    gpu, steps = Counter(), StepsAhead()
    assert steps.step([gpu], decoding([5], 0, (ANY_TOKEN, 6))).tolist() == [6]
    assert gpu.told == ["begin", "follow", "drop"]
    # It may go on all the same: then it is begun anew.
    assert steps.step([gpu], decoding([6], 1)).tolist() == [7]
    assert gpu.told == ["begin", "follow", "drop", "begin", "follow"]


def test_rows_may_come_in_another_order() -> None:
    gpu, steps = Counter(), StepsAhead()
    steps.step([gpu], decoding([5, 15, 25], 0))
    turned = rows((2, 1, [26]), (0, 1, [6]), (1, 1, [16]))
    assert steps.step([gpu], turned).tolist() == [27, 7, 17]
    assert gpu.told == ["begin", "follow"]


def test_nothing_is_launched_while_the_host_holds() -> None:
    gpu, steps = Counter(), StepsAhead()
    gpu.is_held = True
    steps.step([gpu], decoding([5], 0))
    assert gpu.told == ["begin"]


class Failing(Counter):
    """A GPU on which a launch may fail."""

    fails = False

    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None:
        if self.fails:
            self.fails = False
            raise RuntimeError("launch failed")
        super().follow(rows, is_behind_draft=is_behind_draft)


@pytest.mark.parametrize("which", [0, 1])
def test_a_launch_that_fails_leaves_nothing_behind(which: int) -> None:
    gpus, steps = [Failing(), Failing()], StepsAhead()
    gpus[which].fails = True
    with pytest.raises(RuntimeError, match="launch failed"):
        steps.step(gpus, decoding([5], 0))
    assert steps.step(gpus, decoding([20], 0)).tolist() == [21]
    assert steps.step(gpus, decoding([21], 1)).tolist() == [22]


def test_a_rank_that_was_not_answered_fails_the_step() -> None:
    gpus, steps = [Counter(), Counter()], StepsAhead()
    gpus[1].finish = lambda outputs: np.array([-1], np.int32)  # type: ignore[method-assign]
    assert steps.step(gpus, replace(decoding([5], 0), stops=None)).tolist() == [-1]


def test_all_ranks_do_the_same() -> None:
    gpus, steps = [Counter(), Counter()], StepsAhead()
    assert steps.step(gpus, decoding([5], 0)).tolist() == [6]
    gpus[1].is_held = True  # by chance asked a moment later
    assert steps.step(gpus, decoding([6], 1)).tolist() == [7]
    steps.step(gpus, decoding([40], 0))
    assert gpus[0].told == gpus[1].told == ["begin", "follow", "begin"]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (decoding([5], 62), True),
        (decoding([5], 63), False),  # the slot is full
        (replace(decoding([5], 0), stops=None), False),
        (replace(decoding([5], 0), drafts=np.array([6], np.int32)), False),
        (replace(rows((0, 0, [5, 6])), stops=NEVER), False),
        (replace(rows((0, 0, [5, 6]), outputs=[1]), stops=NEVER), False),
        (decoding([5], 0, *[(1, 2)] * MAX_STOPS), True),
        (decoding([5], 0, *[(1, 2)] * (MAX_STOPS + 1)), False),
    ],
)
def test_which_steps_may_be_followed(step: Step, expected: bool) -> None:
    assert decodes_on(step, 64) is expected


def verifying(prompt: list[int], draft: list[int], *stops: tuple[int, int], ends: int = 0) -> Step:
    """Verify a draft of slot 0 behind a prompt."""
    first = len(prompt) - 1
    outputs = list(range(first, first + len(draft) + 1))
    step = rows((0, 0, [*prompt, *draft]), outputs=outputs)
    return replace(
        step,
        drafts=np.array([*draft, NO_DRAFT], np.int32),
        stops=np.array(stops, np.int32).reshape(-1, 2),
        num_ends=ends,
    )


@pytest.mark.parametrize(
    ("chosen", "stops", "ends", "expected"),
    [
        ([5, 6, 7], [], 0, 2),  # all of it held
        ([5, 9, 7], [], 0, 1),
        ([9, 5, 9], [], 0, 0),
        ([5, 9, 0], [(ANY_TOKEN, 0)], 1, 1),  # an end mark behind a row that does not count
        ([5, 0, 9], [(ANY_TOKEN, 0)], 1, None),
        ([5, 9, 7], [(5, 9)], 0, 1),  # a place before what was refuted
        ([5, 9, 7], [(4, 4), (5, 9)], 0, None),  # the rest will be offered again
        ([5, 9, 7], [(4, 4), (6, 9)], 0, 1),
        ([9, 5, 9], [(3, 9)], 0, None),  # behind the prompt
    ],
)
def test_where_a_draft_ends(
    chosen: list[int], stops: list[tuple[int, int]], ends: int, expected: int | None
) -> None:
    step = verifying([4, 3], [5, 6], *stops, ends=ends)
    assert draft_end_of(step, np.array(chosen, np.int32)) == expected
    is_cut = replace(step, drafts=np.array([5, 6, chosen[2]], np.int32))
    if chosen[:2] == [5, 6]:  # more of it may come
        assert draft_end_of(is_cut, np.array(chosen, np.int32)) is None


def test_what_comes_behind_a_draft() -> None:
    step = replace(verifying([4, 3], [5, 6]), biases=np.array([0.1, 0.2, 0.3], np.float32))
    said, guessed = np.array([5, 9, 7], np.int32), np.array([1, 2, 3], np.int32)
    alone, pair = (behind_draft(step, said, behind, 1) for behind in (None, guessed))
    for found, expected in ((alone, rows((0, 3, [9]))), (pair, rows((0, 3, [9, 2])))):
        for name in ("tokens", "slots", "positions", "outputs"):
            part = getattr(found, name)
            assert part.dtype == np.int32
            assert part.tolist() == getattr(expected, name).tolist()
    assert alone.drafts.tolist() == [NO_DRAFT]
    assert pair.drafts.tolist() == [2, NO_DRAFT]
    assert alone.biases == step.biases[1]
    assert not pair.biases.any()


@pytest.mark.parametrize(
    ("step", "expected", "expected_of_pairs"),
    [
        (verifying([3], [5, 6]), True, True),
        (verifying([3], [5, 6], *[(1, 2)] * MAX_STOPS), True, True),
        (verifying([3], [5, 6], *[(1, 2)] * (MAX_STOPS + 1)), False, False),
        (replace(verifying([3], [5, 6]), num_ends=None), False, False),
        (replace(verifying([3], [5, 6]), stops=None), False, False),
        (verifying([3], list(range(61))), True, True),
        (verifying([3], list(range(62))), True, False),  # there is no room for a guess
        (verifying([3], list(range(63))), False, False),
        (replace(verifying([3], [5]), slots=np.array([0, 1], np.int32)), False, False),
    ],
)
def test_which_steps_with_a_draft_may_be_followed(
    step: Step, expected: bool, expected_of_pairs: bool
) -> None:
    assert ends_draft(step, 64) is expected
    assert ends_draft(step, 64, guesses=True) is expected_of_pairs
    assert not decodes_on(replace(step, drafts=np.full(len(step.outputs), NO_DRAFT)), 64)


@pytest.fixture(scope="module")
def backends(model: Path) -> Iterator[tuple[CudaBackend, CudaBackend]]:
    """One that launches ahead, on the interpreter or a GPU, and one that does not."""
    weights = load_weights(open_checkpoint(model), "bf16", DEVICE)
    both = [CudaBackend(weights, CONFIG, launch_ahead=how) for how in (True, False)]
    yield both[0], both[1]
    for one in both:
        one.close()


class Device(Counter):
    """A GPU whose next token depends on a row's token and position, and on a favoured draft."""

    num_slots, max_step_tokens, weight_bytes, cache_bytes = 4, 16, 1, 1
    name, config, max_length = "cuda", None, 64

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.unwanted = StepsAhead(), 0
        self.pairs: set[tuple[int, int]] = set()
        self.positions = self.drafts = np.zeros(0, np.int32)
        self.biases = np.zeros(0, np.float32)
        self.log: list[tuple[Step, bool]] = []  # what was asked for, whether it was ahead

    def begin(self, batch: Step, written: Any = None) -> None:
        self.batch = batch
        self.rows, self.positions = batch.tokens[batch.outputs], batch.positions[batch.outputs]
        self.drafts, self.biases = batch.drafts.copy(), batch.biases
        self.pairs = set()
        if batch.stops is not None and batch.num_ends is None:
            self.pairs = _pairs(batch.stops)
        self.void = False
        self._run("begin")

    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None:
        if is_behind_draft:
            self._end_draft()
        self._run("follow")

    def _end_draft(self) -> int:
        """Go on from the first answer that is not the draft's; return which it is."""
        stops, num_ends = self.batch.stops, self.batch.num_ends
        assert stops is not None
        end, said = 0, self.rows.tolist()
        while end < len(said) and said[end] == self.drafts[end]:
            end += 1
        is_over = end == len(said)
        end -= is_over
        self.pairs = _pairs(stops[:num_ends]) | _pairs(stops[num_ends:][end:])
        before = int(self.batch.tokens[self.batch.outputs[end]])
        self.void = is_over or bool(self.pairs & {(ANY_TOKEN, said[end]), (before, said[end])})
        self.rows, self.positions = self.rows[end : end + 1], self.positions[end : end + 1]
        self.drafts, self.biases = np.array([NO_DRAFT], np.int32), self.biases[end : end + 1]
        return end

    def _run(self, how: str) -> None:
        self.told.append("void" if self.void else how)
        is_run = not self.void
        if is_run:
            before, self.rows = self.rows, self.choose(self.rows, self.positions)
            self.positions = self.positions + 1
            ends = zip(before.tolist(), self.rows.tolist(), strict=True)
            self.void = any(self.pairs & {(a, b), (ANY_TOKEN, b)} for a, b in ends)
        self.queue.append((self.rows, self.void))

    def choose(self, tokens: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """What follows, or the draft where that is favoured and next to it."""
        best = following(tokens, positions)
        is_near = (self.drafts >= 0) & ((self.drafts - best) % 6 <= 2)
        return np.where(is_near & (self.biases > 0), self.drafts, best)

    def drop(self) -> None:
        self.unwanted += bool(self.queue) and self.told[-1] != "void"
        super().drop()

    @property
    def was_ahead(self) -> bool:
        return self.steps.was_ahead

    @property
    def guessed(self) -> np.ndarray | None:
        return self.steps.guessed([self])

    def step(self, batch: Step) -> np.ndarray:
        found = self.steps.step([self], batch)
        self.log.append((batch, self.was_ahead))
        return found

    def copy_slot(self, source: int, target: int, length: int) -> None: ...
    def hold(self, is_held: bool) -> None: ...
    def close(self) -> None: ...


def following(tokens: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return (tokens * 7 + positions // 3 * 5 + 3) % 6


def _pairs(stops: np.ndarray) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in stops}


class Plain(Device):
    def may_follow(self, rows: int) -> bool:
        return False


class Guessing(Device):
    """A GPU that guesses, too, and goes on from what holds of a token and a guess."""

    guesses = True

    def __init__(self, wrong: int) -> None:
        super().__init__()
        self.wrong = wrong  # one of so many guesses is
        self.tokens = np.zeros(0, np.int32)
        self.guessed_queue: list[np.ndarray] = []
        self.last_guesses = np.zeros(0, np.int32)
        self.num_pairs_ahead = 0

    def begin(self, batch: Step, written: Any = None) -> None:
        self.tokens = batch.tokens[batch.outputs]
        super().begin(batch, written)

    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None:
        if is_behind_draft:
            behind, places = self._guess(), self.at
            end = self._end_draft()
            self.tokens = np.array([self.rows[0], behind[end]], np.int32)
            self.positions = (places[end] + np.arange(1, 3)).astype(np.int32)
            self.drafts = np.array([behind[end], NO_DRAFT], np.int32)
            self.biases = np.zeros(2, np.float32)
        elif not self.void:  # what `follow_pairs` does behind a step
            held = self.rows[0::2] == self.drafts[0::2]
            behind = self._guess()
            token = np.where(held, self.rows[1::2], self.rows[0::2])
            guess = np.where(held, behind[1::2], behind[0::2])
            first = self.at[0::2] + 1 + held
            self.tokens = np.stack((token, guess), 1).reshape(-1).astype(np.int32)
            self.positions = np.stack((first, first + 1), 1).reshape(-1).astype(np.int32)
            self.drafts[0::2] = guess
            self.num_pairs_ahead += 1
        self._run("follow")

    def _run(self, how: str) -> None:
        self.told.append("void" if self.void else how)
        if not self.void:
            self.at = self.positions
            self.rows = self.choose(self.tokens, self.at)
            ends = zip(self.tokens.tolist(), self.rows.tolist(), strict=True)
            self.void = any(self.pairs & {(a, b), (ANY_TOKEN, b)} for a, b in ends)
        self.queue.append((self.rows, self.void))
        self.guessed_queue.append(self._guess())

    def _guess(self) -> np.ndarray:
        behind = following(self.rows, self.at + 1)
        is_wrong = (self.rows * 3 + self.at) % self.wrong == 0
        return np.where(is_wrong, (behind + 1) % 6, behind).astype(np.int32)

    def finish(self, outputs: int) -> np.ndarray:
        self.last_guesses = self.guessed_queue.pop(0)
        return super().finish(outputs)

    def finish_guesses(self, outputs: int) -> np.ndarray:
        return self.last_guesses[:outputs]

    def drop(self) -> None:
        super().drop()
        self.guessed_queue.clear()


TOKENS = st.integers(0, 5)


@given(
    prompts=st.lists(st.lists(TOKENS, min_size=1, max_size=4), min_size=1, max_size=3),
    drafts=st.lists(st.lists(TOKENS, max_size=12), min_size=3, max_size=3),
    eos=st.sets(TOKENS, max_size=1),
    width=st.integers(0, 3),
    most=st.integers(1, 14),
)
def test_launching_ahead_changes_no_output(
    prompts: list[list[int]], drafts: list[list[int]], eos: set[int], width: int, most: int
) -> None:
    """Ends of sentences, drafts that are refuted and offered again, requests side by side."""
    requests = [
        Request(tuple(prompt), draft=tuple(draft), max_new_tokens=most, resync=width)
        for prompt, draft in zip(prompts, drafts, strict=False)
    ]
    gpu = Device()
    first, second = (run(backend, requests, eos) for backend in (gpu, Plain()))
    assert [one.tokens for one in first] == [one.tokens for one in second]
    if len(requests) == 1:  # what is launched ahead is wanted, or was not run
        assert not gpu.unwanted
        # Of longer n-grams only the last two tokens are looked up, and these before any output.
        assert width > 1 or all(behind_drafts(gpu))


@given(
    prompts=st.lists(st.lists(TOKENS, min_size=1, max_size=4), min_size=1, max_size=3),
    drafts=st.lists(st.lists(TOKENS, max_size=12), min_size=3, max_size=3),
    eos=st.sets(TOKENS, max_size=1),
    width=st.integers(0, 3),
    most=st.integers(1, 14),
    wrong=st.integers(1, 5),
    bias=st.sampled_from([0.0, 0.3]),
)
def test_guesses_launched_ahead_change_no_output(
    prompts: list[list[int]],
    drafts: list[list[int]],
    eos: set[int],
    width: int,
    most: int,
    wrong: int,
    bias: float,
) -> None:
    requests = [
        Request(tuple(prompt), draft=tuple(draft), max_new_tokens=most, resync=width, bias=bias)
        for prompt, draft in zip(prompts, drafts, strict=False)
    ]
    gpu = Guessing(wrong)
    first, second = (run(backend, requests, eos) for backend in (gpu, Plain()))
    assert [one.tokens for one in first] == [one.tokens for one in second]
    if len(requests) == 1:
        assert not gpu.unwanted
        # Of longer n-grams only the last two tokens are looked up, and these before any output.
        assert width > 1 or all(behind_drafts(gpu))
        if not drafts[0]:
            assert first[0].steps == second[0].steps - first[0].guessed


def behind_drafts(gpu: Any) -> list[bool]:
    """Return of each step that decodes on behind a draft or a prompt whether it was ahead.

    But not where a draft had more tokens than rows: then more of it might have come.
    """
    found = []
    for (verified, _), (behind, was_ahead) in pairwise(gpu.log):
        is_whole = verified.num_ends is not None and verified.drafts[-1] == NO_DRAFT
        expected, decodes = [*behind.tokens[1:], NO_DRAFT], behind.num_ends is None
        decodes = decodes and behind.drafts.tolist() == expected
        if is_whole and decodes and len(expected) == 1 + gpu.guesses:
            found.append(was_ahead)
    return found


@pytest.mark.parametrize("guesses", [False, True])
def test_what_decodes_on_behind_a_draft_was_launched_before(guesses: bool) -> None:
    """Translations that say most of the last one again, with two words changed."""
    found, num_verified = list[bool](), 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        # No place in the draft begins with the last token of a prompt.
        prompt, eos = (*generator.integers(0, 6, 3).tolist(), 7), range(seed % 2)
        (plain,) = run(Plain(), [Request(prompt, max_new_tokens=30)], eos)
        changed = generator.integers(0, 12, 2)
        draft = [token + (i in changed) for i, token in enumerate(plain.tokens[:12])]
        gpu = Guessing(3) if guesses else Device()
        request = Request(prompt, draft=tuple(draft), max_new_tokens=30)
        (helped,) = run(gpu, [request], eos)
        assert helped.tokens == plain.tokens
        assert not gpu.unwanted
        found += behind_drafts(gpu)
        num_verified += sum(step.num_ends is not None for step, _ in gpu.log)
    assert len(found) >= 60
    assert num_verified > len(found)  # some drafts come again
    assert all(found)


def test_a_token_and_a_guess_are_followed_by_a_token_and_a_guess() -> None:
    gpu = Guessing(wrong=3)
    (found,) = run(gpu, [Request((3, 1), max_new_tokens=30)], ())
    assert found.guessed > 5
    assert gpu.num_pairs_ahead >= found.steps - 4  # neither behind the prompt nor at the end
    assert gpu.told.count("begin") <= 4


def test_pairs_may_come_in_another_order() -> None:
    gpu, steps = Guessing(wrong=2), StepsAhead()
    slots = [
        (slot, 3 + slot, [2 + slot, int(following(*at(2 + slot, 3 + slot)))]) for slot in (0, 1)
    ]
    first = pairs_of(slots)
    chosen = steps.step([gpu], first)
    guessed = steps.guessed([gpu])
    assert guessed is not None
    behind = next_pairs(first, chosen, guessed)
    turned = [2, 3, 0, 1]
    names = ("tokens", "slots", "positions", "drafts")
    asked = replace(behind, **{name: getattr(behind, name)[turned] for name in names})
    assert (steps.step([gpu], asked) == following(asked.tokens, asked.positions)).all()
    assert steps.was_ahead
    again = steps.guessed([gpu])
    assert again is not None
    assert (again == gpu.last_guesses[turned]).all()
    assert gpu.told == ["begin", "follow", "follow"]


def at(token: int, position: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array(token), np.array(position)


def pairs_of(parts: list[tuple[int, int, list[int]]]) -> Step:
    step = rows(*parts)
    drafts = np.stack((step.tokens[1::2], np.full(len(parts), NO_DRAFT)), 1).reshape(-1)
    return replace(step, drafts=drafts.astype(np.int32), stops=NEVER)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (pairs_of([(0, 5, [1, 2])]), True),
        (pairs_of([(0, 5, [1, 2]), (1, 9, [4, 4])]), True),
        (pairs_of([(0, 60, [1, 2])]), True),
        (pairs_of([(0, 61, [1, 2])]), False),  # the next pair would not fit the slot
        (replace(pairs_of([(0, 5, [1, 2])]), stops=None), False),
        (replace(pairs_of([(0, 5, [1, 2])]), biases=np.array([0.1, 0], np.float32)), False),
        (replace(pairs_of([(0, 5, [1, 2])]), drafts=np.array([3, -1], np.int32)), False),
        (replace(pairs_of([(0, 5, [1, 2])]), drafts=np.array([2, 7], np.int32)), False),
        (decoding([5], 0), False),
        (replace(rows((0, 5, [1]), (1, 5, [2])), stops=NEVER), False),
    ],
)
def test_which_steps_with_guesses_may_be_followed(step: Step, expected: bool) -> None:
    assert decodes_on(step, 64, guesses=True) is expected


def test_the_kernels_decide_as_the_engine_does(backends: tuple[CudaBackend, CudaBackend]) -> None:
    (plain,) = run(backends[1], [Request((5, 6), max_new_tokens=9)], ())
    wrong = (plain.tokens[0], 91, *plain.tokens[1:])
    requests = [
        Request((5, 6), draft=wrong, max_new_tokens=9, resync=1),
        Request((7,), max_new_tokens=6),
    ]
    for eos in ((), plain.tokens[-2:-1]):
        first, second = (run(backend, requests, eos) for backend in backends)
        assert [one.tokens for one in first] == [one.tokens for one in second]


@pytest.mark.parametrize("resync", [1, 2])
def test_the_kernels_go_on_behind_a_draft_as_the_engine_does(
    backends: tuple[CudaBackend, CudaBackend], resync: int
) -> None:
    """Where it is refuted, offered again, and ends; and behind a prompt alone."""
    (plain,) = run(backends[1], [Request((5, 6), max_new_tokens=9)], ())
    said, behind = plain.tokens, list[bool]()
    drafts = ((), said[:4], (*said[:3], 91, 92), (91, *said[1:]), (said[0], 91, *said[1:6]))
    for i, draft in enumerate(drafts):
        request = Request((5, 6), draft=draft, max_new_tokens=9, resync=resync)
        eos = said[2:3] if i % 2 else ()
        gpu = Logged(backends[0])
        first, second = (run(backend, [request], eos) for backend in (gpu, backends[1]))
        assert [one.tokens for one in first] == [one.tokens for one in second]
        behind += behind_drafts(gpu)
    assert len(behind) >= 3
    assert all(behind)


class Logged:
    """A backend that notes what was asked for, and whether it was ahead."""

    def __init__(self, backend: CudaBackend) -> None:
        self._backend = backend
        self.log: list[tuple[Step, bool]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def step(self, batch: Step) -> np.ndarray:
        found = self._backend.step(batch)
        self.log.append((batch, self._backend.was_ahead))
        return found


def run(backend: Any, requests: list[Request], eos: Any) -> list[Completion]:
    engine = Engine(Kept(backend), eos_token_ids=eos)
    found = engine.run(requests)
    engine.close()
    return found


class Kept:
    """A backend that outlives its engine."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def close(self) -> None: ...


def test_a_held_step_is_not_followed(backends: tuple[CudaBackend, CudaBackend]) -> None:
    backend, _ = backends
    first = replace(rows((0, 0, [5])), stops=NEVER)
    expected = backend.step(first)
    assert not backend.has_ended()
    backend.drop()  # the one behind it
    backend.begin(first)
    backend.hold(True)
    assert not backend.may_follow(1)
    backend.hold(False)
    assert backend.may_follow(1)
    assert backend.finish(1) == expected


def test_a_slot_that_is_copied_onto_is_read_anew(
    backends: tuple[CudaBackend, CudaBackend],
) -> None:
    found = []
    for backend in backends:
        backend.step(rows((1, 0, list(range(11, 23)))))
        backend.step(rows((0, 0, list(range(30, 41)))))
        tokens = backend.step(replace(rows((0, 11, [5])), stops=NEVER)).tolist()
        backend.copy_slot(1, 0, 12)
        found.append([tokens, backend.step(rows((0, 12, tokens))).tolist()])
        assert found[-1][1] == backend.step(rows((1, 12, tokens))).tolist()
    assert found[0] == found[1]


def test_a_guess_that_fits_no_step_is_not_launched(
    backends: tuple[CudaBackend, CudaBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends[0], "max_step_tokens", 1)
    assert not backends[0].may_follow(2)


def test_a_held_step_behind_a_draft_is_void(backends: tuple[CudaBackend, CudaBackend]) -> None:
    backend, plain = backends
    step = verifying([5], [6, 7])
    expected = plain.step(step).tolist()
    backend.hold(True)
    backend.begin(step)
    backend.follow(1, is_behind_draft=True)
    assert backend.finish(3).tolist() == expected
    assert backend.has_ended()
    assert backend.memory.num_outputs.item() == 0
    backend.hold(False)
    backend.drop()


def test_ends_are_seen_on_the_device(backends: tuple[CudaBackend, CudaBackend]) -> None:
    backend, plain = backends
    (token,) = plain.step(rows((0, 0, [5]))).tolist()
    for stops, ended in (([(5, token)], True), ([(6, token)], False), ([(ANY_TOKEN, token)], True)):
        batch = replace(rows((0, 0, [5])), stops=np.array(stops, np.int32))
        backend.begin(batch)
        backend.follow(1)
        assert backend.finish(1).tolist() == [token]
        assert backend.has_ended() is ended
        assert backend.memory.num_outputs.item() == (0 if ended else 1)  # of the step behind it
        backend.drop()


def test_a_draft_is_not_answered_by_what_was_launched_ahead(
    backends: tuple[CudaBackend, CudaBackend],
) -> None:
    """The row is the same, and a bias accepts the draft in place of the best token."""
    backend, plain = backends
    step = replace(rows((0, 0, [5])), stops=NEVER)
    (token,) = backend.step(step).tolist()
    plain.step(step)
    asked = rows((0, 1, [token]))
    (best,) = plain.step(asked).tolist()
    draft, bias = np.array([best - 1], np.int32), np.array([1 - 2.0**-20], np.float32)
    backend.step(step)
    assert backend.step(replace(asked, drafts=draft, biases=bias)).tolist() == [best - 1]
    assert not backend.was_ahead
    backend.step(step)
    assert backend.step(asked).tolist() == [best]
    assert backend.was_ahead
