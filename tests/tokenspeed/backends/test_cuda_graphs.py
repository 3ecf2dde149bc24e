"""What only a GPU can show: graphs, launches ahead, the allocator, and equal bits at each width."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tokenspeed.backends.test_cuda import rows
from tests.tokenspeed.backends.test_cuda_ahead import verifying
from tests.tokenspeed.kernels.support import assert_as_exact
from tokenspeed.backends import ANY_TOKEN, NO_DRAFT, Step
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import FORMS, random_weights
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import NEVER
from tokenspeed.engine.engine import Engine, TokenStream
from tokenspeed.engine.request import Request
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.launch import Launch
from tokenspeed.model.config import EngineConfig

pytestmark = pytest.mark.gpu

ENGINE = EngineConfig(num_slots=8, max_length=512, max_step_tokens=256)
SHAPE = replace(SHAPES["default-38m"], num_layers=4)  # narrow tiles
# K in parts; on Hopper steps of few rows are one kernel.
WIDE = replace(SHAPES["llama-3.2-1b"], num_layers=2, vocab_size=24064)


@pytest.fixture(scope="module", params=[(s, f) for s in ("narrow", "wide") for f in FORMS])
def backend(request: pytest.FixtureRequest) -> Iterator[CudaBackend]:
    shape, form = request.param
    weights = random_weights(SHAPE if shape == "narrow" else WIDE, form, "cuda", seed=7)
    backend = CudaBackend(weights, ENGINE)
    if torch.cuda.get_device_capability()[0] == 9:
        assert (backend.persistent is not None) == (shape == "wide" and form != "fp8")
    yield backend
    backend.close()


def prompt(length: int, seed: int = 3) -> list[int]:
    return np.random.default_rng(seed).integers(3, SHAPE.vocab_size, length).tolist()


def last_only(step: Step) -> Step:
    return replace(
        step,
        outputs=step.outputs[-1:],
        drafts=np.array([NO_DRAFT], np.int32),
        biases=np.zeros(1, np.float32),
    )


def test_logits_are_as_good_as_torchs(backend: CudaBackend) -> None:
    tokens = prompt(200)
    got = torch.from_numpy(backend.logits(rows((0, 0, tokens))))
    ref, exact = (
        step_ref(backend.weights, tokens, d).cpu() for d in (torch.bfloat16, torch.float32)
    )
    assert_as_exact(got, ref, exact)


@pytest.mark.parametrize("width", [1, 16, 32, 64])
def test_every_width_gives_the_same_bits(backend: CudaBackend, width: int) -> None:
    tokens = prompt(200)
    whole = backend.logits(rows((0, 0, tokens)))
    backend.copy_slot(0, 1, 136)
    parts = [
        backend.logits(rows((1, at, tokens[at : at + width]))) for at in range(136, 200, width)
    ]
    assert np.array_equal(np.concatenate(parts), whole[136:])


def test_graphs_and_launches_ahead_change_nothing(backend: CudaBackend) -> None:
    sequence = prompt(64)
    sequence.append(int(backend.step(last_only(rows((2, 0, sequence))))[0]))
    for _ in range(40):
        step = rows((2, len(sequence) - 1, sequence[-1:]))
        sequence.append(int(backend.step(replace(step, stops=NEVER))[0]))
    eager = backend.logits(rows((3, 0, sequence[:-1])))[63:].argmax(-1)
    assert sequence[64:] == eager.tolist()
    assert backend.step(rows((4, 0, sequence[:-1])))[63:].tolist() == sequence[64:]


def test_a_wrong_guess_of_the_next_step_is_harmless(backend: CudaBackend) -> None:
    tokens = prompt(40)
    backend.step(rows((5, 0, tokens[:20])))
    expected = backend.logits(rows((6, 0, tokens)))[19:].argmax(-1)
    for at in range(20, 40):  # each step is guessed to go on with its own token, which it does not
        step = replace(rows((5, at, tokens[at : at + 1])), stops=NEVER)
        assert backend.step(step)[0] == expected[at - 19]


def test_a_void_step_leaves_no_trace(backend: CudaBackend) -> None:
    """Of one row to three: what comes behind it is what comes without it."""
    tokens = prompt(41)
    for slot in (4, 5, 6):
        backend.step(rows((slot, 0, tokens[:20])))
    expected = backend.logits(rows((7, 0, tokens)))[20:].argmax(-1)
    for at in range(20, 40):
        parts = [(slot, at, tokens[at : at + 1]) for slot in (5, 6, 4)][: 1 + at % 3]
        stop = np.array([(tokens[at], expected[at - 20])], np.int32)
        chosen = backend.step(replace(rows(*parts), stops=stop))
        assert (chosen == expected[at - 20]).all()
        assert backend.has_ended()
        backend.step(rows(*((slot, at, tokens[at : at + 1]) for slot in (6, 4))))


def test_what_goes_on_behind_a_draft_has_the_same_tokens(backend: CudaBackend) -> None:
    tokens, said = prompt(20), list[int]()
    for _ in range(6):
        said.append(int(backend.step(last_only(rows((1, 0, [*tokens, *said]))))[0]))
    for end in range(7):
        others = [(token + 1) % backend.config.vocab_size for token in said[end:]]
        step = verifying(tokens, [*said[:end], *others])
        chosen = backend.step(step)
        behind = rows((0, 20 + end, [int(chosen[end])]))
        following = backend.step(behind)
        assert backend.was_ahead
        assert (backend.step(replace(step, stops=None, num_ends=None)) == chosen).all()
        assert backend.step(behind) == following
        assert not backend.was_ahead
        stop = np.array([(ANY_TOKEN, chosen[end])], np.int32)
        assert (backend.step(replace(step, stops=stop, num_ends=1)) == chosen).all()
        assert backend.step(behind) == following
        assert not backend.was_ahead


def test_steps_allocate_nothing(backend: CudaBackend) -> None:
    def allocations() -> int:
        torch.cuda.synchronize()
        return int(torch.cuda.memory_stats()["allocation.all.allocated"])

    before = allocations()
    backend.step(rows((0, 0, prompt(100)), (1, 0, prompt(9))))
    backend.step(rows((0, 100, [5]), (1, 9, [5])))
    backend.copy_slot(0, 2, 50)
    assert allocations() == before


def test_dependent_launch_changes_nothing(backend: CudaBackend) -> None:
    if torch.cuda.get_device_capability() < (9, 0):
        with pytest.raises(BackendUnavailable, match="dependent launch"):
            CudaBackend(backend.weights, ENGINE, launch=Launch(pdl=2))
        return
    other = CudaBackend(backend.weights, ENGINE, launch=Launch(pdl=2, prefetch_bytes=256))
    step = rows((0, 0, prompt(50)))
    assert np.array_equal(other.step(step), backend.step(step))
    assert np.array_equal(other.logits(step), backend.logits(step))


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_a_long_prompt_gives_the_same_bits_in_one_step_or_many(form: str) -> None:
    tokens = prompt(2000)
    config = EngineConfig(num_slots=2, max_length=2048, max_step_tokens=2048)
    backend = CudaBackend(random_weights(WIDE, form, "cuda", seed=7), config)
    whole = backend.step(rows((0, 0, tokens)))
    parts = [backend.step(rows((1, at, tokens[at : at + 100]))) for at in range(0, 2000, 100)]
    assert np.array_equal(np.concatenate(parts), whole)
    backend.close()


async def test_cancelling_ends_within_a_step() -> None:
    engine = Engine(CudaBackend.from_random(SHAPE, ENGINE, "int8"), eos_token_ids=())
    generation = TokenStream(engine.submit, Request(tuple(prompt(30)), max_new_tokens=400))
    async for _ in generation:
        break
    steps = engine.stats().steps
    generation.cancel()
    completion = await generation.completion()
    assert completion.finish_reason == "cancelled"
    assert engine.stats().steps - steps <= 3  # the one in flight, and what ran meanwhile
    engine.close()


async def test_a_newer_request_supersedes_within_a_step() -> None:
    engine = Engine(CudaBackend.from_random(SHAPE, ENGINE, "int8"), eos_token_ids=())
    old = TokenStream(engine.submit, Request(tuple(prompt(30)), key="k", max_new_tokens=300))
    async for _ in old:
        break
    new = TokenStream(engine.submit, Request(tuple(prompt(34)), key="k", max_new_tokens=20))
    ended, completion = await old.completion(), await new.completion()
    engine.close()
    assert ended.finish_reason == "superseded"
    assert len(ended.tokens) < 300
    assert completion.finish_reason == "length"
