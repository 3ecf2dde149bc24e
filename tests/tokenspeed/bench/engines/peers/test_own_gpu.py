"""Our own side of a comparison on a GPU: prompts in several steps, decoding, a verification."""

import numpy as np

from tests.conftest import MakeModel
from tests.tokenspeed.backends.test_cuda import rows
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.engines.peers.own_gpu import Peer
from tokenspeed.bench.engines.update import GROWN, SOURCE
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


def test_it_generates_what_the_backend_does(make_model: MakeModel) -> None:
    model = make_model()
    prompts = [[1, 5, 6, 7], [1, 8, 9, 10], [1, 3, 3, 3]]
    peer = Peer(model, "bf16", 1, 3)
    peer.backend.max_step_tokens = 8  # two prompts a step
    backend = CudaBackend.from_checkpoint(
        open_checkpoint(model), EngineConfig(num_slots=3, max_length=64, max_step_tokens=16), "bf16"
    )
    together = rows(*((slot, 0, prompt) for slot, prompt in enumerate(prompts)), outputs=[3, 7, 11])
    peer.prefill(prompts)
    current = backend.step(together)
    assert np.array_equal(peer.current, current)
    peer.decode()
    decoded = backend.step(rows(*((slot, 4, [int(t)]) for slot, t in enumerate(current))))
    assert np.array_equal(peer.current, decoded)
    peer.verify([5, 6])
    assert peer.memory_mib() > 0


def test_it_answers_caption_updates_by_its_engine(make_model: MakeModel) -> None:
    model = make_model()
    peer = Peer(model, "bf16", 1, 2)
    peer.backend.close()
    config = EngineConfig(num_slots=2, max_length=128, max_step_tokens=64)
    peer.backend = ReferenceBackend(open_checkpoint(model), config)
    for first in (3, 4):
        source = [first + i % 80 for i in range(SOURCE + GROWN)]
        found = peer.update(source, other=[], held=[], grown=GROWN, new_tokens=27)
        assert found["update_ms"] > 0
    assert peer.engine is not None
    peer.engine.close()
