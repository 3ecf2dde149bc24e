"""Weights on a GPU: stored forms as they are read, and what cannot be stored."""

from pathlib import Path

import pytest
import torch

from tests.conftest import MakeModel
from tests.tokenspeed.kernels.support import DEVICE
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_weights import load_weights, stored_form
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantized import write_quantized

CONFIG = EngineConfig(num_slots=3, max_length=144, max_step_tokens=72)


def test_int4_says_which_shape_it_cannot_have(make_model: MakeModel) -> None:
    checkpoint = open_checkpoint(make_model())
    with pytest.raises(BackendUnavailable, match="groups of 128, this model has 32; use int8"):
        CudaBackend.from_checkpoint(checkpoint, CONFIG, "int4")


@pytest.mark.parametrize("bits", [8, 4])
def test_a_stored_form_is_read_as_it_is(model: Path, tmp_path: Path, bits: int) -> None:
    write_quantized(model, tmp_path, bits)
    weights = load_weights(open_checkpoint(tmp_path), f"int{bits}", DEVICE)
    name = "model.layers.1.mlp.down_proj.weight"
    exact = open_checkpoint(tmp_path).weight(name)
    assert stored_form(open_checkpoint(tmp_path)) == weights.form == f"int{bits}"
    assert torch.equal(weights.layers[1].down.dequantize().cpu(), exact)
