"""Which tile each matrix kernel uses: a table measured offline, and a rule for other shapes.

Chosen with a cold L2 by `tokenspeed bench kernels --tune`, so nothing is tuned at start. Keys are
(kernel, stored form, n, k, tile height). The LM head keeps one block_n at every height: its
programs' partial results are per block, and have to be the same blocks for every step.
"""

import triton

from tokenspeed.kernels.launch import Launch
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.split_k import SplitScratch
from tokenspeed.kernels.tile import TileConfig, block_rows

_SHORT = 64  # rows of a step in which tiles are few, so that their parts run side by side
_ENOUGH = 96  # tall tiles; fewer leave too much of an H100 idle

# Measured on an H200, some on an H100 (benchmarks/results); block_n, block_k, warps, stages.
TUNED: dict[tuple[str, str, int, int, int], TileConfig] = {
    ("qkv", "bf16", 6144, 4096, 16): TileConfig(64, 128, 4, 3),
    ("out", "bf16", 4096, 4096, 16): TileConfig(64, 128, 4, 4),
    ("gate_up", "bf16", 28672, 4096, 16): TileConfig(128, 128, 4, 3),
    ("down", "bf16", 4096, 14336, 16): TileConfig(64, 128, 4, 4),
    ("head", "bf16", 128256, 4096, 16): TileConfig(128, 128, 4, 3),
    ("qkv", "bf16", 6144, 4096, 32): TileConfig(64, 128, 4, 3),
    ("out", "bf16", 4096, 4096, 32): TileConfig(64, 128, 4, 4),
    ("gate_up", "bf16", 28672, 4096, 32): TileConfig(128, 64, 4, 4),
    ("down", "bf16", 4096, 14336, 32): TileConfig(64, 128, 4, 4),
    ("head", "bf16", 128256, 4096, 32): TileConfig(128, 64, 4, 4),
    ("qkv", "bf16", 6144, 4096, 64): TileConfig(64, 128, 4, 3),
    ("out", "bf16", 4096, 4096, 64): TileConfig(64, 128, 4, 3),
    ("gate_up", "bf16", 28672, 4096, 64): TileConfig(128, 64, 8, 4),
    ("down", "bf16", 4096, 14336, 64): TileConfig(64, 128, 4, 3),
    ("head", "bf16", 128256, 4096, 64): TileConfig(128, 64, 4, 4),
    ("qkv", "int8", 6144, 4096, 16): TileConfig(64, 256, 4, 3),
    ("out", "int8", 4096, 4096, 16): TileConfig(64, 256, 4, 3),
    ("gate_up", "int8", 28672, 4096, 16): TileConfig(64, 256, 4, 2),
    ("down", "int8", 4096, 14336, 16): TileConfig(64, 256, 4, 3),
    ("head", "int8", 128256, 4096, 16): TileConfig(128, 256, 4, 2),
    ("qkv", "int8", 6144, 4096, 32): TileConfig(64, 256, 4, 3),
    ("out", "int8", 4096, 4096, 32): TileConfig(64, 256, 4, 3),
    ("gate_up", "int8", 28672, 4096, 32): TileConfig(128, 128, 4, 3),
    ("down", "int8", 4096, 14336, 32): TileConfig(64, 256, 4, 3),
    ("head", "int8", 128256, 4096, 32): TileConfig(128, 128, 4, 4),
    ("qkv", "int8", 6144, 4096, 64): TileConfig(128, 256, 8, 3),
    ("out", "int8", 4096, 4096, 64): TileConfig(64, 256, 4, 2),
    ("gate_up", "int8", 28672, 4096, 64): TileConfig(128, 256, 8, 3),
    ("down", "int8", 4096, 14336, 64): TileConfig(128, 256, 8, 3),
    ("head", "int8", 128256, 4096, 64): TileConfig(128, 128, 4, 4),
    ("qkv", "int4", 6144, 4096, 16): TileConfig(64, 256, 4, 3),
    ("out", "int4", 4096, 4096, 16): TileConfig(64, 256, 4, 3),
    ("gate_up", "int4", 28672, 4096, 16): TileConfig(128, 256, 4, 3),
    ("down", "int4", 4096, 14336, 16): TileConfig(128, 256, 8, 3),
    ("head", "int4", 128256, 4096, 16): TileConfig(128, 256, 8, 3),
    ("qkv", "int4", 6144, 4096, 32): TileConfig(64, 256, 4, 3),
    ("out", "int4", 4096, 4096, 32): TileConfig(128, 256, 4, 3),
    ("gate_up", "int4", 28672, 4096, 32): TileConfig(128, 256, 4, 3),
    ("down", "int4", 4096, 14336, 32): TileConfig(128, 128, 4, 4),
    ("head", "int4", 128256, 4096, 32): TileConfig(128, 256, 4, 3),
    ("qkv", "int4", 6144, 4096, 64): TileConfig(64, 128, 4, 3),
    ("out", "int4", 4096, 4096, 64): TileConfig(64, 128, 4, 4),
    ("gate_up", "int4", 28672, 4096, 64): TileConfig(128, 256, 8, 3),
    ("down", "int4", 4096, 14336, 64): TileConfig(64, 128, 4, 4),
    ("head", "int4", 128256, 4096, 64): TileConfig(128, 256, 8, 3),
    ("qkv", "bf16", 3072, 2048, 16): TileConfig(64, 64, 4, 6),
    ("out", "bf16", 2048, 2048, 16): TileConfig(64, 256, 4, 3),
    ("gate_up", "bf16", 16384, 2048, 16): TileConfig(64, 128, 4, 3),
    ("down", "bf16", 2048, 8192, 16): TileConfig(64, 256, 4, 3),
    ("head", "bf16", 128256, 2048, 16): TileConfig(128, 128, 4, 3),
    ("qkv", "int8", 1024, 512, 16): TileConfig(16, 128, 2, 4),
    ("out", "int8", 512, 512, 16): TileConfig(16, 128, 2, 4),
    ("gate_up", "int8", 2816, 512, 16): TileConfig(16, 128, 2, 4),
    ("down", "int8", 512, 1408, 16): TileConfig(16, 256, 2, 3),
    ("gate_up", "int8", 3072, 512, 16): TileConfig(16, 128, 2, 4),
    ("down", "int8", 512, 1536, 16): TileConfig(16, 128, 2, 4),
    ("gate_up", "bf16", 3072, 512, 16): TileConfig(16, 128, 2, 4),
    ("down", "bf16", 512, 1536, 16): TileConfig(16, 512, 2, 3),
    # Blocks of K that are parts, see SPLIT_K.
    ("qkv", "int8", 1024, 512, 32): TileConfig(16, 128, 2, 4),
    ("qkv", "int8", 1024, 512, 64): TileConfig(32, 128, 2, 4),
    ("out", "int8", 512, 512, 32): TileConfig(16, 128, 2, 4),
    ("out", "int8", 512, 512, 64): TileConfig(32, 128, 2, 4),
    ("gate_up", "int8", 3072, 512, 32): TileConfig(16, 128, 2, 4),
    ("gate_up", "int8", 3072, 512, 64): TileConfig(32, 128, 2, 4),
    ("down", "int8", 512, 1536, 32): TileConfig(16, 128, 2, 4),
    ("down", "int8", 512, 1536, 64): TileConfig(32, 128, 2, 4),
    ("head", "bf16", 17024, 512, 16): TileConfig(64, 128, 4, 3),
    ("head", "int8", 16000, 512, 16): TileConfig(64, 256, 4, 4),
    ("qkv", "bf16", 1024, 512, 16): TileConfig(16, 512, 2, 2),
    ("out", "bf16", 512, 512, 16): TileConfig(16, 128, 2, 4),
    ("gate_up", "bf16", 2816, 512, 16): TileConfig(64, 64, 4, 6),
    ("down", "bf16", 512, 1408, 16): TileConfig(64, 64, 4, 6),
    ("head", "bf16", 16000, 512, 16): TileConfig(64, 128, 4, 4),
}


# Measured on an H100: LLaMA-3-70B, and the halves of both that two GPUs have.
TUNED |= {
    ("qkv", "int4", 10240, 8192, 16): TileConfig(64, 256, 4, 3),
    ("out", "int4", 8192, 8192, 16): TileConfig(64, 256, 4, 3),
    ("gate_up", "int4", 57344, 8192, 16): TileConfig(128, 128, 4, 4),
    ("down", "int4", 8192, 28672, 16): TileConfig(64, 256, 4, 3),
    ("head", "int4", 128256, 8192, 16): TileConfig(128, 256, 4, 3),
    ("out", "int4", 8192, 8192, 32): TileConfig(128, 128, 8, 4),
    ("down", "int4", 8192, 28672, 32): TileConfig(64, 256, 4, 3),
    ("out", "int4", 8192, 8192, 64): TileConfig(64, 256, 4, 3),
    ("down", "int4", 8192, 28672, 64): TileConfig(64, 256, 4, 3),
    ("qkv", "int4", 5120, 8192, 16): TileConfig(64, 256, 4, 3),
    ("out", "int4", 8192, 4096, 16): TileConfig(64, 256, 4, 4),
    ("gate_up", "int4", 28672, 8192, 16): TileConfig(128, 256, 4, 3),
    ("down", "int4", 8192, 14336, 16): TileConfig(64, 256, 4, 3),
    ("head", "int4", 64128, 8192, 16): TileConfig(128, 256, 4, 3),
    ("qkv", "bf16", 3072, 4096, 16): TileConfig(64, 128, 4, 3),
    ("out", "bf16", 4096, 2048, 16): TileConfig(64, 256, 4, 3),
    ("gate_up", "bf16", 14336, 4096, 16): TileConfig(64, 128, 4, 3),
    ("down", "bf16", 4096, 7168, 16): TileConfig(64, 256, 4, 3),
    ("head", "bf16", 64128, 4096, 16): TileConfig(128, 128, 4, 3),
    ("qkv", "int8", 3072, 4096, 16): TileConfig(64, 128, 4, 4),
    ("out", "int8", 4096, 2048, 16): TileConfig(64, 256, 4, 4),
    ("gate_up", "int8", 14336, 4096, 16): TileConfig(64, 128, 4, 4),
    ("down", "int8", 4096, 7168, 16): TileConfig(64, 128, 4, 4),
    ("gate_up", "int8", 28672, 8192, 16): TileConfig(64, 256, 4, 2),
    ("down", "int8", 8192, 14336, 16): TileConfig(64, 256, 4, 4),
    ("qkv", "int8", 5120, 8192, 16): TileConfig(64, 128, 4, 4),
    ("out", "int8", 8192, 4096, 16): TileConfig(64, 256, 4, 4),
    ("gate_up", "int4", 14336, 4096, 16): TileConfig(128, 256, 4, 3),
    ("down", "int4", 4096, 7168, 16): TileConfig(64, 256, 4, 4),
    ("qkv", "int4", 3072, 4096, 16): TileConfig(64, 256, 4, 4),
}

# Where these were not measured, they take the tiles of LLaMA-3-8B's matrix of the same use.
_LIKE = {
    ("qkv", 6144, 4096): [(10240, 8192), (5120, 8192), (3072, 4096)],
    ("out", 4096, 4096): [(8192, 8192), (8192, 4096), (4096, 2048)],
    ("gate_up", 28672, 4096): [(57344, 8192), (28672, 8192), (14336, 4096)],
    ("down", 4096, 14336): [(8192, 28672), (8192, 14336), (4096, 7168)],
    ("head", 128256, 4096): [(128256, 8192), (64128, 8192), (64128, 4096)],
}
for (_use, _n, _k), _shapes in _LIKE.items():
    for _shape in _shapes:
        for _form in ("bf16", "int8", "int4"):
            for _height in (16, 32, 64):
                _tile = TUNED[(_use, _form, _n, _k, _height)]
                TUNED.setdefault((_use, _form, *_shape, _height), _tile)

# Tiles of long prompts, which read a weight less often, by (kernel, stored form): height, tile.
# Measured on an H100 over LLaMA-3-8B in steps of 256, 512 and 1,024 rows (benchmarks/results).
TALL: dict[tuple[str, str], tuple[int, TileConfig]] = {
    ("qkv", "bf16"): (128, TileConfig(128, 64, 8, 4)),
    ("qkv", "int8"): (128, TileConfig(128, 64, 8, 4)),
    ("qkv", "fp8"): (128, TileConfig(128, 64, 8, 4)),
    ("out", "bf16"): (128, TileConfig(128, 64, 8, 4)),
    ("out", "int8"): (128, TileConfig(128, 64, 8, 4)),
    ("out", "fp8"): (128, TileConfig(128, 64, 8, 4)),
    ("down", "bf16"): (128, TileConfig(128, 64, 8, 4)),
    ("down", "int8"): (128, TileConfig(128, 64, 8, 4)),
    ("down", "fp8"): (128, TileConfig(128, 64, 8, 4)),
    ("gate_up", "bf16"): (256, TileConfig(128, 64, 8, 4)),
    ("gate_up", "int8"): (128, TileConfig(256, 64, 8, 3)),
    ("gate_up", "int4"): (128, TileConfig(128, 128, 8, 3)),
    ("gate_up", "fp8"): (256, TileConfig(128, 64, 8, 3)),
    ("head", "bf16"): (256, TileConfig(128, 64, 8, 4)),
}

# Parts that K is cut into, by (kernel, stored form, n, k) and never by the number of rows: a row's
# sums are the same at every width.
SPLIT_K: dict[tuple[str, str, int, int], int] = {
    ("qkv", "bf16", 6144, 4096): 2,
    ("out", "bf16", 4096, 4096): 4,
    ("down", "bf16", 4096, 14336): 4,
    ("qkv", "int8", 6144, 4096): 2,
    ("out", "int8", 4096, 4096): 4,
    ("down", "int8", 4096, 14336): 4,
    ("qkv", "int4", 6144, 4096): 2,
    ("out", "int4", 4096, 4096): 4,
    ("down", "int4", 4096, 14336): 8,
    ("qkv", "int4", 10240, 8192): 1,
    ("out", "int4", 8192, 8192): 4,
    ("down", "int4", 8192, 28672): 8,
    ("qkv", "int4", 5120, 8192): 4,
    ("out", "int4", 8192, 4096): 1,
    ("down", "int4", 8192, 14336): 4,
    ("qkv", "int8", 5120, 8192): 4,
    ("out", "int8", 8192, 4096): 1,
    ("down", "int8", 8192, 14336): 1,
    ("qkv", "bf16", 3072, 4096): 4,
    ("out", "bf16", 4096, 2048): 4,
    ("down", "bf16", 4096, 7168): 4,
    ("qkv", "int8", 3072, 4096): 4,
    ("out", "int8", 4096, 2048): 4,
    ("down", "int8", 4096, 7168): 4,
    ("qkv", "int4", 3072, 4096): 8,
    ("out", "int4", 4096, 2048): 4,
    ("down", "int4", 4096, 7168): 4,
    ("qkv", "bf16", 3072, 2048): 4,
    ("out", "bf16", 2048, 2048): 4,
    ("down", "bf16", 2048, 8192): 4,
    # As `kernels.small` has them: a kv head's part of out, and what eight warps share.
    ("qkv", "int8", 1024, 512): 4,
    ("out", "int8", 512, 512): 4,
    ("gate_up", "int8", 3072, 512): 4,
    ("down", "int8", 512, 1408): 2,
    ("down", "int8", 512, 1536): 4,
    ("qkv", "bf16", 1024, 512): 1,
    ("out", "bf16", 512, 512): 1,
    ("down", "bf16", 512, 1408): 8,
}


def split_parts(kernel: str, form: str, n: int, k: int) -> int:
    """Return how many parts K is cut into; the head is not."""
    return SPLIT_K.get((kernel, form, n, k)) or default_parts(kernel, form, n, k)


def default_parts(kernel: str, form: str, n: int, k: int) -> int:
    """Return parts that give a GPU of some 130 processors about two programs each."""
    if kernel not in ("qkv", "out", "down") or is_narrow(kernel, form, n, k):
        return 1
    programs = n // 64
    fits = [p for p in (2, 4, 8) if programs * p <= 300 and k % (p * 256) == 0 and k // p >= 512]
    return max(fits, default=1)


def tile_config(kernel: str, form: str, n: int, k: int, block_m: int) -> TileConfig:
    """Return the tile of a kernel ("qkv", "out", "gate_up", "down" or "head").

    Args:
        kernel: which use of the matrix.
        form: "bf16", "int8", "int4", "fp8".
        n, k: shape of the weight.
        block_m: 16, 32 or 64, see `block_rows`.
    """
    found = TUNED.get((kernel, form, n, k, block_m))
    return found or default_config(kernel, form, n, k, block_m)


def matrix_parts(kernel: str, matrix: Matrix) -> int:
    """Return how many parts K of one matrix is cut into; see `split_parts`."""
    return split_parts(kernel, matrix.format, matrix.n, matrix.k)


def matrix_plan(
    kernel: str, matrix: Matrix, rows: int, launch: Launch, scratch: SplitScratch | None = None
) -> Plan:
    """Return how a kernel runs over one matrix in a step of so many rows.

    Args:
        scratch: where the programs of a tile may share its parts, if that pays; None: one takes
            all in turn.
    """
    height, tile = step_tile(kernel, matrix, rows, tall=launch.tall)
    parts = matrix_parts(kernel, matrix)
    # Parts of one block each cost a program that has all of them nothing; int4 has them in turn.
    is_whole = matrix.k // parts == tile.block_k and matrix.format != "int4"
    is_shared = shares_parts(rows) and not is_whole
    return Plan(height, tile, launch, parts, scratch if is_shared else None)


def step_tile(
    kernel: str, matrix: Matrix, rows: int, *, tall: bool = False
) -> tuple[int, TileConfig]:
    """Return the height of a matrix's tiles, in rows of the step, and the tile.

    Args:
        tall: whether the GPU has room for tall ones.
    """
    form, n, k = matrix.format, matrix.n, matrix.k
    if tall and (kernel, form) in TALL and not is_narrow(kernel, form, n, k):
        height, tile = TALL[(kernel, form)]
        is_whole = kernel != "head" or tile.block_n == head_block_n(n, k)
        if is_whole and rows // height * triton.cdiv(n, tile.block_n) >= _ENOUGH:
            return height, tile
    height = block_rows(rows)
    return height, tile_config(kernel, form, n, k, height)


def shares_parts(rows: int) -> bool:
    """Return whether the parts of a tile run side by side: in steps of few tiles."""
    return rows <= _SHORT


def is_narrow(kernel: str, form: str, n: int, k: int) -> bool:
    """Return whether the tiles of a matrix are narrow, at every height.

    64 rows of a weight and four warps fill Hopper's wide instruction; fewer take an older one that
    rounds differently, so the choice has to be the same at every height.
    """
    if form == "int4":  # its programs write whole blocks
        return False
    found = TUNED.get((kernel, form, n, k, 16))
    if found:
        return found.block_n < 64 or found.warps < 4
    return kernel != "head" and n * k < 1 << 21


def head_block_n(n: int, k: int) -> int:
    """Return the columns of the LM head's tiles: a small head needs more programs."""
    return 64 if n * k < 1 << 25 else 128


def default_config(kernel: str, form: str, n: int, k: int, block_m: int) -> TileConfig:
    """Return a tile that does well with any shape: some 48 KiB of weights in flight a program."""
    widest = max(128, triton.next_power_of_2(k))
    if is_narrow(kernel, form, n, k):
        return TileConfig(32 if block_m == 64 else 16, min(256, widest), 2, 3)
    block_n = head_block_n(n, k) if kernel == "head" else 64 if block_m < 64 else 128
    if form == "int4" and kernel == "gate_up":
        block_n = 128
    if form in ("int8", "fp8"):
        return TileConfig(block_n, 128, 8 if block_m == 64 else 4, 4)
    if form == "int4":
        block_k = 128 if block_m == 64 else 256  # each block has an accumulator of its own
        return TileConfig(block_n, block_k, 8 if block_n == 128 else 4, 3)
    return TileConfig(block_n, 64 if block_n == 128 else 128, 8 if block_m == 64 else 4, 4)
