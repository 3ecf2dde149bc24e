"""Decoding for evaluation: a prompt's output is the same in any company."""

import random

import pytest
import torch

from tests.conftest import TINY
from tokenspeed.model.config import _llama
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.model.llama import Llama
from tokenspeed.training.attention import find_reach, packed_attention

EOS = 2


@pytest.fixture(scope="module")
def model() -> Llama:
    torch.manual_seed(0)
    return Llama(_llama(TINY)).eval()


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


def test_a_beam_of_one_is_greedy(model: Llama) -> None:
    asked = [[i, i + 7, i + 20] for i in range(3, 9)]  # of one length, so cut at the same one
    decoder = BatchDecoder(model, EOS, 6)
    assert decoder.beam(asked, 1) == decoder.greedy(asked)
