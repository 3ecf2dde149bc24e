"""The GPU backend beside transformers: the same greedy tokens, but for ties that are shown."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import MakeModel
from tests.kernels.test_backend import rows
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.checkpoint import open_checkpoint
from tokenspeed.config import EngineConfig

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Path:
    return make_model(
        vocab_size=2000, hidden_size=256, intermediate_size=512, num_hidden_layers=4, head_dim=64
    )


def test_tokens_are_those_of_transformers(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16, device_map="cuda")
    ours = CudaBackend.from_checkpoint(open_checkpoint(model), EngineConfig(), "bf16")
    tokens = np.random.default_rng(1).integers(3, 2000, 200).tolist()
    with torch.inference_mode():
        logits = theirs(torch.tensor([tokens], device="cuda")).logits[0].float().cpu()
    chosen = torch.from_numpy(ours.step(rows((0, 0, tokens)))).long()
    ours.close()
    best = logits.max(-1).values
    gap = best - logits.gather(1, chosen[:, None])[:, 0]
    # bf16 keeps 8 bits: tokens whose logits are closer than that may change places.
    ties = [(i, float(g)) for i, g in enumerate(gap) if g > 0]
    assert all(g <= best[i].abs() * 2**-6 for i, g in ties), f"rows that differ: {ties}"
