"""The engine without a thread: what a step does, and what a failed one leaves."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.tokenspeed.engine.test_engine import GatedReference
from tokenspeed.backends import Step
from tokenspeed.engine.core import EngineCore
from tokenspeed.engine.request import Completion, Request, Sequence
from tokenspeed.errors import EngineStopped, RequestTooLong
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


class Ears:
    """Hears what is delivered for each request."""

    def __init__(self, core: EngineCore) -> None:
        self.core = core
        self.tokens: dict[Sequence, list[int]] = {}
        self.endings: dict[Sequence, Completion | EngineStopped] = {}

    def add(self, request: Request) -> Sequence:
        sequence = self.core.sequence(request)
        self.tokens[sequence] = []

        def deliver(tokens: tuple[int, ...], ending: Completion | EngineStopped | None) -> None:
            assert sequence not in self.endings, "nothing comes after the end"
            self.tokens[sequence] += tokens
            if ending is not None:
                self.endings[sequence] = ending

        self.core.add(sequence, deliver)
        return sequence

    def reason(self, sequence: Sequence) -> str:
        ending = self.endings[sequence]
        return "failed" if isinstance(ending, EngineStopped) else ending.finish_reason


def listening(model: Path, max_step_ms: float = math.inf, num_slots: int = 2) -> Ears:
    config = EngineConfig(num_slots=num_slots, max_length=64, max_step_tokens=32)
    backend = GatedReference(open_checkpoint(model), config)
    return Ears(EngineCore(backend, eos_token_ids=(), max_step_ms=max_step_ms))


@pytest.fixture
def ears(tiny_model: Path) -> Ears:
    return listening(tiny_model)


def finish(ears: Ears) -> None:
    while ears.core.has_work:
        ears.core.step()


def test_a_step_without_work_does_nothing(ears: Ears) -> None:
    ears.core.step()
    assert ears.core.stats().steps == 0


def test_tokens_come_as_they_become_sure_and_then_the_end(ears: Ears) -> None:
    sequence = ears.add(Request((5, 6), max_new_tokens=4))
    ears.core.step()
    assert len(ears.tokens[sequence]) == 1
    assert sequence not in ears.endings
    finish(ears)
    ending = ears.endings[sequence]
    assert isinstance(ending, Completion)
    assert tuple(ears.tokens[sequence]) == ending.tokens
    assert ears.core.stats().slots_in_use == 0


def test_a_step_that_was_launched_ahead_began_when_the_one_before_it_ended(
    ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, seen = [100.0], list[tuple[float, float]]()
    monkeypatch.setattr(ears.core, "clock", lambda: now_s[0])
    step = ears.core.backend.step

    def slow(batch: Step) -> NDArray[np.int32]:
        now_s[0] += 2
        return step(batch)

    monkeypatch.setattr(ears.core.backend, "step", slow)
    ears.core.on_step = lambda plan, began_s, ended_s: seen.append((began_s, ended_s))
    ears.add(Request((5, 6), max_new_tokens=3))
    for was_ahead in (False, True, False):
        monkeypatch.setattr(ears.core.backend, "was_ahead", was_ahead)
        ears.core.step()
        now_s[0] += 1  # what the host does between two steps
    assert seen == [(100, 102), (102, 105), (106, 108)]
    assert ears.core.stats().busy_s == 2 + 3 + 2


def test_guesses_are_verified_and_not_waited_for_at_the_end(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that knows what comes next spares every other step."""
    plain = listening(tiny_model)
    expected = plain.add(Request((5, 6), max_new_tokens=9))
    finish(plain)
    ears, asked = listening(tiny_model), list[int]()
    said = plain.tokens[expected]

    class Guessing(GatedReference):
        @property
        def guessed(self) -> NDArray[np.int32]:  # type: ignore[override]
            asked.append(len(self.batch.outputs))
            at = self.batch.positions[self.batch.outputs]  # 1: of the last token of the prompt
            return np.array([said[i] if i < len(said) else 0 for i in at.tolist()], np.int32)

        def step(self, batch: Step) -> NDArray[np.int32]:
            self.batch = batch
            return super().step(batch)

    config = EngineConfig(num_slots=2, max_length=64, max_step_tokens=32)
    backend = Guessing(open_checkpoint(tiny_model), config)
    ears = Ears(EngineCore(backend, eos_token_ids=()))
    sequence = ears.add(Request((5, 6), max_new_tokens=9))
    finish(ears)
    assert ears.tokens[sequence] == said
    ending = ears.endings[sequence]
    assert isinstance(ending, Completion)
    assert (ending.steps, ending.guessed, ending.decoded) == (5, 4, 9)
    assert ears.core.stats().guessed == 4
    assert asked == [1, 2, 2, 2]  # of five steps: nobody needs what comes behind the last one


def test_a_newer_request_of_a_key_ends_the_older_partial_at_once(ears: Ears) -> None:
    older = ears.add(Request((5, 6), key="k", max_new_tokens=20))
    for _ in range(3):
        ears.core.step()
    newer = ears.add(Request((5, 6), key="k", max_new_tokens=20))
    assert ears.reason(older) == "superseded"
    assert newer.draft == ears.tokens[older]  # it goes on from what was there
    final = ears.add(Request((5, 6), key="k", max_new_tokens=5, is_final=True))
    later = ears.add(Request((5, 6), key="k", max_new_tokens=5))
    finish(ears)
    assert [ears.reason(s) for s in (newer, final, later)] == ["superseded", "length", "length"]


def test_a_cancelled_request_ends_once(ears: Ears) -> None:
    sequence = ears.add(Request((5, 6), max_new_tokens=20))
    ears.core.cancel(sequence)
    ears.core.cancel(sequence)
    assert ears.reason(sequence) == "cancelled"
    assert not ears.core.has_work
    assert ears.core.stats().cancelled == 1


def test_what_a_failed_step_had_is_tried_again_one_by_one(ears: Ears) -> None:
    backend = ears.core.backend
    assert isinstance(backend, GatedReference)
    prompts = [(5, 6), (7, 8)]
    alone = [ears.add(Request(prompt, max_new_tokens=6)) for prompt in prompts]
    finish(ears)
    again = [ears.add(Request(prompt, max_new_tokens=6)) for prompt in prompts]
    ears.core.step()
    backend.fail_next = 1
    with pytest.raises(RuntimeError):
        ears.core.step()
    ears.core.recover()
    assert ears.core.failures_in_a_row == 1
    finish(ears)
    assert ears.core.failures_in_a_row == 0
    assert [ears.tokens[s] for s in again] == [ears.tokens[s] for s in alone]


@given(
    each=st.integers(2, 9), count=st.integers(1, 6), max_step_ms=st.sampled_from([1e-6, math.inf])
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_failures_in_a_rhythm_cost_nobody_anything(
    tiny_model: Path, each: int, count: int, max_step_ms: float
) -> None:
    ears = listening(
        tiny_model, max_step_ms, num_slots=6
    )  # at 1e-6 ms, prompts are computed in chunks
    backend = ears.core.backend
    assert isinstance(backend, GatedReference)
    requests = [Request((*range(5 + i, 29 + i),), max_new_tokens=20) for i in range(count)]
    undisturbed = [ears.add(request) for request in requests]
    finish(ears)
    disturbed = [ears.add(request) for request in requests]
    for turn in itertools.count(1):
        if not ears.core.has_work:
            break
        backend.fail_next = int(turn % each == 0)
        try:
            ears.core.step()
        except RuntimeError:
            ears.core.recover()
    assert ears.core.stats().failures > 0
    assert [ears.tokens[s] for s in disturbed] == [ears.tokens[s] for s in undisturbed]


def test_who_fails_alone_ends_alone(ears: Ears) -> None:
    backend = ears.core.backend
    assert isinstance(backend, GatedReference)
    backend.poison = 50
    bad = ears.add(Request((50, 51), max_new_tokens=4))
    good = ears.add(Request((7, 8), max_new_tokens=4))
    while ears.core.has_work:
        try:
            ears.core.step()
        except RuntimeError:
            ears.core.recover()
    assert (ears.reason(bad), ears.reason(good)) == ("failed", "length")


def test_what_cannot_fit_a_slot_is_refused(ears: Ears) -> None:
    with pytest.raises(RequestTooLong):
        ears.core.sequence(Request(tuple(range(3, 60)), max_new_tokens=20))
