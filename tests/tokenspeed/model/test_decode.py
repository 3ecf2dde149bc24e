"""Decoding for evaluation: a prompt's output is the same in any company."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from tests.tokenspeed.families import TOKENS, make_family, whole
from tokenspeed.backends.reference import ReferenceBackend, load_llama
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.model.families import FAMILIES
from tokenspeed.model.llama import Llama
from tokenspeed.training.attention import find_reach, packed_attention

EOS = 2


@pytest.fixture(scope="module")
def model() -> Llama:
    torch.manual_seed(0)
    return Llama(FAMILIES["llama"](TINY)).eval()


def prompts(count: int) -> list[list[int]]:
    rng = random.Random(1)
    return [[rng.randrange(3, 90) for _ in range(rng.randint(1, 30))] for _ in range(count)]


@torch.inference_mode()
def plainly(model: Llama, prompt: list[int]) -> list[int]:
    """Compute everything anew for every token."""
    out: list[int] = []
    while len(out) < 2 * len(prompt) + 10:
        ids = torch.tensor([*prompt, *out])
        borders = torch.tensor([0, len(ids)], dtype=torch.int32)
        attend = packed_attention(find_reach(borders, len(ids)))
        hidden = model.hidden_states(ids, torch.arange(len(ids)), attend)
        token = int(model.logits(hidden[-1:]).argmax())
        if token == EOS:
            break
        out.append(token)
    return out


def test_a_batch_from_which_rows_drop_out_gives_what_each_gives_alone(model: Llama) -> None:
    asked = prompts(24)
    # An end that comes now and then, at different times: whatever the model says most is the end.
    said = [token for ids in BatchDecoder(model, EOS, 24).greedy(asked) for token in ids]
    ends = sorted(set(said), key=said.count)
    found = BatchDecoder(model, ends[len(ends) // 2], 24).greedy(asked)
    assert len({len(ids) for ids in found}) > 3, "rows end at different times"
    alone = BatchDecoder(model, ends[len(ends) // 2], 1)
    assert found == [alone.greedy([prompt])[0] for prompt in asked]


def test_greedy_is_what_plain_decoding_gives(model: Llama) -> None:
    asked = prompts(5)
    assert BatchDecoder(model, EOS, 5).greedy(asked) == [plainly(model, prompt) for prompt in asked]


def test_margins_are_those_of_log_probabilities_computed_plainly(model: Llama) -> None:
    asked = prompts(7)
    said = BatchDecoder(model, EOS, 7).greedy(asked)[0]
    decoder = BatchDecoder(model, said[-1], 7)  # an end that at least one of them reaches
    plain, found = decoder.greedy(asked), decoder.greedy_with_margins(asked)
    assert [output.tokens for output in found] == plain
    for prompt, output in zip(asked, found, strict=True):
        assert output.is_whole == (len(output.tokens) < 2 * len(prompt) + 10)
        ids = torch.tensor([*prompt, *output.tokens])
        borders = torch.tensor([0, len(ids)], dtype=torch.int32)
        attend = packed_attention(find_reach(borders, len(ids)))
        with torch.inference_mode():
            hidden = model.hidden_states(ids, torch.arange(len(ids)), attend)
            best = model.logits(hidden).log_softmax(-1).topk(2).values[len(prompt) - 1 : -1]
        expected = (best[:, 0] - best[:, 1]).tolist()
        assert output.margins == pytest.approx(expected, abs=1e-4)
    assert {output.is_whole for output in found} == {True, False}
    assert sum(len(output.margins) for output in found) > 50


def test_a_beam_of_one_is_greedy(model: Llama) -> None:
    asked = [[i, i + 7, i + 20] for i in range(3, 9)]  # of one length, so cut at the same one
    decoder = BatchDecoder(model, EOS, 6)
    assert decoder.beam(asked, 1) == decoder.greedy(asked)


@pytest.mark.parametrize("name", ["gemma2", "granite"])
def test_scores_are_capped_and_scaled_here_too(name: str, tmp_path: Path) -> None:
    expected = make_family(name, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    model = load_llama(checkpoint, "cpu", torch.float32)
    cut = 16
    (found,) = BatchDecoder(model, EOS).greedy([TOKENS[:cut].tolist()])
    ids = TOKENS[:cut].tolist()
    backend = ReferenceBackend(checkpoint, EngineConfig(num_slots=1, max_length=64))
    assert np.abs(backend.logits(whole())[:cut] - expected[:cut]).max() < 1e-4
    for token in found:
        logits = backend.logits(whole(np.array(ids, np.int32)))
        assert token == logits[-1].argmax()
        ids.append(token)
    assert len(found) > 3


def test_a_sequence_longer_than_a_window_is_refused(tmp_path: Path) -> None:
    make_family("gemma2", tmp_path)
    model = load_llama(open_checkpoint(tmp_path), "cpu", torch.float32)
    with pytest.raises(ValueError, match="a sequence of 80 positions, the model sees 64"):
        BatchDecoder(model, EOS).greedy([TOKENS[:22].tolist()])
