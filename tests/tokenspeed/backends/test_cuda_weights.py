"""Weights on a GPU: stored forms as they are read, foreign files, and what cannot be stored."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tests.tokenspeed.families import TOKENS, whole
from tests.tokenspeed.kernels.support import DEVICE, matrix
from tests.tokenspeed.model.test_layouts import SIZES, of_awq, of_fp8, of_gptq, quantised
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import (
    load_weights,
    random_weights,
    row_dtype,
    stored_form,
)
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantized import write_quantized

CONFIG = EngineConfig(num_slots=3, max_length=144, max_step_tokens=72)


def test_int4_says_which_shape_it_cannot_have(make_model: MakeModel) -> None:
    checkpoint = open_checkpoint(make_model())
    with pytest.raises(BackendUnavailable, match="groups of 128, this model has 32; use int8"):
        CudaBackend.from_checkpoint(checkpoint, CONFIG, "int4")


@pytest.mark.parametrize("form", ["bf16", "int8", "int4", "fp8"])
def test_matrices_of_a_kind_lie_in_one_piece_of_memory(form: str) -> None:
    shape = replace(SHAPES["default-38m"], num_layers=3, biases=("qkv",))
    layers = random_weights(shape, form, DEVICE).layers
    for kernel in ("qkv", "out", "gate_up", "down"):
        matrices = [getattr(layer, kernel) for layer in layers]
        for part in ("data", "scale") if form != "bf16" else ("data",):
            parts = [getattr(matrix, part) for matrix in matrices]
            assert len({part.untyped_storage().data_ptr() for part in parts}) == 1
            at = [part.storage_offset() for part in parts]
            assert at == [0, parts[0].numel(), 2 * parts[0].numel()]
        assert all(matrix.scale.data_ptr() % 16 == 0 for matrix in matrices)
        first, second, _ = (matrix.dequantize() for matrix in matrices)
        assert not torch.equal(first, second)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_stored_form_is_read_as_it_is(model: Path, tmp_path: Path, bits: int) -> None:
    write_quantized(model, tmp_path, bits)
    weights = load_weights(open_checkpoint(tmp_path), f"int{bits}", DEVICE)
    name = "model.layers.1.mlp.down_proj.weight"
    exact = open_checkpoint(tmp_path).weight(name)
    assert stored_form(open_checkpoint(tmp_path)) == weights.form == f"int{bits}"
    assert torch.equal(weights.layers[1].down.dequantize().cpu(), exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scales_of_int8_may_be_stored_in_half_precision(
    model: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    write_quantized(model, tmp_path, 8)
    (file,) = tmp_path.glob("*.safetensors")
    stored = load_file(file)
    halves = {k: v.to(dtype) if k.endswith("_scale") else v for k, v in stored.items()}
    save_file(halves, file)
    checkpoint = open_checkpoint(tmp_path)
    down = load_weights(checkpoint, "int8", DEVICE).layers[1].down
    assert down.format == "int8"
    exact = checkpoint.weight("model.layers.1.mlp.down_proj.weight")
    assert torch.equal(down.dequantize().cpu(), exact)


def test_a_head_that_is_kept_in_more_than_four_bits_runs_in_int8(
    make_model: MakeModel, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 128, "intermediate_size": 128, "head_dim": 32}
    for tied, head in ((True, "int8"), (False, "int4")):  # the embedding stays as it is
        source, out = make_model(**sizes, tie_word_embeddings=tied), tmp_path / head
        write_quantized(source, out, 4)
        weights = load_weights(open_checkpoint(out), "int4", DEVICE)
        assert weights.layers[0].qkv.format == "int4"
        assert weights.head.format == head
        asked = load_weights(open_checkpoint(source), "int4", DEVICE)
        assert asked.head.format == "int4"


GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}
# What is written about a file, how its matrices are packed, and the form that it gets by itself.
FOREIGN: dict[str, tuple[dict[str, Any], Callable[[torch.Tensor], Any], str]] = {
    "gptq": (GPTQ, lambda w: of_gptq(w, 128, True, False), "int4"),
    "gptq, groups of 64": (
        GPTQ | {"group_size": 64},
        lambda w: of_gptq(w, 64, True, False),
        "int8",
    ),
    "gptq by act-order": (
        GPTQ | {"group_size": 32, "desc_act": True},
        lambda w: of_gptq(w, 32, False, True),
        "int8",
    ),
    "awq": (AWQ, lambda w: of_awq(w, 32, False), "int8"),
    "fp8 by channel": (FP8, lambda w: of_fp8(w, "channel"), "int8"),
    "fp8 by block": (
        FP8 | {"weight_block_size": [16, 32]},
        lambda w: of_fp8(w, "block"),
        "int8",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_methods_mean_the_same_to_the_kernels(name: str, tmp_path: Path) -> None:
    described, pack, form = FOREIGN[name]
    expected = quantised("llama", tmp_path, described, pack, **SIZES)
    checkpoint = open_checkpoint(tmp_path)
    assert stored_form(checkpoint) == form
    weights = load_weights(checkpoint, form, DEVICE)
    exact = checkpoint.weight("model.layers.1.mlp.down_proj.weight").to(DEVICE)
    kept = exact if form == "int4" else matrix(exact, form).dequantize()
    assert torch.equal(weights.layers[1].down.dequantize(), kept)

    tokens = TOKENS[:7]
    config = EngineConfig(num_slots=1, max_length=8, max_step_tokens=8)
    backend = CudaBackend(weights, config, launch_ahead=False)
    found = backend.logits(whole(tokens))
    backend.close()
    reference, torch_too = (
        step_ref(weights, tokens.tolist(), dtype).cpu().numpy()
        for dtype in (torch.float32, row_dtype(form))
    )
    assert np.abs(found - reference).max() <= 2 * np.abs(torch_too - reference).max() + 1e-4
    norm = np.linalg.norm
    limit = 0.02 if form == "int4" else 0.06  # of random weights, which int8 rounds by rows
    assert norm(reference - expected[:7]) < limit * norm(expected[:7])
