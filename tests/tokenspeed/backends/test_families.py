"""Every family on every backend but the reference, which tests/tokenspeed/model holds to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tokenspeed.backends.test_cpu import instruction_sets, quantized_logits
from tests.tokenspeed.families import FAMILIES, TOKENS, make_family, whole
from tests.tokenspeed.model.test_families import OFF, changed
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_persistent import why_not_shape
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import load_weights
from tokenspeed.backends.torch_int8 import TorchInt8Backend
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels import tuned
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.kernels.tile import TileConfig
from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantized import write_quantized

CONFIG = EngineConfig(num_slots=3, max_length=64, max_step_tokens=64)

# Odd sizes: no vector, no panel and no block is full.
ODD = {"intermediate_size": 70, "vocab_size": 121}


Family = tuple[str, Checkpoint, NDArray[np.float32]]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A name, its checkpoint, and transformers' logits of it."""
    directory: Path = tmp_path_factory.mktemp("family")
    expected = make_family(request.param, directory, **ODD)
    return request.param, open_checkpoint(directory), expected


@pytest.mark.parametrize("bits", [8, 4])
def test_native_logits_are_those_of_its_arithmetic(family: Family, bits: int) -> None:
    name, checkpoint, exact = family
    expected = quantized_logits(checkpoint, torch.from_numpy(TOKENS).long(), bits).numpy()
    results = []
    for isa in instruction_sets():
        backend = CpuBackend(checkpoint, CONFIG, bits=bits, isa=isa, threads=2)
        results.append(backend.logits(whole()))
        backend.close()
    assert all(np.array_equal(results[0], other) for other in results[1:])
    # An int8 that is rounded the other way, at half of a step, moves logits by some thousandths.
    assert np.abs(results[0] - expected).max() < 2e-2 * np.abs(expected).max()
    assert np.abs(results[0] - expected).mean() < 2e-3 * np.abs(expected).max()
    for switch in set(checkpoint.config.switches) & set(OFF.get(name, {})):
        off = changed(checkpoint, switch, OFF[name][switch])
        without = quantized_logits(off, torch.from_numpy(TOKENS).long(), bits).numpy()
        assert np.abs(without - expected).max() > 4e-2 * np.abs(expected).max(), switch
    # The weights are random: what int8 costs here says nothing of a trained model.
    norm = np.linalg.norm
    assert norm(results[0] - exact) < (0.25 if bits == 8 else 0.9) * norm(exact)


def test_a_row_has_the_same_bits_at_every_width(family: Family) -> None:
    backend = CpuBackend(family[1], CONFIG, threads=2)
    expected = backend.logits(whole())
    for width in (1, 7, 16):
        parts = [
            backend.logits(whole(TOKENS[i : i + width], slot=1, start=i))
            for i in range(0, len(TOKENS), width)
        ]
        assert np.array_equal(np.concatenate(parts), expected)
    backend.copy_slot(1, 2, 20)
    forked = backend.logits(whole(TOKENS[20:], slot=2, start=20))
    backend.close()
    assert np.array_equal(forked, expected[20:])


def test_what_serves_without_a_compiler_agrees(family: Family) -> None:
    plain, native = TorchInt8Backend(family[1], CONFIG), CpuBackend(family[1], CONFIG)
    expected, actual = plain.logits(whole()), native.logits(whole())
    native.close()
    assert np.abs(actual - expected).max() < 2e-2 * np.abs(expected).max()


def test_a_quantised_family_is_the_same_model(tmp_path: Path) -> None:
    """Fused, folded and turned matrices keep the scales that they were stored with."""
    for name in ("phi3-partial", "granite", "seed_oss"):
        make_family(name, tmp_path / name)
        write_quantized(tmp_path / name, tmp_path / f"{name}-int8", 8)
        logits = []
        for directory in (tmp_path / name, tmp_path / f"{name}-int8"):
            backend = CpuBackend(open_checkpoint(directory), CONFIG)
            logits.append(backend.logits(whole()))
            backend.close()
        # One has a scale for each row, the other for each block of columns.
        assert np.abs(logits[0] - logits[1]).max() < 0.1 * np.abs(logits[0]).max()


# On the interpreter a program takes a millisecond: few rows, and few of them at each width.
SHORT = TOKENS[:7]
# Families that differ in how logits become a token: plain, softcapped, scaled.
SELECTIONS = ("llama", "gemma2", "granite")
SMALL = EngineConfig(num_slots=2, max_length=8, max_step_tokens=8)


def on_the_gpu(checkpoint: Checkpoint, form: str, dtype: torch.dtype | None = None) -> CudaBackend:
    device = "cpu" if INTERPRETED else "cuda"
    return CudaBackend(load_weights(checkpoint, form, device, dtype), SMALL, launch_ahead=False)


@pytest.fixture
def _same_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tile for every form: numpy rounds once for each BLOCK_K, a GPU for each 16 columns."""

    def same(kernel: str, form: str, *_: int) -> TileConfig:
        if form == "int4":
            return TileConfig(128 if kernel == "gate_up" else 64, 256, 4, 2)
        return TileConfig(64, 64, 4, 2)

    if INTERPRETED:
        monkeypatch.setattr(tuned, "tile_config", same)


@pytest.mark.usefixtures("_same_tiles")
def test_kernels_give_the_logits_of_transformers(family: Family) -> None:
    name, checkpoint, exact = family
    expected = exact[: len(SHORT)]
    # A GPU's tensor cores take no float32 in full.
    dtype = torch.float32 if INTERPRETED else None
    backend = on_the_gpu(checkpoint, "bf16", dtype)
    found = backend.logits(whole(SHORT))
    backend.copy_slot(0, 1, 6)
    alone = backend.logits(whole(SHORT[6:], slot=1, start=6))
    assert np.array_equal(alone, found[6:])
    if name in SELECTIONS:
        assert (backend.step(whole(SHORT)) == found.argmax(-1)).all()
    reference = step_ref(backend.weights, SHORT.tolist(), torch.float32).cpu().numpy()
    torch_too = (
        step_ref(backend.weights, SHORT.tolist(), backend.weights.embedding.dtype).cpu().numpy()
    )
    allowed = 2 * np.abs(torch_too - reference).max() + 1e-4
    assert np.abs(found - reference).max() < allowed
    if INTERPRETED:
        assert np.abs(found - expected).max() < 1e-4
        assert np.abs(reference - expected).max() < 1e-4
        for switch, value in OFF.get(name, {}).items():
            weights = load_weights(changed(checkpoint, switch, value), "bf16", "cpu", dtype)
            without = step_ref(weights, SHORT.tolist(), torch.float32).numpy()
            assert np.abs(without - expected).max() > 1e-3, switch
    else:
        norm = np.linalg.norm
        # Of random weights in bf16; what torch itself gets wrong, above, is the sharper bound.
        assert norm(found - expected) < 0.1 * norm(expected)
    backend.close()


@pytest.mark.usefixtures("_same_tiles")
@pytest.mark.parametrize("form", ["int8", "int4"])
@pytest.mark.parametrize("name", ["gemma2", "qwen2"])
def test_kernels_take_quantised_families(name: str, form: str, tmp_path: Path) -> None:
    """Biases and norms stay floats; sums are those of the dequantised matrices."""
    make_family(name, tmp_path, hidden_size=128, intermediate_size=128, head_dim=32)
    backend = on_the_gpu(open_checkpoint(tmp_path), form)
    found = backend.logits(whole(SHORT))
    exact = step_ref(backend.weights, SHORT.tolist(), torch.float32).cpu().numpy()
    torch_too = step_ref(backend.weights, SHORT.tolist(), torch.float16).cpu().numpy()
    assert np.abs(found - exact).max() <= 2 * np.abs(torch_too - exact).max() + 1e-4
    backend.close()


def test_the_one_kernel_of_a_step_says_which_switches_it_lacks(family: Family) -> None:
    _, checkpoint, _ = family
    why = why_not_shape(load_weights(checkpoint, "bf16", "cpu"))
    has_norms = "norms" in checkpoint.config.switches
    assert ("this model's norms" if has_norms else "heads of 64 or 128") in str(why)


@pytest.mark.parametrize("backend", [CpuBackend, TorchInt8Backend])
def test_slots_longer_than_a_window_are_refused(
    backend: type[CpuBackend] | type[TorchInt8Backend], tmp_path: Path
) -> None:
    make_family("mistral", tmp_path)
    with pytest.raises(BackendUnavailable, match="slots have 65 positions, .* see 64 at most"):
        backend(open_checkpoint(tmp_path), replace(CONFIG, max_length=65))
