"""Rows whose values share an exponent: the grids, and every kernel that writes such rows."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenspeed.kernels.support import (
    DEVICE,
    EPS,
    LAUNCH,
    begin,
    ints,
    matrix,
    nans,
    plan,
    random,
    random_rows,
)
from tokenspeed.kernels.attention import Tiles, attention, attention_scratch
from tokenspeed.kernels.blocks import (
    BLOCK,
    check_blocks,
    share_exponent,
    share_exponent_ref,
    share_rows,
)
from tokenspeed.kernels.branch_norm import branch_norm
from tokenspeed.kernels.embedding import embedding
from tokenspeed.kernels.gate_up import gate_up
from tokenspeed.kernels.norm import HiddenStates, Scaled, square_sum_ref
from tokenspeed.kernels.projection import projection
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.kernels.tile import TileConfig

HALF = torch.float16
WIDE = TileConfig(128, 256, 4, 2)


@triton.jit
def share_kernel(x_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out_ptr + at, share_exponent(tl.load(x_ptr + at)))


def shared(x: torch.Tensor) -> torch.Tensor:
    """x [M, N], sizes powers of two, as a kernel rounds it."""
    out = torch.full_like(x, torch.nan)
    share_kernel[(1,)](x, out, *x.shape, enable_fp_fusion=False)
    return out


def integers(x: torch.Tensor) -> torch.Tensor:
    """Return a block [64] in units of its grid, found by another way than the kernel's."""
    values = x.double().numpy(force=True)
    largest = np.abs(values).max()
    unit = 2.0 ** max(np.floor(np.log2(largest)) - 10, -24) if largest else 2.0**-24
    return torch.from_numpy(values / unit)


def is_on_grid(rows: torch.Tensor) -> bool:
    """Whether rows [..., columns] lie on the grids of their blocks."""
    blocks = [integers(block) for block in rows.reshape(-1, BLOCK)]
    return all((b == b.round()).all() and b.abs().max() <= 2047 for b in blocks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 0x7BFF), min_size=1, max_size=64), st.integers(0, 2**64 - 1))
def test_a_block_is_rounded_as_the_reference_says(bits: list[int], signs: int) -> None:
    """Of any finite float16: zeros, subnormal numbers, the largest."""
    patterns = np.zeros(BLOCK, np.uint16)
    patterns[: len(bits)] = bits
    patterns |= np.array([signs >> i & 1 for i in range(BLOCK)], np.uint16) << 15
    x = torch.from_numpy(patterns.view(np.float16).copy()).to(DEVICE)[None]
    got = shared(x)
    assert torch.equal(got, share_exponent_ref(x))
    assert is_on_grid(got)
    assert torch.equal(shared(got), got)
    at = x.abs().argmax()
    assert got[0, at] == x[0, at]
    assert ((got.double() - x.double()).abs() <= x.double().abs().max() * 2**-11).all()


def test_ties_go_to_the_even_neighbour() -> None:
    x = torch.zeros(1, BLOCK, dtype=HALF, device=DEVICE)
    # 1,024 has the unit 1; the largest number, 32; subnormal ones keep theirs.
    x[0, :6] = torch.tensor([1024.0, 0.5, 1.5, 2.5, -0.5, -3.5])
    assert shared(x)[0, :6].tolist() == [1024.0, 0.0, 2.0, 2.0, 0.0, -4.0]
    x[0, :4] = torch.tensor([-65504.0, 16.0, 48.0, 65503.0])
    assert shared(x)[0, :4].tolist() == [-65504.0, 0.0, 64.0, 65504.0]
    x[0, :] = torch.tensor(3 * 2.0**-24)
    assert torch.equal(shared(x), x)


def test_blocks_know_nothing_of_each_other() -> None:
    sizes = torch.tensor([1e-6, 1.0, 1e4, 0.0], device=DEVICE).repeat_interleave(BLOCK)
    x = (random(4, 256, dtype=torch.float32) * sizes).half()
    parts = [shared(part.contiguous()) for part in x.split(BLOCK, dim=1)]
    assert torch.equal(shared(x), torch.cat(parts, 1))


def test_whole_rows_are_rounded_in_place() -> None:
    x = random(3, 1152, dtype=HALF)
    expected = share_exponent_ref(x)
    assert not torch.equal(x, expected)
    share_rows(x, launch=LAUNCH)
    assert torch.equal(x, expected)
    with pytest.raises(ValueError, match="x has 100 columns, expected whole blocks of 64"):
        share_rows(random(1, 100), launch=LAUNCH)
    check_blocks(128, "x")


def test_embedding_and_branch_norm_write_blocks() -> None:
    table, norm = random(7, 192, dtype=HALF), random(192, seed=1, dtype=HALF)
    for row_eps in (None, EPS):
        written = []
        for in_blocks in (False, True):
            sums = torch.zeros(1, 3, dtype=torch.int64, device=DEVICE)
            hidden = HiddenStates(nans(3, 192, dtype=torch.float32), nans(3, 192, dtype=HALF), sums)
            embedding(
                *(ints(1, 5, 6), table, norm, begin(3), hidden),
                launch=LAUNCH,
                row_eps=row_eps,
                in_blocks=in_blocks,
            )
            branch = random(3, 192, seed=2, dtype=torch.float32)
            first = hidden.scaled.clone()
            branch_norm(
                *(branch, norm, norm, ints(3), hidden),
                eps=EPS,
                launch=LAUNCH,
                in_blocks=in_blocks,
            )
            written.append((first, hidden.scaled))
        for plain, rows in zip(*written, strict=True):
            assert torch.equal(rows, share_exponent_ref(plain))
            assert not torch.equal(rows, plain)
    with pytest.raises(ValueError, match="table has 96 columns"):
        embedding(*(ints(1), random(7, 96), None, begin(1), hidden), launch=LAUNCH, in_blocks=True)
    with pytest.raises(ValueError, match="branch has 96 columns"):
        branch_norm(
            *(random(3, 96), norm, norm, ints(3), hidden), eps=EPS, launch=LAUNCH, in_blocks=True
        )


@pytest.mark.parametrize(("rows", "exist"), [(1, 1), (20, 19)])
def test_projection_and_gate_up_write_blocks(rows: int, exist: int) -> None:
    x = share_exponent_ref(random_rows("int4", rows, 256))
    weight, norm = matrix(random(192, 256, seed=1) * 0.1, "int4"), random(192, dtype=HALF)
    gated = matrix(random(384, 256, seed=3) * 0.1, "int4")
    written = []
    for in_blocks in (False, True):
        sums = torch.zeros(rows, dtype=torch.int64, device=DEVICE)
        states = random(rows, 192, seed=2, dtype=torch.float32)
        hidden = HiddenStates(states, nans(rows, 192, dtype=HALF), sums)
        how = plan(rows, WIDE)
        projection(x, weight, norm, ints(exist), hidden, plan=how, in_blocks=in_blocks)
        inner = nans(rows, 192, dtype=HALF)
        scaled = Scaled(x, square_sum_ref(x))
        gate_up(scaled, gated, ints(exist), inner, eps=EPS, plan=how, in_blocks=in_blocks)
        written.append((hidden.scaled, inner))
    for plain, blocks in zip(*written, strict=True):
        assert torch.equal(blocks[:exist], share_exponent_ref(plain[:exist]))
        assert not torch.equal(blocks[:exist], plain[:exist])
        assert torch.isnan(blocks[exist:]).all()
    narrow = plan(rows, TileConfig(32, 256, 4, 2))
    with pytest.raises(ValueError, match="a tile has 32 columns"):
        projection(x, weight, norm, ints(exist), hidden, plan=narrow, in_blocks=True)
    with pytest.raises(ValueError, match="half a tile has 32 columns"):
        gate_up(
            *(scaled, gated, ints(exist), inner),
            eps=EPS,
            plan=plan(rows, TileConfig(64, 256, 4, 2)),
            in_blocks=True,
        )


@pytest.mark.parametrize("head_dim", [32, 64, 96, 192])
def test_attention_writes_blocks_whatever_its_heads(head_dim: int) -> None:
    """A block may span heads that no program has together."""
    q = random(5, 4, head_dim, dtype=HALF)
    cache = Cache(*(random(1, 2, 300, head_dim, seed=i, dtype=HALF) for i in (1, 2)))
    places = Places(ints(0, 0, 0, 0, 0), ints(8, 9, 10, 250, 251))
    scratch = attention_scratch(5, 4, 2, head_dim, 300, DEVICE)
    for tokens, tiles in (
        (1, Tiles(ints(0), ints(1), ints(5))),
        (3, Tiles(ints(0, 3), ints(3, 2), ints(2))),
    ):
        written = []
        for in_blocks in (False, True):
            out = nans(5, 4, head_dim, dtype=HALF)
            attention(
                *(q, cache, places, tiles, scratch, out),
                tile_tokens=tokens,
                max_tiles=5,
                launch=LAUNCH,
                in_blocks=in_blocks,
            )
            written.append(out.flatten(1))
        assert torch.equal(written[1], share_exponent_ref(written[0]))
        assert not torch.equal(*written)
