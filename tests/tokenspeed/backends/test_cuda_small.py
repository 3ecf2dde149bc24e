"""The one kernel of small models: which it takes, its launch, and equal bits on a GPU."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from tests.tokenspeed.backends.test_cuda import rows
from tests.tokenspeed.backends.test_cuda_persistent import kind
from tokenspeed.backends import cuda, cuda_persistent, cuda_small
from tokenspeed.backends.cuda import CudaBackend, small_fits
from tokenspeed.backends.cuda_memory import StepMemory
from tokenspeed.backends.cuda_small import MAX_LAYERS, SmallStep, plan_of, why_not_shape
from tokenspeed.backends.cuda_weights import random_weights
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import NEVER
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.lm_head import count_of
from tokenspeed.kernels.small.arguments import GROUP, HEAD_DIM, ROWS, WARPS
from tokenspeed.kernels.small.compiling import signature_of
from tokenspeed.kernels.tuned import SPLIT_K
from tokenspeed.model.config import EngineConfig, ModelConfig

SHIPPED = SHAPES["default-40m"]
SHALLOW = replace(SHIPPED, num_layers=2)
CONFIG = EngineConfig(num_slots=4, max_length=512, max_step_tokens=256)
# Around what attention and products take at once, and behind three splits of the cache.
POSITIONS = [0, 1, 2, 30, 31, 32, 33, 126, 127, 128, 129, 254, 255, 256, 257, 383, 384, 400]
PROMPT = np.random.default_rng(3).integers(3, SHIPPED.vocab_size, 420).tolist()
DECODED = 300  # tokens, more than there are tags of steps


@pytest.mark.parametrize(
    ("config", "form", "reason"),
    [
        (SHIPPED, "int8", None),
        (replace(SHIPPED, num_layers=MAX_LAYERS), "int8", None),
        (replace(SHIPPED, num_layers=MAX_LAYERS + 1), "int8", "64 layers, more than 63"),
        (replace(SHIPPED, biases=("qkv",)), "int8", "plain LLaMA"),
        (SHIPPED, "bf16", "does not know bf16"),
        (SHIPPED, "fp8", "does not know fp8"),
        (replace(SHIPPED, head_dim=128), "int8", "heads of 64"),
        (replace(SHIPPED, num_kv_heads=8), "int8", "2 to a kv head"),
        (replace(SHIPPED, hidden_size=768), "int8", "power of two up to 512"),
        (replace(SHIPPED, hidden_size=1024), "int8", "power of two up to 512"),
        (replace(SHIPPED, intermediate_size=4096), "int8", "gate_up is so large"),
        (replace(SHIPPED, intermediate_size=1500), "int8", "3000 rows, no multiple of 128"),
        (replace(SHIPPED, num_heads=4, num_kv_heads=2), "int8", "parts of out"),
        (SHAPES["default-38m"], "int8", "other parts"),
        (replace(SHIPPED, intermediate_size=384), "int8", "other parts"),
        (replace(SHIPPED, vocab_size=1 << 16), "int8", "head is too large"),
        (SHAPES["llama-3-8b"], "int8", "heads of 64"),
    ],
)
def test_it_says_which_model_it_cannot_run(
    config: ModelConfig, form: str, reason: str | None
) -> None:
    found = why_not_shape(config, form)
    assert found is None if reason is None else reason in str(found)


def test_parts_that_warps_cannot_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("down", "int8", SHIPPED.hidden_size, SHIPPED.intermediate_size)
    for parts in (3, 16):
        monkeypatch.setitem(SPLIT_K, key, parts)
        assert f"its {parts} parts of down" in str(why_not_shape(SHIPPED, "int8"))


@pytest.mark.parametrize(
    ("programs", "gates", "downs"),
    [(132, 96, 16), (116, 96, 16), (114, 94, 16), (78, 58, 16), (40, 27, 9), (6, 1, 1)],
)
def test_programs_are_dealt_out(programs: int, gates: int, downs: int) -> None:
    plan = plan_of(SHIPPED, 512, 16, programs)
    assert (plan.kv_heads, plan.gate_programs, plan.down_programs) == (4, gates, downs)
    assert (plan.qkv_parts, plan.gate_parts, plan.down_parts) == (4, 4, 4)
    assert not plan.store_logits


def test_too_few_multiprocessors_are_refused() -> None:
    for programs in (1, 4, 5):
        with pytest.raises(BackendUnavailable, match=f"{programs} multiprocessors are too few"):
            plan_of(SHIPPED, 512, 16, programs)


@pytest.mark.parametrize("inner", [128, 512, 1536])
def test_a_program_that_is_left_has_no_tiles(inner: int) -> None:
    """It would take another's: a program of down has every so many from its own number on."""
    config = replace(SHIPPED, intermediate_size=inner)
    for programs in range(8, 150):
        plan = plan_of(config, 512, 16, programs)
        left = programs - plan.kv_heads - plan.gate_programs
        units = plan.hidden // (WARPS * ROWS // plan.down_parts)
        assert 1 <= plan.down_programs <= units
        assert left == plan.down_programs or plan.down_programs == units


def test_it_is_launched_with_what_is_compiled_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SmallStep, "_programs", lambda _: 132)
    weights = random_weights(SHALLOW, "int8", "cpu", seed=5)
    memory = StepMemory(weights, EngineConfig(num_slots=2, max_length=64, max_step_tokens=32))
    step = SmallStep(weights, memory)
    for logits in (None, torch.empty(1, SHALLOW.vocab_size)):
        arguments = step.arguments(logits)
        plan = arguments.pop("PLAN")
        assert plan == plan_of(SHALLOW, 64, memory.cache.shape[2], 132, store_logits=plan[-1])
        assert plan.store_logits == (logits is not None)
        signature = signature_of(plan)
        assert list(signature) == [*arguments, "PLAN"]
        for name, argument in arguments.items():
            compiled, launched = signature[name], kind(argument)
            is_described = isinstance(argument, TensorDescriptor)
            assert compiled.startswith(launched) if is_described else compiled == launched, name
    words = step.arguments()["words"]
    # Steps of one row count themselves: no others write these words.
    assert words.step.data_ptr() == count_of(memory.launched, 1).data_ptr()
    assert words.step.item() > 0
    assert [len(each) for each in words[1:]] == [
        (GROUP + 2) * 4 * HEAD_DIM, 4 * 512, 1536, 512,
    ]  # fmt: skip
    assert not any(each.any() for each in words[1:])
    # What attention adds is waited for 16 bytes at once.
    assert all(each.data_ptr() % 16 == 0 for each in words[1:])
    assert step.states(1).shape == (1, 512)
    assert step.states(1).dtype == torch.int64
    assert step.nbytes == sum(each.nbytes for each in words[1:]) + 2 * 5 * 512


def test_a_small_model_is_one_kernel_where_the_gpu_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights: Any = type("Weights", (), {"embedding": type("OnGpu", (), {"is_cuda": True})})
    asked: list[int] = []

    def why_not(_: object, ranks: int) -> str | None:
        asked.append(ranks)
        return None if ranks == 1 else "GPUs that share"

    monkeypatch.setattr(cuda_small, "why_not", why_not)
    assert [small_fits(weights, wanted) for wanted in (None, True, False)] == [True, True, False]
    assert not small_fits(weights, None, 2)
    assert asked == [1, 1, 2]
    weights.embedding.is_cuda = False
    assert not small_fits(weights, True)


@pytest.mark.parametrize("is_small", [True, False])
def test_the_backend_takes_it_before_the_persistent_one(
    monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    made: list[str] = []

    def make(name: str) -> Any:
        def fake(*_: object, **__: object) -> str:
            made.append(name)
            return name

        return fake

    monkeypatch.setattr(cuda, "small_fits", lambda *_: is_small)
    monkeypatch.setattr(cuda, "persistent_rows", lambda *_: 4)
    monkeypatch.setattr(cuda_small, "SmallStep", make("small"))
    monkeypatch.setattr(cuda_persistent, "PersistentStep", make("persistent"))
    monkeypatch.setattr(cuda_persistent, "tile_layers", lambda weights: f"tiled {weights}")
    backend: Any = type("Backend", (), {"weights": "weights", "memory": _Memory()})()
    found: Any = CudaBackend._make_persistent(cast(CudaBackend, backend), None)
    assert [found] == made == ["small" if is_small else "persistent"]
    # The kernel of small models reads the weights as they are.
    assert backend.weights == ("weights" if is_small else "tiled weights")


class _Memory:
    """Of a GPU that shares its model with no other."""

    member = type("Member", (), {"group": type("Group", (), {"ranks": 1})})


def test_it_needs_a_hopper_gpu() -> None:
    if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9:
        pytest.skip("this is one")
    weights = random_weights(replace(SHIPPED, num_layers=1), "int8", "meta")
    assert "GPU" in str(cuda_small.why_not(weights))


@pytest.fixture(scope="module", params=[SHIPPED, replace(SHALLOW, attention_scale=0.1)])
def backend(request: pytest.FixtureRequest) -> Iterator[CudaBackend]:
    if torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("needs a Hopper GPU")
    backend = CudaBackend(random_weights(request.param, "int8", "cuda", seed=7), CONFIG)
    assert isinstance(backend.persistent, SmallStep)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def whole(backend: CudaBackend) -> np.ndarray:
    """Logits of the whole prompt, through the graph's kernels."""
    parts = [
        backend.logits(rows((0, at, PROMPT[at : at + 210]))) for at in range(0, len(PROMPT), 210)
    ]
    return np.concatenate(parts)


@pytest.mark.gpu
@pytest.mark.parametrize("position", POSITIONS)
def test_a_step_has_the_bits_of_the_graph(
    backend: CudaBackend, whole: np.ndarray, position: int
) -> None:
    backend.copy_slot(0, 1, position)
    for at in (position, position + 1):  # the second reads what the first has written
        got = backend.logits(rows((1, at, PROMPT[at : at + 1])))
        assert np.array_equal(got, whole[at : at + 1])


@pytest.mark.gpu
def test_a_graph_of_one_row_has_them_too(backend: CudaBackend, whole: np.ndarray) -> None:
    plain, backend.persistent = backend.persistent, None
    got = backend.logits(rows((0, 400, PROMPT[400:401])))
    backend.persistent = plain
    assert np.array_equal(got[0], whole[400])


@pytest.mark.gpu
def test_drafts_and_biases_count(backend: CudaBackend, whole: np.ndarray) -> None:
    for at in (1, 60, 300):
        backend.copy_slot(0, 1, at)
        step = rows((1, at, PROMPT[at : at + 1]))
        best, second = np.argsort(whole[at])[[-1, -2]].astype(np.int32)
        assert backend.step(step).tolist() == [best]
        for bias, chosen in ((0.0, best), (0.999, second)):
            biases, drafts = np.array([bias], np.float32), np.array([second], np.int32)
            assert backend.step(replace(step, drafts=drafts, biases=biases)).tolist() == [chosen]


@pytest.mark.gpu
def test_a_step_without_outputs_fills_the_cache(backend: CudaBackend, whole: np.ndarray) -> None:
    backend.copy_slot(0, 2, 100)
    assert len(backend.step(rows((2, 100, PROMPT[100:101]), outputs=[]))) == 0
    got = backend.logits(rows((2, 101, PROMPT[101:102])))
    assert np.array_equal(got[0], whole[101])


@pytest.mark.gpu
def test_words_of_steps_long_ago_and_of_void_ones_are_not_taken(backend: CudaBackend) -> None:
    """As tokens are served: every third step ends, and what was launched behind it is void."""
    begin = 20
    backend.step(rows((3, 0, PROMPT[:begin])))

    def decode(sequence: list[int], known: list[int] | None) -> None:
        for turn in range(DECODED):
            ends = known is not None and turn % 3 == 0
            stops = NEVER if known is None or turn % 3 == 1 else None
            if known is not None and ends:
                stops = np.array([known[turn : turn + 2]], np.int32)
            step = replace(rows((3, begin + turn, sequence[-1:])), stops=stops)
            sequence += backend.step(step).tolist()
            assert backend.has_ended() == ends

    first = [PROMPT[begin]]
    decode(first, None)
    again = first[:1]
    decode(again, first)
    assert again == first
    tokens = PROMPT[:begin] + first[:-1]
    got = [backend.step(rows((2, at, tokens[at : at + 200]))) for at in range(0, len(tokens), 200)]
    assert np.concatenate(got)[begin:].tolist() == first[1:]


@pytest.mark.gpu
def test_repetition_gives_the_same_bits(backend: CudaBackend, whole: np.ndarray) -> None:
    backend.copy_slot(0, 1, 300)
    for _ in range(50):
        got = backend.logits(rows((1, 300, PROMPT[300:301])))
        assert np.array_equal(got[0], whole[300])
