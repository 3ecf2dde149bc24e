"""The GPU's step in plain torch says what the model itself says of the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tests.tokenspeed.backends.test_cuda import rows
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import load_weights
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

TOKENS = np.random.default_rng(5).integers(3, 90, 20).tolist()


@pytest.mark.parametrize("tied", [True, False])
def test_it_is_the_model_in_float32(make_model: MakeModel, tied: bool) -> None:
    directory: Path = make_model(
        hidden_size=128, intermediate_size=128, head_dim=32, seed=4, tie_word_embeddings=tied
    )
    path = directory / "model.safetensors"
    # As the kernels store them, so that both see the same numbers.
    save_file({n: t.bfloat16() for n, t in load_file(path).items()}, path)
    checkpoint = open_checkpoint(directory)
    weights = load_weights(checkpoint, "bf16", "cpu")
    exact = step_ref(weights, TOKENS, torch.float32)
    backend = ReferenceBackend(checkpoint, EngineConfig(1, 32, 32))
    wanted = backend.logits(rows((0, 0, TOKENS)))
    assert exact.shape == wanted.shape
    assert np.abs(exact.numpy() - wanted).max() <= 1e-4
    # What comes later changes nothing before it, and bfloat16 is near.
    assert torch.allclose(step_ref(weights, TOKENS[:7], torch.float32), exact[:7], atol=1e-5)
    rounded = step_ref(weights, TOKENS, torch.bfloat16)
    assert 0 < (rounded - exact).abs().max() < 0.1 * exact.abs().max()
