"""Loading a model needs little more memory than the model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel

MEASURE = """
import resource, sys
from pathlib import Path
import torch
from tokenspeed.backends.reference import load_llama
from tokenspeed.model.checkpoint import open_checkpoint

torch.ones(8, 8) @ torch.ones(8, 8)  # what torch sets aside for itself comes before the weights
torch.isfinite(torch.ones(1000)).all()
def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak_kib()
model = load_llama(open_checkpoint(Path(sys.argv[1])), "cpu", torch.float32)
weights = sum(p.nbytes for p in model.parameters())
print((peak_kib() - before) * 1024 / weights)
"""


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_peak_memory_stays_near_the_weights(make_model: MakeModel, stored: torch.dtype) -> None:
    directory: Path = make_model(
        vocab_size=2000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=6,
        head_dim=64,
        num_attention_heads=12,
        num_key_value_heads=4,
    )
    path = directory / "model.safetensors"
    save_file({name: tensor.to(stored) for name, tensor in load_file(path).items()}, path)
    # On Linux the peak of a process begins at what the one had that started it: a shell has little.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", MEASURE, str(directory)]
    # What glibc would keep of freed temporaries, a lot or nothing, goes back at once.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert 1 <= float(done.stdout) < 1.4  # a second copy would be 2
