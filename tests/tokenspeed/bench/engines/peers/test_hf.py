"""transformers, as it is measured, says what our reference says of the same model."""

from importlib import import_module

import numpy as np
import pytest

from tests.conftest import MakeModel
from tests.tokenspeed.backends.test_cuda import rows
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

PROMPTS = [[1, 5, 6, 7], [1, 8, 9, 10]]


@pytest.mark.parametrize("streams", [1, 2])
def test_it_generates_what_the_reference_does(make_model: MakeModel, streams: int) -> None:
    model = make_model()
    hf = import_module("tokenspeed.bench.engines.peers.hf")
    peer = hf.Peer(hf.prepare(model, model, "float32"), "float32", 1, streams)
    ours = ReferenceBackend(open_checkpoint(model), EngineConfig(streams, 64, 16))
    prompts = PROMPTS[:streams]
    peer.prefill(prompts)
    ends = [4 * i + 3 for i in range(streams)]
    current = ours.step(rows(*((i, 0, p) for i, p in enumerate(prompts)), outputs=ends))
    for position in range(4, 10):
        assert peer.current.tolist() == current.tolist()
        peer.decode()
        current = ours.step(rows(*((i, position, [int(t)]) for i, t in enumerate(current))))
    # The first stream alone goes on, and a draft's last token is answered.
    peer.verify([4, 5, 6])
    answers = ours.step(rows((0, 10, [4, 5, 6])))
    assert peer.current.tolist() == [int(answers[-1])]
    assert peer.cache.get_seq_length() == 13
    assert np.all(answers < 96)
    assert hf.version()
