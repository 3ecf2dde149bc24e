"""The native step against the same arithmetic in torch, and against itself on every path."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.conftest import MakeModel
from tests.tokenspeed.model.test_llama import LLAMA3
from tests.tokenspeed.steps import whole_sequence
from tokenspeed.backends import NO_DRAFT, Step
from tokenspeed.backends.cpu import (
    BLOCK,
    CpuBackend,
    default_cache_bits,
    int4_weight,
    int8_blocks,
    int8_weight,
    is_fine,
    native_available,
    usable_cores,
)
from tokenspeed.backends.reference import choose, load_llama
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.config import DEFAULT_MODEL, EngineConfig
from tokenspeed.model.llama import capped
from tokenspeed.model.quantized import write_int8, write_quantized

CONFIG = EngineConfig(num_slots=3, max_length=128, max_step_tokens=100)

SHAPES: list[dict[str, Any]] = [
    {},
    {"tie_word_embeddings": False},
    {"num_key_value_heads": 1, "head_dim": 24},
    {"num_key_value_heads": 1, "head_dim": 144},
    {"vocab_size": 101, "hidden_size": 40, "intermediate_size": 70, "num_hidden_layers": 3},
    # More columns than one exact int32 sum holds, so that blocks are added up.
    {"hidden_size": 520, "intermediate_size": 1100, "num_hidden_layers": 1},
    {"rope_scaling": LLAMA3, "rope_theta": 500000.0},
]


def instruction_sets() -> list[str]:
    """Return the paths that this processor can take."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = ["plain"]
    found += ["avx2"] if " avx2" in flags and " f16c" in flags else []
    found += ["avx512"] if "avx512_vnni" in flags and "avx512vl" in flags else []
    is_apple = (platform.system(), platform.machine()) == ("Darwin", "arm64")
    return found + (["neon"] if " asimddp" in flags or is_apple else [])


class QuantizedLinear(nn.Module):
    """What a native product computes, in float64: weights and blocks of int8 activations.

    In the finer form halves of blocks, and for q, k and v what rounding left of them.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        bits: int,
        finer: bool,
        bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        is_head = name in ("lm_head.weight", "model.embed_tokens.weight")
        self.weight = dequantised(checkpoint, name, bits, finer)
        self.block = BLOCK // 2 if finer else BLOCK
        self.takes_rest = (
            finer and not is_head and name.split(".")[-2] in ("q_proj", "k_proj", "v_proj")
        )
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        columns = x.shape[-1]
        padded = functional.pad(x.double(), (0, -columns % BLOCK))
        blocks = padded.view(*x.shape[:-1], -1, self.block)
        peak = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-20)
        steps = blocks * (127 / peak)
        q = steps.round()
        if self.takes_rest:
            q += ((steps - q) * 254).round() / 254
        q *= peak / 127
        out = (q.flatten(-2)[..., :columns] @ self.weight.T).float()
        return out if self.bias is None else out + self.bias


def dequantised(checkpoint: Checkpoint, name: str, bits: int, finer: bool = False) -> Tensor:
    """Return the matrix that the backend multiplies by: [out, in] float64."""
    if bits == 8 and not finer:
        q, scale = int8_weight(checkpoint, name)
        return q.double() * scale.double()[:, None]
    q, scale = (int8_blocks if finer else int4_weight)(checkpoint, name)
    assert finer or q.abs().max() <= 8
    return q.double() * scale.double().repeat_interleave(BLOCK, 1)[:, : q.shape[1]]


def quantized_logits(
    checkpoint: Checkpoint, tokens: Tensor, bits: int, cache_bits: int = 32
) -> Tensor:
    """Run the reference model with every product replaced by its quantised form."""
    model, finer = load_llama(checkpoint, "cpu", torch.float32), bits == 8 and is_fine(checkpoint)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            owner, _, attribute = name.rpartition(".")
            linear = QuantizedLinear(checkpoint, f"{name}.weight", bits, finer, module.bias)
            setattr(model.get_submodule(owner), attribute, linear)
    tied = checkpoint.config.tie_word_embeddings
    embedding = "model.embed_tokens.weight"
    table = dequantised(
        checkpoint, embedding, 8, tied and bits == 8 and is_fine(checkpoint)
    ).float()
    model.model.embed_tokens.weight = nn.Parameter(table, requires_grad=False)
    group = checkpoint.config.num_heads // checkpoint.config.num_kv_heads

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        kept = torch.float16 if cache_bits == 16 else torch.float32
        k, v = (each.to(kept).float().repeat_interleave(group, 1) for each in (k, v))
        scores = torch.einsum("ihd,jhd->hij", q, k) * q.shape[-1] ** -0.5
        scores = capped(scores, checkpoint.config.attention_softcap)
        scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -torch.inf)
        return torch.einsum("hij,jhd->ihd", scores.softmax(-1), v)

    with torch.inference_mode():
        hidden = model.hidden_states(tokens, torch.arange(len(tokens)), attend)
        # The embedding stays in int8, and so does a head that is the same.
        place = (embedding, 8) if tied else ("lm_head.weight", bits)
        head = QuantizedLinear(checkpoint, *place, finer)
        return model.capped_logits(head(hidden))


def opened(model: Path, form: str, work: Path) -> Checkpoint:
    """Open a model as it is, or written in int8 with a scale for each row."""
    if form != "int8 by row":
        return open_checkpoint(model)
    write_int8(model, work / "rows")
    return open_checkpoint(work / "rows")


FORMS = ["int8", "int8 by row", "int4"]


@pytest.mark.parametrize("cache_bits", [32, 16])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("changes", SHAPES, ids=lambda c: ",".join(c) or "tiny")
def test_logits_equal_the_quantised_reference(
    make_model: MakeModel, tmp_path: Path, changes: dict[str, Any], form: str, cache_bits: int
) -> None:
    bits = int(form[3])
    checkpoint = opened(make_model(**changes), form, tmp_path)
    assert is_fine(checkpoint) == (form != "int8 by row")
    tokens = np.random.default_rng(0).integers(3, 96, 70).astype(np.int32)
    ids = torch.from_numpy(tokens).long()
    expected = quantized_logits(checkpoint, ids, bits, cache_bits).numpy()
    backend = CpuBackend(checkpoint, CONFIG, bits=bits, cache_bits=cache_bits)
    actual = backend.logits(whole_sequence(tokens))
    backend.close()
    # An int8 that is rounded the other way, at half of a step, moves logits by some thousandths; a
    # cached float16 those of all later rows.
    most, mean = (2e-2, 2e-3) if cache_bits == 32 else (3e-2, 5e-3)
    assert np.abs(actual - expected).max() < most * np.abs(expected).max()
    assert np.abs(actual - expected).mean() < mean * np.abs(expected).max()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("changes", SHAPES, ids=lambda c: ",".join(c) or "tiny")
def test_every_instruction_set_and_thread_count_gives_the_same_bits(
    make_model: MakeModel, tmp_path: Path, changes: dict[str, Any], form: str
) -> None:
    bits, cache_bits = int(form[3]), 16 if form == "int8" else 32
    checkpoint = opened(make_model(**changes), form, tmp_path)
    tokens = np.random.default_rng(1).integers(3, 96, 33).astype(np.int32)
    results = []
    for isa in instruction_sets():
        for threads in (1, 2, 3):
            backend = CpuBackend(
                checkpoint, CONFIG, bits=bits, isa=isa, threads=threads, cache_bits=cache_bits
            )
            assert backend.isa == isa
            results.append(backend.logits(whole_sequence(tokens)))
            backend.close()
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("cache_bits", [32, 16])
@pytest.mark.parametrize("form", FORMS)
def test_a_row_does_not_depend_on_the_width_of_its_step(
    tiny_model: Path, tmp_path: Path, form: str, cache_bits: int
) -> None:
    checkpoint = opened(tiny_model, form, tmp_path)
    backend = CpuBackend(checkpoint, CONFIG, bits=int(form[3]), cache_bits=cache_bits)
    tokens = np.random.default_rng(2).integers(3, 96, 60).astype(np.int32)
    whole = backend.logits(whole_sequence(tokens))
    for width in (1, 2, 7, 16):
        parts = [
            backend.logits(whole_sequence(tokens[i : i + width], slot=1, start=i))
            for i in range(0, len(tokens), width)
        ]
        assert np.array_equal(np.concatenate(parts), whole)
    backend.close()


@settings(max_examples=25, deadline=None)
@given(lengths=st.tuples(*[st.integers(1, 30)] * 3), seed=st.integers(0, 2**32 - 1))
def test_a_row_does_not_depend_on_its_neighbours(
    shared_backend: CpuBackend, lengths: tuple[int, int, int], seed: int
) -> None:
    """Three sequences in random cuts give the logits that each gives alone, bit for bit."""
    cuts = np.random.default_rng(seed)
    sequences = [
        np.random.default_rng(i).integers(3, 96, n).astype(np.int32) for i, n in enumerate(lengths)
    ]
    alone = [shared_backend.logits(whole_sequence(ids, slot=0)) for ids in sequences]
    done = [0, 0, 0]
    while done != list(lengths):
        parts = []
        for slot, ids in enumerate(sequences):
            end = min(done[slot] + int(cuts.integers(0, 10)), len(ids))
            if end > done[slot]:
                parts.append((slot, done[slot], end))
        if not parts:
            continue
        steps = [whole_sequence(sequences[s][a:b], slot=s, start=a) for s, a, b in parts]
        fields = ("tokens", "slots", "positions", "drafts", "biases")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(step, name) for step in steps]) for name in fields
        }
        rows = np.arange(len(joined["tokens"]), dtype=np.int32)
        logits = shared_backend.logits(Step(outputs=rows, **joined))
        for slot, start, end in parts:
            assert np.array_equal(logits[: end - start], alone[slot][start:end])
            logits = logits[end - start :]
            done[slot] = end


@pytest.mark.parametrize("cache_bits", [32, 16])
def test_a_forked_slot_goes_on_like_the_first(tiny_model: Path, cache_bits: int) -> None:
    backend = CpuBackend(open_checkpoint(tiny_model), CONFIG, cache_bits=cache_bits)
    tokens = np.arange(3, 40, dtype=np.int32)
    backend.step(whole_sequence(tokens[:-1]))
    backend.copy_slot(0, 2, len(tokens) - 1)
    at = len(tokens) - 1
    first = backend.logits(whole_sequence(tokens[-1:], slot=0, start=at))
    fork = backend.logits(whole_sequence(tokens[-1:], slot=2, start=at))
    backend.close()
    assert np.array_equal(first, fork)


@settings(max_examples=50, deadline=None)
@given(
    token=st.integers(3, 95),
    draft=st.integers(-1, 95),
    bias=st.sampled_from([0.0, 0.01, 0.1, 0.4, 0.9]),
)
def test_a_draft_is_judged_as_the_reference_does(
    shared_backend: CpuBackend, token: int, draft: int, bias: float
) -> None:
    one = np.array([token], np.int32)
    step = whole_sequence(one)
    logits = torch.from_numpy(shared_backend.logits(step))
    drafts, biases = np.array([draft], np.int32), np.array([bias], np.float32)
    asked = Step(step.tokens, step.slots, step.positions, step.outputs, drafts, biases)
    assert shared_backend.step(asked).tolist() == choose(logits, drafts, biases).tolist()


@pytest.fixture(scope="module", params=[32, 16])
def shared_backend(tiny_model: Path, request: pytest.FixtureRequest) -> Any:
    backend = CpuBackend(open_checkpoint(tiny_model), CONFIG, cache_bits=request.param)
    yield backend
    backend.close()


def test_keys_and_values_of_larger_models_take_half_the_room(
    make_model: MakeModel, tiny_model: Path
) -> None:
    # 2 layers, keys and values of 2 heads of 1024: 32 KiB in float32 for a position.
    just, more = (
        open_checkpoint(make_model(num_key_value_heads=2, head_dim=width)) for width in (1024, 1026)
    )
    assert [default_cache_bits(each.config) for each in (just, more)] == [32, 16]
    assert default_cache_bits(open_checkpoint(DEFAULT_MODEL).config) == 32
    sizes = []
    for cache_bits in (32, 16, None):
        backend = CpuBackend(open_checkpoint(tiny_model), CONFIG, cache_bits=cache_bits)
        sizes.append(backend.cache_bytes)
        backend.close()
    assert sizes == [sizes[0], sizes[0] // 2, sizes[0]]


def test_stored_int8_keeps_its_own_scales(tiny_model: Path, tmp_path: Path) -> None:
    write_int8(tiny_model, tmp_path / "int8")
    stored = open_checkpoint(tmp_path / "int8")
    name = "model.layers.0.mlp.down_proj.weight"
    q, scale = int8_weight(stored, name)
    assert torch.equal(q, stored.tensor(name))
    assert torch.equal(scale[:, None], stored.tensor(f"{name}_scale").float())
    for bits in (8, None):  # what was meant to be run by rows is run so
        backend = CpuBackend(stored, CONFIG, bits=bits)
        assert not backend.is_fine
        backend.close()


@pytest.mark.parametrize("bits", [8, 4])
def test_stored_groups_of_whole_blocks_keep_their_values_in_int8(
    make_model: MakeModel, tmp_path: Path, bits: int
) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 384, "head_dim": 16}
    write_quantized(make_model(**sizes), tmp_path, bits)
    stored = open_checkpoint(tmp_path)
    for name in ("self_attn.q_proj", "mlp.down_proj"):
        name = f"model.layers.0.{name}.weight"
        assert torch.equal(dequantised(stored, name, 8, True).float(), stored.weight(name))


@pytest.mark.parametrize("tied", [True, False])
def test_stored_int4_keeps_its_own_scales(
    make_model: MakeModel, tmp_path: Path, tied: bool
) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 384, "head_dim": 16}
    write_quantized(make_model(**sizes, tie_word_embeddings=tied), tmp_path, 4)
    stored = open_checkpoint(tmp_path)
    for name in ("self_attn.q_proj", "mlp.down_proj"):  # groups of 64, and of 128
        name = f"model.layers.0.{name}.weight"
        assert torch.equal(dequantised(stored, name, 4), stored.weight(name).double())
    tokens = np.arange(3, 20, dtype=np.int32)
    expected = quantized_logits(stored, torch.from_numpy(tokens).long(), 4).numpy()
    backend = CpuBackend(stored, CONFIG)
    actual = backend.logits(whole_sequence(tokens))
    backend.close()
    assert backend.bits == 4
    assert np.abs(actual - expected).max() < 2e-2 * np.abs(expected).max()
    assert np.abs(actual - expected).mean() < 2e-3 * np.abs(expected).max()


def test_groups_smaller_than_a_block_run_in_int8(make_model: MakeModel, tmp_path: Path) -> None:
    write_quantized(make_model(), tmp_path, 4)  # of 32 columns
    stored = open_checkpoint(tmp_path)
    backend = CpuBackend(stored, CONFIG)
    assert backend.bits == 8
    tokens = np.arange(3, 20, dtype=np.int32)
    expected = quantized_logits(stored, torch.from_numpy(tokens).long(), 8).numpy()
    actual = backend.logits(whole_sequence(tokens))
    backend.close()
    assert np.abs(actual - expected).max() < 2e-2 * np.abs(expected).max()
    assert np.abs(actual - expected).mean() < 2e-3 * np.abs(expected).max()


def test_what_cannot_run_says_so(tiny_model: Path) -> None:
    with pytest.raises(BackendUnavailable, match="no quantum instructions"):
        CpuBackend(open_checkpoint(tiny_model), CONFIG, isa="quantum")
    with pytest.raises(ValueError, match="bits is 3"):
        CpuBackend(open_checkpoint(tiny_model), CONFIG, bits=3)
    with pytest.raises(ValueError, match="cache_bits is 8"):
        CpuBackend(open_checkpoint(tiny_model), CONFIG, cache_bits=8)


def test_the_library_was_built_and_cores_are_counted() -> None:
    assert native_available()[0], native_available()[1]
    assert usable_cores() >= 1


def test_wrong_indices_never_reach_native_code(shared_backend: CpuBackend) -> None:
    good = whole_sequence(np.array([5], np.int32))
    for field, value in (("tokens", 96), ("slots", 3), ("positions", 128), ("outputs", 1)):
        fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
        fields[field] = np.array([value], np.int32)
        with pytest.raises(AssertionError, match=field):
            shared_backend.step(Step(**fields))
    assert good.drafts[0] == NO_DRAFT
