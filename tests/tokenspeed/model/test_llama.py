"""The plain torch model against transformers."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import MakeModel
from tests.lazily import Lazily
from tests.tokenspeed.steps import whole_sequence
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

transformers = Lazily("transformers")

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

SHAPES: list[dict[str, Any]] = [
    {},
    {"tie_word_embeddings": False},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": 1, "head_dim": 16},
    {"rope_scaling": LLAMA3, "rope_theta": 500000.0},
    {"vocab_size": 101, "hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 3},
]


@pytest.mark.parametrize("changes", SHAPES, ids=lambda c: ",".join(c) or "tied")
def test_logits_agree_with_transformers(make_model: MakeModel, changes: dict[str, Any]) -> None:
    directory = make_model(**changes)
    checkpoint = open_checkpoint(directory)
    backend = ReferenceBackend(checkpoint, EngineConfig(num_slots=2, max_length=128))
    peer = transformers.LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32)
    tokens = np.random.default_rng(0).integers(3, checkpoint.config.vocab_size, 100)

    with torch.inference_mode():
        expected = peer(torch.from_numpy(tokens)[None]).logits[0].numpy()
    actual = backend.logits(whole_sequence(tokens.astype(np.int32)))

    assert np.abs(actual - expected).max() < 1e-4


def test_cached_decoding_equals_a_full_prefill(make_model: MakeModel) -> None:
    checkpoint = open_checkpoint(make_model())
    backend = ReferenceBackend(checkpoint, EngineConfig(num_slots=2, max_length=128))
    tokens = np.random.default_rng(1).integers(3, 96, 60).astype(np.int32)
    full = backend.logits(whole_sequence(tokens))

    one_by_one = [
        backend.logits(whole_sequence(tokens[i : i + 1], slot=1, start=i))[0]
        for i in range(len(tokens))
    ]

    assert np.array_equal(full, np.stack(one_by_one))
