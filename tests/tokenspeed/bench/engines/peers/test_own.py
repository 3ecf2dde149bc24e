"""Our own side of a comparison on a CPU: prompts, decoding, a verification."""

from pathlib import Path

import numpy as np
import pytest

from tests.tokenspeed.backends.test_cuda import rows
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.bench.engines.compare import write_float
from tokenspeed.bench.engines.peers import own
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


@pytest.mark.parametrize("bits", [8, 4])
def test_it_generates_what_the_backend_does(
    tiny_translator: Path, tmp_path: Path, bits: int
) -> None:
    stored = open_checkpoint(tiny_translator)
    # Others are given the float copy; ours follows it back to what it was made from.
    model = own.prepare(write_float(stored, tmp_path / "float"), tmp_path, f"int{bits}")
    assert model == tiny_translator.resolve()
    peer = own.Peer(model, f"int{bits}", 1, 2)
    backend = CpuBackend(stored, EngineConfig(2, 128, 64), bits=bits, threads=1)
    prompts = [[1, 5, 6, 7], [1, 8, 9, 10]]
    peer.prefill(prompts)
    current = backend.step(rows(*((i, 0, p) for i, p in enumerate(prompts)), outputs=[3, 7]))
    for position in (4, 5, 6):
        assert np.array_equal(peer.current, current)
        peer.decode()
        current = backend.step(rows(*((i, position, [int(t)]) for i, t in enumerate(current))))
    peer.verify([5, 6])
    assert np.array_equal(peer.current, current)
    assert peer.position == 7
    peer.backend.close()
    backend.close()
