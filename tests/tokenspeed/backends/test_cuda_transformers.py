"""The GPU backend beside transformers: the same greedy tokens, but for ties that are shown."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import MakeModel
from tests.tokenspeed.backends.test_cuda import rows
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Path:
    return make_model(
        vocab_size=2000, hidden_size=256, intermediate_size=512, num_hidden_layers=4, head_dim=64
    )


def test_tokens_are_those_of_transformers(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    tokens = np.random.default_rng(1).integers(3, 2000, 200).tolist()

    def logits(dtype: torch.dtype) -> torch.Tensor:
        theirs: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        theirs.to("cuda")
        with torch.inference_mode():
            return theirs(torch.tensor([tokens], device="cuda")).logits[0].float().cpu()

    exact, rounded = logits(torch.float32), logits(torch.bfloat16)
    ours = CudaBackend.from_checkpoint(open_checkpoint(model), EngineConfig(), "bf16")
    chosen = torch.from_numpy(ours.step(rows((0, 0, tokens)))).long()
    ours.close()
    gap = exact.max(-1).values - exact.gather(1, chosen[:, None])[:, 0]
    differ = chosen != rounded.argmax(-1)
    # Their own rounding moves logits by so much; tokens that are closer may change places.
    noise = (rounded - exact).abs().max(-1).values
    ties = [
        (row, float(gap[row]), float(noise[row])) for row in torch.nonzero(differ)[:, 0].tolist()
    ]
    sys.stdout.write(f"rows that differ, distance to float32's best, their rounding: {ties}\n")
    assert all(far <= 2 * by for _, far, by in ties)
    assert len(ties) < len(tokens) / 5
