"""The exact product of int4, against whole numbers, to the bit."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.tokenspeed.kernels.support import DEVICE, ints, nans, random
from tests.tokenspeed.kernels.test_tile import tile_kernel
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.kernels.blocks import BLOCK, share_exponent_ref
from tokenspeed.kernels.launch import Overlap
from tokenspeed.kernels.matrix import GROUP_SIZE, Matrix, pack_int4
from tokenspeed.kernels.tile import Tile
from tokenspeed.model.quantize import quantize_int4


def product(x: torch.Tensor, weight: Matrix, tile: Tile, begin: int, size: int) -> torch.Tensor:
    out = nans(len(x), weight.n, dtype=torch.float32)
    tile_kernel[(-(-len(x) // tile.block_m), -(-weight.n // tile.block_n))](
        *(x, weight.arrays, ints(len(x)), out, begin),
        PART_K=size,
        MATRIX=weight.type,
        TILE=tile,
        OVERLAP=Overlap(0, 0),
        EACH=False,
        enable_fp_fusion=False,
        num_warps=4,
    )
    return out


def counted(x: np.ndarray, q: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return x @ (q * scale).T in whole numbers, with the two roundings of each group of columns.

    Args:
        x: [rows, k] float16, in blocks. q: [n, k] int. scale: [n, k / 128] float16.
    """
    sums = np.zeros((len(x), len(q)), np.float32)
    for group in range(x.shape[1] // GROUP_SIZE):
        halves = []
        for begin in (group * GROUP_SIZE, group * GROUP_SIZE + BLOCK):
            part = np.rint(x[:, begin : begin + BLOCK].astype(np.float64) * 2.0**24)
            halves.append(part.astype(np.int64) @ q[:, begin : begin + BLOCK].T.astype(np.int64))
        for at in np.ndindex(sums.shape):
            both = np.float32(int(halves[0][at]) * 2.0**-24) + np.float32(
                int(halves[1][at]) * 2.0**-24
            )
            exact = Fraction(float(both)) * Fraction(float(scale[at[1], group]))
            sums[at] = np.float32(float(exact + Fraction(float(sums[at]))))
    return sums


@pytest.mark.parametrize(("begin", "size"), [(0, 640), (256, 256), (0, 512)])
def test_it_counts(begin: int, size: int) -> None:
    """Blocks of very different sizes, K that ends within a tile, and parts of it."""
    sizes = torch.tensor([1.0, 1e-3, 300.0, 1e-7, 0.0, 20.0, 1.0, 1e-6, 4.0, 0.1])
    x = random(3, 640, dtype=torch.float32) * sizes.repeat_interleave(BLOCK).to(DEVICE)
    x = share_exponent_ref(x.half())
    q, scale = quantize_int4(random(70, 640, seed=1))
    weight = pack_int4(q, scale)
    part = slice(begin, begin + size)
    groups = slice(begin // GROUP_SIZE, (begin + size) // GROUP_SIZE)
    expected = counted(
        x[:, part].numpy(force=True),
        q[:, part].numpy(force=True),
        scale.half()[:, groups].numpy(force=True),
    )
    for tile in (Tile(16, 64, 256, 2, not INTERPRETED), Tile(32, 128, 512, 2, not INTERPRETED)):
        got = product(x, weight, tile, begin, size)
        assert np.array_equal(got.numpy(force=True), expected)


def test_a_rows_bits_do_not_depend_on_its_tile() -> None:
    x = share_exponent_ref(random(64, 512, dtype=torch.float16))
    weight = pack_int4(*quantize_int4(random(64, 512, seed=1)))
    whole = product(x, weight, Tile(64, 64, 256, 3, not INTERPRETED), 0, 512)
    for rows in (1, 16, 33):
        for tile in (Tile(16, 32, 256, 2, not INTERPRETED), Tile(16, 16, 512, 2, not INTERPRETED)):
            got = product(x[:rows].contiguous(), weight, tile, 0, 512)
            assert torch.equal(got, whole[:rows])
