"""Loading a model needs little more memory than the model."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel

# Each in a process of its own, whose peak begins at what it has then; importing takes longest.
MEASURE = """
import os, resource, sys
from pathlib import Path
import torch
from tokenspeed.backends.reference import load_llama
from tokenspeed.model.checkpoint import open_checkpoint

torch.ones(8, 8) @ torch.ones(8, 8)  # what torch sets aside for itself comes before the weights
torch.isfinite(torch.ones(1000)).all()
def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

tiny, *directories = map(Path, sys.argv[1:])
for directory in directories:
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
        continue
    # A child's peak begins without the libraries' pages that it has not used.
    load_llama(open_checkpoint(tiny), "cpu", torch.float32)
    before = peak_kib()
    model = load_llama(open_checkpoint(directory), "cpu", torch.float32)
    weights = sum(p.nbytes for p in model.parameters())
    print((peak_kib() - before) * 1024 / weights, flush=True)
    os._exit(0)
"""


def test_peak_memory_stays_near_the_weights(
    make_model: MakeModel, tiny_model: Path, tmp_path: Path
) -> None:
    directory: Path = make_model(
        vocab_size=2000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=6,
        head_dim=64,
        num_attention_heads=12,
        num_key_value_heads=4,
    )
    as_bfloat16 = shutil.copytree(directory, tmp_path / "bfloat16")
    path = as_bfloat16 / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path)
    # On Linux the peak of a process begins at what the one had that started it: a shell has little.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", MEASURE]
    command += [str(tiny_model), str(directory), str(as_bfloat16)]
    # What glibc would keep of freed temporaries, a lot or nothing, goes back at once.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    of_weights = [float(line) for line in done.stdout.split()]
    assert len(of_weights) == 2
    assert all(1 <= each < 1.4 for each in of_weights)  # a second copy would be 2
