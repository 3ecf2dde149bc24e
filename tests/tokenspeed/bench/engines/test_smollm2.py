"""Following a text that transformers wrote, with a model that is made here."""

from pathlib import Path

import numpy as np

from tests.tokenspeed.families import TOKENS, make_family
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.engines.smollm2 import TIE, follow, greedy, judge
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


def test_float32_goes_on_as_transformers_does(tmp_path: Path) -> None:
    make_family("llama", tmp_path, eos_token_id=None)
    prompts = [TOKENS[:5].tolist(), TOKENS[5:17].tolist()]
    texts = greedy(tmp_path, prompts, 20)
    assert [len(text) for text in texts] == [25, 32]
    config = EngineConfig(num_slots=1, max_length=64, max_step_tokens=16)
    backend = ReferenceBackend(open_checkpoint(tmp_path), config)
    row = judge(prompts, texts, follow(backend, prompts, texts), follow(backend, prompts, texts))
    assert (row["tokens"], row["kl"]) == (40, 0)
    assert all(place["margin"] <= TIE for place in row["differences"])
    assert row["equal"] == 40 - len(row["differences"])


def test_another_token_is_shown_with_its_margin(tmp_path: Path) -> None:
    make_family("llama", tmp_path, eos_token_id=None)
    prompt = TOKENS[:5].tolist()
    (text,) = greedy(tmp_path, [prompt], 6)
    other = (text[8] + 1) % 100
    changed = [*text[:8], other]
    config = EngineConfig(num_slots=1, max_length=64, max_step_tokens=16)
    (logits,) = follow(ReferenceBackend(open_checkpoint(tmp_path), config), [prompt], [changed])
    row = judge([prompt], [changed], [logits], [logits])
    (place,) = row["differences"]
    assert (place["token"], place["expected"], place["found"]) == (3, other, text[8])
    assert place["margin"] > 0
    assert row["equal"] == 3
    assert np.isfinite(place["margin"])


def test_the_divergence_is_that_of_the_exact_probabilities_from_the_found() -> None:
    exact = np.log(np.array([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]], np.float32))
    found = np.log(np.array([[0.25, 0.5, 0.25], [0.2, 0.7, 0.1]], np.float32)) + 3
    row = judge([[7]], [[7, 0, 1]], [found], [exact])
    assert row["kl"] == 0.0866  # (0.5 - 0.25) * log 2, over two tokens
    assert row["equal"] == 1
