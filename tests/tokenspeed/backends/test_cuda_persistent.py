"""The path of one kernel a step: which models it takes, and equal bits on a GPU."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from tests.tokenspeed.backends.test_cuda import rows
from tokenspeed.backends import cuda_persistent
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_group import group_of
from tokenspeed.backends.cuda_memory import StepMemory
from tokenspeed.backends.cuda_persistent import (
    FASTER_FROM_BYTES,
    IN_FLIGHT_LARGE,
    LARGE_HIDDEN,
    MAX_LAYERS,
    MAX_WORDS,
    PersistentStep,
    default_ring,
    most_rows,
    plan_of,
    rows_of,
    tile_layers,
    why_not_shape,
    widest,
    word_rows,
)
from tokenspeed.backends.cuda_weights import Weights, random_weights
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import NEVER
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.exchange import join
from tokenspeed.kernels.lm_head import count_of
from tokenspeed.kernels.persistent.compiling import signature_of
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.rope import Rope
from tokenspeed.model.sharding import Shard

FORMS = ["bf16", "int8", "int4"]
LARGE, SMALL = SHAPES["llama-3-8b"], SHAPES["default-38m"]
WIDE = replace(SHAPES["llama-3.2-1b"], num_layers=3, vocab_size=24064)
TYPES = {
    torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32",
    torch.int16: "i16", torch.int32: "i32", torch.int64: "i64",
}  # fmt: skip
# Switches of other families that the kernel knows.
VARIED = replace(
    WIDE,
    biases=("qkv", "out", "gate_up", "down"),
    ropes=(WIDE.rope, Rope(kind="none")),
    layer_ropes=(0, 1, 0),
    attention_scale=0.1,
    attention_softcap=20.0,
    logit_softcap=10.0,
    embedding_scale=2.0,
    activation="gelu_tanh",
)
# Norms of heads, before and after the rotation; heads of two sizes.
NORMED = replace(WIDE, biases=("qkv",), qk_norm="head", head_dim=128, num_heads=16)
ROTATED = replace(WIDE, qk_norm="head", qk_norm_rotated=True)
DECODED = 300  # tokens of each stream, more than there are tags of steps
PROMPT = np.random.default_rng(3).integers(3, WIDE.vocab_size, 240).tolist()


def widths(form: str) -> list[int]:
    return [width for width in (1, 2, 4, 8, 16) if width <= most_rows(form, LARGE)]


@pytest.mark.parametrize("form", FORMS)
def test_layers_in_tiles_are_the_same_weights_at_the_same_place(form: str) -> None:
    small = replace(WIDE, hidden_size=256, intermediate_size=512, num_heads=8, num_kv_heads=2)
    weights = random_weights(replace(small, num_layers=2, vocab_size=256), form, "cpu", seed=5)
    before = [(layer.down.data.data_ptr(), layer.down.dequantize()) for layer in weights.layers]
    for layer, (place, want) in zip(tile_layers(weights).layers, before, strict=True):
        assert layer.down.layout == ("tiled" if form == "bf16" else form)
        assert torch.equal(layer.down.dequantize(), want)
        assert layer.down.data.data_ptr() == place


@pytest.mark.parametrize(
    ("config", "form", "reason"),
    [
        (LARGE, "bf16", None),
        (LARGE, "int4", None),
        (WIDE, "int8", None),
        (SMALL, "int8", "narrow"),
        (LARGE, "fp8", "does not know fp8"),
        (replace(LARGE, vocab_size=512), "bf16", "head's tiles"),
        (VARIED, "int4", None),
        (NORMED, "bf16", None),
        (ROTATED, "int8", None),
        (replace(WIDE, qk_norm="width"), "bf16", "not all of them together"),
        (replace(VARIED, norms="both"), "bf16", "does not know this model's norms"),
    ],
)
def test_it_says_which_model_it_cannot_run(
    config: ModelConfig, form: str, reason: str | None
) -> None:
    one = replace(config, num_layers=1, layer_ropes=config.layer_ropes[:1])
    found = why_not_shape(random_weights(one, form, "meta"))
    assert found is None if reason is None else reason in str(found)


def test_layers_beyond_the_tags_of_a_step_are_refused() -> None:
    few = random_weights(replace(WIDE, num_layers=1), "bf16", "meta")
    for layers, reason in ((MAX_LAYERS, None), (MAX_LAYERS + 1, "86 layers, more than 85")):
        found = why_not_shape(replace(few, config=replace(WIDE, num_layers=layers)))
        assert found is None if reason is None else reason in str(found)


def test_it_is_the_default_where_it_measured_faster() -> None:
    def chosen(config: ModelConfig, form: str) -> int:
        return widest(random_weights(replace(config, num_layers=1), form, "meta"))

    assert [chosen(LARGE, form) for form in FORMS] == [16, 16, 2]
    assert [chosen(WIDE, form) for form in FORMS] == [4, 4, 2]
    assert [chosen(SHAPES["qwen3-8b"], form) for form in FORMS] == [4, 4, 2]
    assert not chosen(replace(WIDE, hidden_size=512), "int8")


@pytest.mark.parametrize("form", FORMS)
def test_few_rows_are_handed_over_as_words(form: str) -> None:
    def words(most: int) -> list[int]:
        return [word_rows(form, width, most) for width in range(1, most + 1)]

    assert words(1) == [1]
    assert words(2) == [1, 2]
    assert words(4) == ([1, 2, 0, 0] if form == "int4" else [1, 2, 4, 4])
    with_barriers = {"bf16": [1, 2, 4, 4], "int8": [1, 2, 0, 0], "int4": [1, 2, 0, 0]}
    assert words(16) == with_barriers[form] + [0] * 12


@pytest.mark.parametrize("form", FORMS)
def test_weights_run_ahead_of_the_barriers(form: str) -> None:
    # That it compiles and fits, test_compiled.py holds.
    for width in widths(form):
        words = word_rows(form, width, most_rows(form, LARGE))
        ring = default_ring(form, width, words, LARGE.head_dim)
        assert ring.slots >= 8
        assert max(ring.in_flight) <= ring.slots
        faster = default_ring(form, width, words, LARGE.head_dim, FASTER_FROM_BYTES)
        assert faster.slots == ring.slots
        assert max(faster.in_flight) <= ring.slots
        assert ring.in_flight.most <= faster.in_flight.most
        large = default_ring(form, width, words, LARGE.head_dim, hidden=LARGE_HIDDEN)
        has_more = form == "int4"
        assert large.in_flight == (IN_FLIGHT_LARGE if has_more else ring.in_flight)
        assert max(large.in_flight) <= large.slots
        # A stage of weights is not used again before its activations were.
        assert ring.row_slots < ring.slots


def kind(argument: Any) -> Any:
    """Triton's type of an argument, a group's as a group; of a descriptor, up to its layout."""
    if isinstance(argument, tuple):
        return type(argument)(*(kind(part) for part in argument))
    if argument is None:
        return "constexpr"
    if isinstance(argument, TensorDescriptor):
        return f"tensordesc<{TYPES[argument.base.dtype]}{argument.block_shape}"
    return f"*{TYPES[argument.dtype]}" if isinstance(argument, torch.Tensor) else "i32"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("config", [WIDE, VARIED, ROTATED])
def test_it_is_launched_with_what_is_compiled_without_a_gpu(config: ModelConfig, form: str) -> None:
    small = replace(config, hidden_size=1024, intermediate_size=2048, num_heads=8, num_kv_heads=2)
    small = replace(small, vocab_size=256)
    weights = tile_layers(random_weights(small, form, "cpu", seed=5))
    memory = StepMemory(weights, EngineConfig(num_slots=2, max_length=64, max_step_tokens=32))
    most = most_rows(form, config)
    step = PersistentStep(weights, memory, max_width=most)
    every = [(width, None) for width in (1, 2, 4, 8, 16) if width <= most]
    places = set[int]()
    for width, logits in (*every, (most, torch.empty(16, small.vocab_size))):
        arguments = step.arguments(width, logits)
        plan = arguments.pop("PLAN")
        assert (plan.width, plan.word_rows) == (max(8, width), word_rows(form, width, most))
        assert (width <= step.max_lookup) == (plan.word_rows > 0)
        words = arguments["words"]
        if plan.word_rows and logits is None:
            assert len(words.scaled) == plan.word_rows * plan.hidden
            # Steps of so many rows count themselves, as their words are written by no others.
            assert words.step.data_ptr() == count_of(memory.launched, width).data_ptr()
            assert places.isdisjoint({each.data_ptr() for each in words})
            places |= {each.data_ptr() for each in words}
        assert plan.exact == (form == "int4")
        assert plan.store_logits == (logits is not None)
        signature = signature_of(plan)
        assert list(signature) == [*arguments, "PLAN"]
        for name, argument in arguments.items():
            compiled, launched = signature[name], kind(argument)
            is_described = isinstance(argument, TensorDescriptor)
            assert compiled.startswith(launched) if is_described else compiled == launched, name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rank", "ranks"), [(0, 2), (1, 2), (3, 4)])
def test_ranks_that_share_a_model_launch_the_same_kernel(form: str, rank: int, ranks: int) -> None:
    whole = replace(WIDE, hidden_size=1024, intermediate_size=4096, num_heads=16, num_kv_heads=4)
    whole = replace(whole, num_layers=2, vocab_size=512)
    part = random_weights(whole, form, "cpu", seed=5, shard=Shard(rank, ranks))
    config = EngineConfig(num_slots=2, max_length=64, max_step_tokens=32)
    group = group_of(rank, ranks, whole, config)
    inboxes = [torch.zeros(group.inbox_words, dtype=torch.int64) for _ in range(ranks)]
    memory = StepMemory(part, config, join(group, inboxes, "cpu"))
    step = PersistentStep(tile_layers(part), memory, max_width=1)
    arguments = step.arguments(1)
    plan = arguments.pop("PLAN")
    # The rank is no constant: the ranks of a group compile one kernel.
    assert (arguments["rank"], arguments["first_token"]) == (rank, rank * 512 // ranks)
    assert (plan.ranks, plan.vocab, plan.heads) == (ranks, 512 // ranks, 16 // ranks)
    assert (plan.hidden, plan.inner, plan.attended) == (1024, 4096 // ranks, 1024 // ranks)
    assert arguments["peers"].inboxes.tolist() == [inbox.data_ptr() for inbox in inboxes]
    assert arguments["peers"].turn.data_ptr() == memory.begin.before.data_ptr()
    # Each part of the row takes a row of its own of an inbox.
    assert max(plan.out_parts, plan.down_parts) <= plan.inbox_rows == group.rows
    signature = signature_of(plan)
    assert list(signature) == [*arguments, "PLAN"]
    for name in ("peers", "rank", "first_token", "words"):
        assert signature[name] == kind(arguments[name]), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("vocab_size", [256, 257, 510])
def test_a_vocabulary_of_any_size_can_be_copied(form: str, vocab_size: int) -> None:
    small = replace(WIDE, hidden_size=1024, intermediate_size=2048, num_heads=8, num_kv_heads=2)
    config = replace(small, num_layers=1, vocab_size=vocab_size)
    weights = tile_layers(random_weights(config, form, "cpu", seed=5))
    memory = StepMemory(weights, EngineConfig(num_slots=2, max_length=64, max_step_tokens=1))
    arguments = PersistentStep(weights, memory, max_width=1).arguments(1)
    scale = arguments["s_head"]
    if form == "int4":
        assert scale.base.shape[1] % 4 == 0
        assert torch.equal(scale.base[:, :vocab_size], weights.head.scale)


@pytest.mark.parametrize(
    ("kv_heads", "width", "rows"),
    [(32, 1, 8), (16, 1, 8), (8, 1, 8), (4, 1, 16), (2, 1, 32),
     (8, 2, 8), (8, 4, 16), (4, 2, 16), (2, 2, 32), (2, 4, 32)],
)  # fmt: skip
def test_heads_of_a_group_are_a_slice_of_swizzled_memory(
    kv_heads: int, width: int, rows: int
) -> None:
    plan = plan_of(replace(LARGE, num_kv_heads=kv_heads), "bf16", width, 64, 2)
    assert plan.group_rows == rows


def test_a_warp_asks_for_no_more_words_at_once_than_its_registers_hold() -> None:
    for form, width in product(FORMS, (1, 2, 4)):
        plan = plan_of(SHAPES["llama-3-70b"], form, width, 64, 2, most=4)
        at_once = max(1, plan.word_rows) * plan.group * plan.columns
        assert 0 < at_once <= MAX_WORDS


def test_only_steps_of_one_row_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(form: str, ranks: int) -> Weights:
        return random_weights(replace(LARGE, num_layers=1), form, "meta", shard=Shard(0, ranks))

    monkeypatch.setattr(cuda_persistent, "why_not", cuda_persistent.why_not_shape)
    assert [rows_of(part(form, 1), 1, None) for form in FORMS] == [16, 16, 2]
    assert [rows_of(part(form, 2), 2, None) for form in FORMS] == [1, 1, 1]
    assert [rows_of(part(form, 8), 8, None) for form in FORMS] == [1, 0, 0]
    assert [rows_of(part(form, 2), 2, True) for form in FORMS] == [1, 1, 1]
    assert not rows_of(part("bf16", 2), 2, False)
    with pytest.raises(BackendUnavailable, match="does not know fp8"):
        rows_of(part("fp8", 2), 2, True)


def test_a_form_that_the_kernel_does_not_know_runs_as_a_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuda_persistent, "why_not", cuda_persistent.why_not_shape)
    for model in (WIDE, LARGE):
        weights = random_weights(replace(model, num_layers=1), "fp8", "meta")
        assert not rows_of(weights, 1, None)


def test_it_is_refused_without_a_hopper_gpu() -> None:
    if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9:
        pytest.skip("this is one")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = random_weights(replace(WIDE, num_layers=1, vocab_size=256), "bf16", device)
    with pytest.raises(BackendUnavailable, match="no persistent kernel here"):
        CudaBackend(weights, EngineConfig(num_slots=1, max_length=32), persistent=True)


CASES = [(*case, True) for case in product((WIDE, VARIED, NORMED, ROTATED), FORMS)]


@pytest.fixture(scope="module", params=[*CASES, (WIDE, "int8", None)])  # int8: four rows as words
def backend(request: pytest.FixtureRequest) -> Iterator[CudaBackend]:
    if torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("needs a Hopper GPU")
    model, form, wanted = request.param
    weights = random_weights(model, form, "cuda", seed=7)
    for i, layer in enumerate(weights.layers):
        norms = None if layer.head_norms is None else torch.rand_like(layer.head_norms) * 2
        weights.layers[i] = replace(layer, head_norms=norms)
    config = EngineConfig(num_slots=16, max_length=512, max_step_tokens=256)
    backend = CudaBackend(weights, config, persistent=wanted)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def whole(backend: CudaBackend) -> np.ndarray:
    """Logits of the whole prompt, through the graph's kernels."""
    return backend.logits(rows((0, 0, PROMPT)))


@pytest.fixture(scope="module")
def most(backend: CudaBackend) -> int:
    """Rows of the widest step that is one kernel."""
    assert backend.persistent is not None
    return backend.persistent.max_width


@pytest.mark.gpu
@pytest.mark.parametrize("begin", [0, 16, 80, 200])
def test_a_short_step_has_the_bits_of_a_long_one(
    backend: CudaBackend, whole: np.ndarray, most: int, begin: int
) -> None:
    for width in [width for width in (1, 2, 3, 4, 5, 8, 16) if width <= most]:
        backend.copy_slot(0, 1, begin)
        for at in range(begin, begin + 2 * width, width):
            got = backend.logits(rows((1, at, PROMPT[at : at + width])))
            assert np.array_equal(got, whole[at : at + width])


@pytest.mark.gpu
def test_streams_do_not_meet(backend: CudaBackend, whole: np.ndarray, most: int) -> None:
    at = [100 + 7 * i for i in range(16)]
    for i in range(1, 16):
        backend.copy_slot(0, i, at[i])
    for first in range(0, 16, most):
        streams = range(first, first + most)
        step = rows(*((i, at[i], [PROMPT[at[i]]]) for i in streams))
        assert np.array_equal(backend.logits(step), whole[[at[i] for i in streams]])


@pytest.mark.gpu
@pytest.mark.parametrize("runs", [(1, 1), (2, 1), (1, 2), (1, 3), (2, 2), (1, 1, 2)])
def test_rows_of_a_slot_see_each_other_and_no_others(
    backend: CudaBackend, whole: np.ndarray, most: int, runs: tuple[int, ...]
) -> None:
    if sum(runs) > most:
        pytest.skip("that is a graph here")
    at = [100 + 7 * i for i in range(len(runs))]
    for i in range(1, len(runs)):
        backend.copy_slot(0, i, at[i])
    parts = [(i, at[i], PROMPT[at[i] : at[i] + run]) for i, run in enumerate(runs)]
    for order in (parts, parts[::-1]):
        want = np.concatenate([whole[first : first + len(tokens)] for _, first, tokens in order])
        assert np.array_equal(backend.logits(rows(*order)), want)


@pytest.mark.gpu
@pytest.mark.parametrize("streams", [1, 2, 3])
def test_words_of_steps_long_ago_and_of_void_ones_are_not_taken(
    backend: CudaBackend, most: int, streams: int
) -> None:
    """The tags of words of 32 bits come again after 256 steps."""
    if streams > most:
        pytest.skip("that is a graph here")
    slots = [3 + i for i in range(streams)]
    begin = 20
    for i, slot in enumerate(slots):
        backend.step(rows((slot, 0, PROMPT[i : i + begin])))

    def decode(sequences: list[list[int]], known: list[list[int]] | None) -> None:
        """Decode on; with known tokens every third step ends, and what is behind it is void."""
        for turn in range(DECODED):
            at = [(slot, begin + turn, s[-1:]) for slot, s in zip(slots, sequences, strict=True)]
            ends = known is not None and turn % 3 == 0
            stops = NEVER if known is None or turn % 3 == 1 else None
            if known is not None and ends:
                stops = np.array([known[0][turn : turn + 2]], np.int32)
            chosen = backend.step(replace(rows(*at), stops=stops)).tolist()
            assert backend.has_ended() == ends
            for sequence, token in zip(sequences, chosen, strict=True):
                sequence.append(token)

    first = [[PROMPT[i + begin]] for i in range(streams)]
    decode(first, None)
    again = [tokens[:1] for tokens in first]
    decode(again, first)
    assert again == first
    for i, tokens in enumerate(first):
        whole = PROMPT[i : i + begin] + tokens[:-1]
        got = [
            backend.step(rows((8, at, whole[at : at + 200]))) for at in range(0, len(whole), 200)
        ]
        assert np.concatenate(got)[begin:].tolist() == tokens[1:]


@pytest.mark.gpu
def test_drafts_biases_and_chosen_outputs_count(
    backend: CudaBackend, whole: np.ndarray, most: int
) -> None:
    backend.copy_slot(0, 1, 60)
    places = sorted({most // 4, most - 1})
    step = rows((1, 60, PROMPT[60 : 60 + most]), outputs=places)
    ranked = np.argsort(whole[[60 + i for i in places]], -1).astype(np.int32)
    best, second = ranked[:, -1], ranked[:, -2].copy()
    assert backend.step(step).tolist() == best.tolist()
    for bias, chosen in ((0.0, best), (0.999, second)):
        biases = np.full(len(places), bias, np.float32)
        got = backend.step(replace(step, drafts=second, biases=biases))
        assert got.tolist() == chosen.tolist()


@pytest.mark.gpu
def test_repetition_gives_the_same_bits(backend: CudaBackend, whole: np.ndarray, most: int) -> None:
    backend.copy_slot(0, 1, 120)
    step = rows((1, 120, PROMPT[120 : 120 + most]))
    for _ in range(20):
        assert np.array_equal(backend.logits(step), whole[120 : 120 + most])
