"""Packed batches lose nothing that fits, and examples do not see each other."""

from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TINY
from tokenspeed.model.families import FAMILIES
from tokenspeed.model.llama import Llama
from tokenspeed.training.attention import Reach, find_reach, packed_attention
from tokenspeed.training.packing import IGNORED, Sequenced, Shapes, pack

SHAPES = Shapes(tokens=64, targets=40, documents=12, max_length=16)
EXAMPLES = st.lists(
    st.integers(2, 16).flatmap(
        lambda n: st.builds(Sequenced, st.tuples(*[st.integers(3, 95)] * n), st.integers(1, n - 1))
    ),
    max_size=12,
)


@given(EXAMPLES)
def test_a_batch_holds_whole_examples_in_order(examples: list[Sequenced]) -> None:
    # Told apart by their first id: two that differ in num_prompt alone may not both fit.
    examples = [Sequenced((100 + i, *e.ids[1:]), e.num_prompt) for i, e in enumerate(examples)]
    batch = pack(examples, SHAPES, padding_id=2)
    borders = batch.borders.tolist()
    assert len(borders) == SHAPES.documents + 1
    assert borders == sorted(borders)
    assert borders[-1] == SHAPES.tokens
    assert all(b - a <= SHAPES.max_length for a, b in zip(borders, borders[1:], strict=False))
    waiting = iter(examples)
    at = 0
    for i in range(batch.num_examples):
        ids = batch.tokens[borders[i] : borders[i + 1]].tolist()
        example = next(e for e in waiting if list(e.ids) == ids)
        assert batch.positions[borders[i] : borders[i + 1]].tolist() == list(range(len(ids)))
        predicted = len(ids) - example.num_prompt
        rows = batch.rows[at : at + predicted]
        assert rows.tolist() == list(range(borders[i] + example.num_prompt - 1, borders[i + 1] - 1))
        assert batch.labels[at : at + predicted].tolist() == ids[example.num_prompt :]
        at += predicted
    assert at == batch.num_targets
    assert (batch.labels[at:] == IGNORED).all()


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), st.integers(0, 3))
def test_blocks_that_are_needed_are_visited_and_no_others(sizes: list[int], empty: int) -> None:
    borders = torch.tensor([0, *accumulate(sizes), *[sum(sizes)] * empty], dtype=torch.int32)
    reach = find_reach(borders, sum(sizes))
    index = torch.arange(sum(sizes))
    sees = (reach.document[:, None] == reach.document) & (index[:, None] >= index)
    assert int(sees.sum()) == sum(size * (size + 1) // 2 for size in sizes)
    for row, (count, blocks) in enumerate(
        zip(reach.num_blocks[0, 0], reach.blocks[0, 0], strict=True)
    ):
        seen = sees[row * 128 : (row + 1) * 128].any(dim=0).nonzero().flatten() // 128
        assert blocks[:count].tolist() == sorted(set(seen.tolist()))


@pytest.mark.gpu
def test_blocks_on_a_gpu_give_what_a_mask_gives() -> None:
    torch.manual_seed(0)
    sizes = torch.randint(2, 90, (40,)).tolist()
    borders = torch.tensor([0, *accumulate(sizes)], dtype=torch.int32)
    tokens = -(-sum(sizes) // 128) * 128
    borders = torch.cat((borders, torch.tensor([tokens], dtype=torch.int32)))
    heads = [torch.randn(tokens, n, 64, requires_grad=True) for n in (8, 4, 4)]
    weights = torch.randn(tokens, 8, 64)
    expected = packed_attention(find_reach(borders, tokens))(0, *heads)
    exact = torch.autograd.grad(expected, heads, weights)

    def attend(reach: Reach, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return packed_attention(reach)(0, q, k, v)

    on_gpu = [x.detach().cuda().bfloat16().requires_grad_() for x in heads]
    found = torch.compile(attend)(find_reach(borders.cuda(), tokens), *on_gpu)
    grads = torch.autograd.grad(found, on_gpu, weights.cuda().bfloat16())
    for a, b in zip((found, *grads), (expected, *exact), strict=True):
        assert float((a.cpu().float() - b).norm() / b.norm()) < 1e-2  # bfloat16 in and out


@settings(max_examples=20, deadline=None)
@given(EXAMPLES.filter(lambda found: len(found) > 1))
def test_an_example_does_not_see_its_neighbours(examples: list[Sequenced]) -> None:
    torch.manual_seed(0)
    model = Llama(FAMILIES["llama"](TINY)).eval()
    batch = pack(examples, SHAPES, padding_id=2)
    attend = packed_attention(find_reach(batch.borders, SHAPES.tokens))
    with torch.inference_mode():
        packed = model.hidden_states(batch.tokens, batch.positions, attend)
        for start, end in zip(batch.borders[:2].tolist(), batch.borders[1:3].tolist(), strict=True):
            if end == start:
                continue
            borders = torch.tensor([0, end - start], dtype=torch.int32)
            alone = model.hidden_states(
                batch.tokens[start:end],
                batch.positions[start:end],
                packed_attention(find_reach(borders, end - start)),
            )
            assert torch.allclose(packed[start:end], alone, atol=1e-5)
