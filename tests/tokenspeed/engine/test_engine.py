"""The engine on both CPU backends: identical results however they are computed, and its API."""

import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tokenspeed.backends import Step
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.engine.core import FAILURES_OF_ONE
from tokenspeed.engine.engine import MAX_FAILURES, Engine, TokenStream
from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.request import Completion, Request
from tokenspeed.engine.scheduler import Scheduler
from tokenspeed.errors import DeviceLost, EngineStopped, RequestTooLong
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

PROMPTS = st.lists(st.integers(3, 94), min_size=1, max_size=20)


class Gate:
    """Counts the steps of a backend, and can make some fail or wait."""

    steps = 0
    fail_next = 0  # steps that fail from now on
    error: BaseException = RuntimeError("the device fell over")
    poison: int | None = None  # a token that makes any step fail
    gate: threading.Event | None = None

    def step(self, batch: Step) -> NDArray[np.int32]:
        self.steps += 1
        if self.gate is not None:
            self.gate.wait(30)
        if self.fail_next:
            self.fail_next -= 1
            raise self.error
        if self.poison is not None and self.poison in batch.tokens:
            raise RuntimeError("poison")
        return super().step(batch)  # type: ignore[misc]


class GatedReference(Gate, ReferenceBackend):
    """The reference backend behind a gate."""


class GatedCpu(Gate, CpuBackend):
    """The native backend behind a gate."""


BACKENDS = {"reference": GatedReference, "cpu": GatedCpu}


def make_engine(
    model: Path, eos: Iterable[int] = (2,), backend: str = "reference", **changes: Any
) -> Engine:
    config = EngineConfig(**{"num_slots": 4, "max_length": 96, "max_step_tokens": 40} | changes)
    return Engine(BACKENDS[backend](open_checkpoint(model), config), eos_token_ids=eos)


@pytest.fixture(scope="module", params=list(BACKENDS))
def backend_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def engine(tiny_model: Path, backend_name: str) -> Iterator[Engine]:
    """An engine that all tests of a module share, so that its slots are warm."""
    engine = make_engine(tiny_model, backend=backend_name)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def alone(tiny_model: Path, backend_name: str) -> Iterator[Engine]:
    """An engine with one slot and narrow steps: nothing in common with the shared one."""
    engine = make_engine(tiny_model, backend=backend_name, num_slots=1, max_step_tokens=3)
    yield engine
    engine.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), prompts=st.lists(PROMPTS, min_size=1, max_size=5))
def test_batch_cache_and_draft_never_change_the_output(
    engine: Engine, alone: Engine, data: st.DataObject, prompts: list[list[int]]
) -> None:
    expected = [greedy(alone, prompt) for prompt in prompts]
    requests = []
    for prompt, output in zip(prompts, expected, strict=True):
        forced = data.draw(st.integers(0, len(output)), "length of the forced prefix")
        draft = list(output[forced:])
        for at in data.draw(st.lists(st.integers(0, 16), max_size=3), "wrong draft tokens"):
            draft[at : at + 1] = [50]
        requests.append(Request(tuple(prompt), output[:forced], tuple(draft), max_new_tokens=16))
    completions = engine.run(requests)
    assert [c.tokens for c in completions] == expected


def greedy(engine: Engine, prompt: list[int]) -> tuple[int, ...]:
    (completion,) = engine.run([Request(tuple(prompt), max_new_tokens=16)])
    return completion.tokens


def test_a_bias_keeps_a_draft_that_is_almost_as_likely(engine: Engine, alone: Engine) -> None:
    prompt = (50,)
    output = greedy(alone, list(prompt))
    other = (output[0] + 1, *output[1:])
    greedy_again, held = engine.run(
        [
            Request(prompt, draft=other, bias=0.0, max_new_tokens=4),
            Request(prompt, draft=other, bias=0.999, max_new_tokens=4),
        ]
    )
    assert greedy_again.tokens == output[:4]
    assert held.tokens == other[:4]


def test_an_update_reuses_all_but_the_last_token(engine: Engine) -> None:
    prompt = tuple(range(10, 40))
    engine.run([Request(prompt, key="reuse", max_new_tokens=2)])
    (again,) = engine.run([Request((*prompt, 41), key="reuse", max_new_tokens=2)])
    assert again.reused == len(prompt)


def test_targets_of_one_source_compute_it_once(tiny_model: Path) -> None:
    engine = make_engine(tiny_model)
    source = tuple(range(10, 40))
    german, french = engine.run([Request((*source, m), max_new_tokens=3) for m in (50, 51)])
    engine.close()
    assert (german.reused, french.reused) == (0, len(source))


def test_targets_named_before_the_source_share_what_stands_before_their_names(
    tiny_model: Path,
) -> None:
    engine = make_engine(tiny_model)
    instruction, source = tuple(range(10, 24)), tuple(range(30, 45))
    requests = [
        Request((*instruction, name, *text), key=name, max_new_tokens=3)
        for text in (source, (*source, 46))
        for name in (50, 51)
    ]
    reused = [engine.run([request])[0].reused for request in requests]
    engine.close()
    whole = len(instruction) + 1 + len(source)
    assert reused == [0, len(instruction), whole, whole]


async def test_tokens_stream_as_they_become_sure(engine: Engine, alone: Engine) -> None:
    expected = greedy(alone, [7, 8, 9])
    generation = TokenStream(
        engine.submit, Request((7, 8, 9), draft=expected[:5], max_new_tokens=16)
    )
    parts = [part async for part in generation]
    completion = await generation.completion()
    assert tuple(token for part in parts for token in part) == completion.tokens == expected
    assert len(parts[0]) == 6
    assert completion.accepted == 5
    assert completion.total_ms >= completion.first_token_ms >= completion.queue_ms >= 0


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_one_that_cannot_take_its_results_keeps_no_other_from_its_own(
    tiny_model: Path, error: type[BaseException]
) -> None:
    """Results of one step are handed to an event loop together."""
    engine, loop = make_engine(tiny_model, eos=()), asyncio.get_running_loop()
    raised, parts = list[BaseException](), list[tuple[int, ...]]()
    loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
    ended = loop.create_future()

    def broken(tokens: tuple[int, ...], ending: Completion | EngineStopped | None) -> None:
        raise error(f"{len(tokens)}, {ending is not None}")

    def whole(tokens: tuple[int, ...], ending: Completion | EngineStopped | None) -> None:
        parts.append(tokens)
        if ending is not None:
            ended.set_result(ending)

    engine.submit(Request((5, 6), max_new_tokens=4), broken)
    engine.submit(Request((7, 8), max_new_tokens=9), whole)
    ending = await ended
    engine.close()
    assert tuple(token for tokens in parts for token in tokens) == ending.tokens
    assert [str(error) for error in raised] == ["1, False"] * 3 + ["1, True"]


async def test_a_newer_request_supersedes_and_inherits(tiny_model: Path) -> None:
    engine = make_engine(tiny_model, eos=())
    old = TokenStream(engine.submit, Request((5, 6, 7), key="segment", max_new_tokens=80))
    first: list[int] = []
    async for part in old:
        first += part
        if len(first) >= 3:
            break
    new = TokenStream(engine.submit, Request((5, 6, 7), key="segment", max_new_tokens=80))
    ended, completion = await old.completion(), await new.completion()
    engine.close()
    assert ended.finish_reason == "superseded"
    assert completion.accepted >= 3
    assert completion.tokens[: len(ended.tokens)] == ended.tokens


async def test_a_final_is_not_superseded(engine: Engine) -> None:
    final = TokenStream(engine.submit, Request((9, 9), key="k", is_final=True, max_new_tokens=30))
    newer = TokenStream(engine.submit, Request((9, 8), key="k", max_new_tokens=30))
    completion = await final.completion()
    await newer.completion()
    assert completion.finish_reason in ("stop", "length")


async def test_cancelling_frees_the_slot_within_a_step(tiny_model: Path) -> None:
    engine = make_engine(tiny_model, eos=(), num_slots=1)
    generation = TokenStream(engine.submit, Request((5, 6), max_new_tokens=90))
    async for _ in generation:
        break
    before = engine.backend.steps  # type: ignore[attr-defined]
    generation.cancel()
    completion = await generation.completion()
    assert completion.finish_reason == "cancelled"
    assert engine.backend.steps <= before + 2  # type: ignore[attr-defined]
    assert engine.stats().slots_in_use == 0
    engine.close()


async def test_more_requests_than_slots_all_finish(engine: Engine) -> None:
    generations = [
        TokenStream(engine.submit, Request((3 + i, 40 + i), max_new_tokens=6)) for i in range(20)
    ]
    completions = await asyncio.gather(*(g.completion() for g in generations))
    assert all(isinstance(c, Completion) for c in completions)
    assert engine.stats().slots_in_use == 0


async def test_a_failed_step_is_tried_again_and_nobody_notices(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(tiny_model)
    prompts = [(5, 6), (7, 8, 9), (20, 21)]
    expected = [greedy(engine, list(prompt)) for prompt in prompts]
    engine.backend.fail_next = 1  # type: ignore[attr-defined]
    completions = engine.run([Request(prompt, max_new_tokens=16) for prompt in prompts])
    assert [c.tokens for c in completions] == expected
    assert "the device fell over" in caplog.text
    assert (engine.stats().failures, engine.health().failures_in_a_row) == (1, 0)
    engine.close()


@pytest.mark.parametrize(
    "error",
    [RuntimeError("injected"), MemoryError(), torch.OutOfMemoryError("no room"), SystemExit(3)],
)
def test_nobody_loses_anything_where_each_seventh_step_fails(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    engine = make_engine(tiny_model)
    prompts = [(5 + i, 6, 7 + i) for i in range(8)]
    expected = [greedy(engine, list(prompt)) for prompt in prompts]
    step, count = engine.backend.step, 0

    def fail(batch: Step) -> NDArray[np.int32]:
        nonlocal count
        count += 1
        if count % 7 == 0:
            raise error
        return step(batch)

    monkeypatch.setattr(engine.backend, "step", fail)
    completions = engine.run([Request(prompt, max_new_tokens=16) for prompt in prompts])
    assert [c.tokens for c in completions] == expected
    assert engine.stats().failures == count // 7 > 0
    engine.close()


async def test_one_request_that_breaks_each_step_fails_alone(tiny_model: Path) -> None:
    engine = make_engine(tiny_model)
    expected = greedy(engine, [7, 8, 9])
    engine.backend.poison = 50  # type: ignore[attr-defined]
    bad = TokenStream(engine.submit, Request((50, 51), max_new_tokens=4))
    good = TokenStream(engine.submit, Request((7, 8, 9), max_new_tokens=16))
    assert (await good.completion()).tokens == expected
    with pytest.raises(EngineStopped, match="its step failed"):
        await bad.completion()
    assert engine.health().is_alive
    engine.close()


async def test_a_backend_that_fails_again_and_again_is_built_anew(tiny_model: Path) -> None:
    config = EngineConfig(num_slots=4, max_length=96, max_step_tokens=40)

    def build() -> GatedReference:
        return GatedReference(open_checkpoint(tiny_model), config)

    engine = Engine(build(), eos_token_ids=(2,), rebuild=build)
    engine.backend.fail_next = 10**9  # type: ignore[attr-defined]
    streams = [TokenStream(engine.submit, Request((5 + i, 6), max_new_tokens=4)) for i in range(6)]
    endings = await asyncio.gather(*(s.completion() for s in streams), return_exceptions=True)
    # The first failure was of all; then some were tried alone, each as often as proves it.
    assert (
        sum(isinstance(ending, EngineStopped) for ending in endings)
        <= MAX_FAILURES // FAILURES_OF_ONE
    )
    assert engine.health().is_alive
    engine.close()
    assert engine.health().failures_in_a_row == 0


async def test_a_device_that_is_lost_is_no_fault_of_a_request(tiny_model: Path) -> None:
    config = EngineConfig(num_slots=4, max_length=96, max_step_tokens=40)
    built: list[GatedReference] = []

    def build() -> GatedReference:
        built.append(GatedReference(open_checkpoint(tiny_model), config))
        return built[-1]

    engine = Engine(build(), eos_token_ids=(2,), rebuild=build)
    expected = greedy(engine, [7, 8, 9])
    for failures, in_all in ((1, 1), (2, 2)):
        built[-1].error, built[-1].fail_next = DeviceLost("gone"), failures
        assert greedy(engine, [7, 8, 9]) == expected
        assert len(built) == in_all
    # Where the new backend has lost it as well, no third one is made.
    built[-1].error, built[-1].fail_next = DeviceLost("gone"), 2
    engine._rebuild = lambda: broken(build())
    stream = TokenStream(engine.submit, Request((5, 6), max_new_tokens=4))
    with pytest.raises(EngineStopped, match="given up"):
        await stream.completion()
    assert len(built) == 3
    assert engine.stats().failures == 1 + 2 + 4
    assert not engine.health().is_alive
    engine.close()


def broken(backend: GatedReference) -> GatedReference:
    backend.error, backend.fail_next = DeviceLost("gone, too"), 10**9
    return backend


async def test_an_engine_without_a_way_back_says_that_it_has_stopped(tiny_model: Path) -> None:
    engine = make_engine(tiny_model)
    engine.backend.fail_next = 10**9  # type: ignore[attr-defined]
    streams = [TokenStream(engine.submit, Request((5 + i, 6), max_new_tokens=4)) for i in range(6)]
    for stream in streams:
        with pytest.raises(EngineStopped):
            await stream.completion()
    assert not engine.health().is_alive
    late = TokenStream(engine.submit, Request((5, 6), max_new_tokens=4))
    with pytest.raises(EngineStopped, match="given up"):
        await late.completion()
    engine.close()


async def test_neither_an_intake_that_raises_nor_an_exit_ends_the_thread(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(tiny_model)
    expected = greedy(engine, [7, 8, 9])
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "add", lambda self, sequence: sys.exit(3))
        refused = TokenStream(engine.submit, Request((5, 6), max_new_tokens=4))
        with pytest.raises(EngineStopped, match="not taken in"):
            await refused.completion()
    engine.backend.fail_next = 1  # type: ignore[attr-defined]
    engine.backend.error = SystemExit(3)  # type: ignore[attr-defined]
    assert greedy(engine, [7, 8, 9]) == expected
    engine.close()


async def test_a_step_that_hangs_is_seen_and_does_not_hold_up_the_end(tiny_model: Path) -> None:
    engine = make_engine(tiny_model)
    release = threading.Event()
    engine.backend.gate = release  # type: ignore[attr-defined]
    stream = TokenStream(engine.submit, Request((5, 6), max_new_tokens=4))
    while not engine.health().step_s:  # noqa: ASYNC110 - a hanging thread sets no event
        await asyncio.sleep(0.01)
    assert engine.close(timeout_s=0.05) is False
    release.set()
    with pytest.raises(EngineStopped):
        await stream.completion()
    engine._thread.join()


async def test_what_ends_without_a_step_does_not_wait_for_one(tiny_model: Path) -> None:
    engine = make_engine(tiny_model, eos=())
    assert isinstance(engine.backend, GatedReference)
    gate = engine.backend.gate = threading.Event()
    with engine._wake:  # the engine sees both at once
        slow = TokenStream(engine.submit, Request((5, 6), max_new_tokens=2))
        full = TokenStream(engine.submit, Request((5, 6), forced=(7,), max_new_tokens=1))
    assert (await asyncio.wait_for(full.completion(), 10)).tokens == (7,)
    gate.set()
    assert len((await slow.completion()).tokens) == 2
    engine.close()


async def test_closing_ends_open_requests(tiny_model: Path) -> None:
    engine = make_engine(tiny_model, eos=())
    generation = TokenStream(engine.submit, Request((5, 6), max_new_tokens=90))
    engine.close()
    with pytest.raises(EngineStopped, match="closed"):
        await generation.completion()
    with pytest.raises(EngineStopped, match="closed"):
        TokenStream(engine.submit, Request((5, 6), max_new_tokens=4))
    generation.cancel()


def test_what_cannot_fit_a_slot_is_refused_at_the_door(engine: Engine) -> None:
    with pytest.raises(RequestTooLong, match="needs 120 positions, a slot holds 96"):
        engine.run([Request(tuple(range(3, 23)), max_new_tokens=100)])


@pytest.mark.parametrize(
    "fields", [{"prompt": ()}, {"bias": 1.0}, {"bias": -0.1}, {"max_new_tokens": 0}]
)
def test_a_senseless_request_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Request(**{"prompt": (5,)} | fields)


def test_the_share_of_the_bandwidth_follows_from_the_steps(tiny_model: Path) -> None:
    config = EngineConfig(num_slots=1, max_length=40, max_step_tokens=16)
    backend = ReferenceBackend(open_checkpoint(tiny_model), config)
    ticks = iter(range(10_000))
    engine = Engine(
        backend,
        eos_token_ids=(),
        read_bytes_per_s=backend.weight_bytes * 4.0,
        clock=lambda: next(ticks) * 0.5,
    )
    assert engine.stats().bandwidth_share == 0.0  # nothing ran yet
    engine.run([Request((5, 6), max_new_tokens=3)])
    stats = engine.stats()
    engine.close()
    assert stats.recent_step_s == pytest.approx(0.5)  # one tick of this clock
    assert stats.bandwidth_share == pytest.approx(1 / (0.5 * 4))


def test_a_start_measures_what_the_machine_reads(tiny_translator: Path) -> None:
    model = load_engine(tiny_translator, device="cpu")
    measured = model.engine.stats().read_bytes_per_s
    model.close()
    assert 1e8 < measured < 1e13
