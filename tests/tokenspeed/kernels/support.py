"""What the kernel tests share: seeded tensors, weights in each stored form, the tolerance rule."""

from typing import Any

import torch
from torch import Tensor

from tokenspeed.backends import ANY_TOKEN
from tokenspeed.backends.cuda_weights import row_dtype
from tokenspeed.kernels.embedding import Begin
from tokenspeed.kernels.launch import Launch
from tokenspeed.kernels.lm_head import COUNT_STRIDE, MAX_STOPS, Ahead
from tokenspeed.kernels.matrix import Matrix, pack_channels, pack_float, pack_int4
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.tile import TileConfig, block_rows
from tokenspeed.model.quantize import quantize_fp8, quantize_int4, quantize_int8

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FORMATS = ["bf16", "int8", "int4", "fp8"]
CONFIG = TileConfig(block_n=32, block_k=256, warps=4, stages=3)
LAUNCH = Launch()
EPS = 1e-5


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def random_rows(form: str, *shape: int, seed: int = 0) -> Tensor:
    """Draw activations in the dtype that they have beside weights of this form."""
    return random(*shape, seed=seed, dtype=row_dtype(form))


def nans(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.full(shape, float("nan"), dtype=dtype, device=DEVICE)


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


def begin(rows: int) -> Begin:
    """What the first kernel of a step of so many rows settles; all of it zero but the rows."""
    return Begin(ints(rows), ints(rows), ints(rows), *(ints(0) for _ in range(3)))


def ahead(*stops: tuple[int, int]) -> Ahead:
    """What may end a step's successor: pairs of a token and the one chosen after it."""
    padded = [*stops, *[(ANY_TOKEN, -1)] * (MAX_STOPS - len(stops))]
    previous, tokens = (ints(*column) for column in zip(*padded, strict=True))
    launched = ints(*[5] * 32 * COUNT_STRIDE)
    return Ahead(previous, tokens, ints(0), ints(0), ints(0, 0), launched, ints(7), ints(6))


def plan(rows: int, config: TileConfig = CONFIG, **how: Any) -> Plan:
    """How a matrix kernel runs in a step of so many rows."""
    return Plan(block_rows(rows), config, LAUNCH, **how)


def matrix(weight: Tensor, form: str) -> Matrix:
    """Store a weight [n, k] in one of FORMATS."""
    if form == "bf16":
        return pack_float(weight)
    if form == "int4":
        return pack_int4(*quantize_int4(weight))
    return pack_channels(*(quantize_int8 if form == "int8" else quantize_fp8)(weight))


def assert_as_exact(got: Tensor, ref: Tensor, exact: Tensor) -> None:
    """Demand that a kernel is never much worse than torch in the same dtype."""
    assert got.shape == ref.shape
    assert torch.isfinite(got).all()
    error = (got.double() - exact.double()).abs().max().item()
    allowed = 2 * (ref.double() - exact.double()).abs().max().item() + 1e-5
    assert error <= allowed, f"error {error}, torch's own {allowed / 2}"
