"""Which tile each matrix kernel uses: a table measured offline, and a rule for other shapes.

Chosen with a cold L2 by `tokenspeed bench kernels --tune`, so that no start has to. Keys are
(kernel, stored form, n, k, tile height). The LM head keeps one block_n at every height: its
programs' partial results are per block, and have to be the same blocks for every step.
"""

import triton

from tokenspeed.kernels.tile import TileConfig

HEAD_BLOCK_N = 64

# Measured on an H200 (benchmarks/results); block_n, block_k, warps, stages.
TUNED: dict[tuple[str, str, int, int, int], TileConfig] = {
    ("qkv", "bf16", 6144, 4096, 16): TileConfig(32, 256, 4, 4),
    ("qkv", "bf16", 6144, 4096, 32): TileConfig(32, 256, 4, 3),
    ("out", "bf16", 4096, 4096, 16): TileConfig(32, 128, 4, 5),
    ("out", "bf16", 4096, 4096, 32): TileConfig(32, 128, 4, 5),
    ("gate_up", "bf16", 28672, 4096, 16): TileConfig(128, 64, 4, 4),
    ("gate_up", "bf16", 28672, 4096, 32): TileConfig(128, 64, 4, 4),
    ("down", "bf16", 4096, 14336, 16): TileConfig(32, 256, 4, 4),
    ("down", "bf16", 4096, 14336, 32): TileConfig(32, 256, 4, 4),
    ("head", "bf16", 128256, 4096, 16): TileConfig(64, 128, 4, 4),
    ("head", "bf16", 128256, 4096, 32): TileConfig(64, 128, 4, 4),
    ("qkv", "int8", 6144, 4096, 16): TileConfig(32, 256, 4, 4),
    ("qkv", "int8", 6144, 4096, 32): TileConfig(64, 256, 4, 3),
    ("out", "int8", 4096, 4096, 16): TileConfig(32, 256, 4, 4),
    ("out", "int8", 4096, 4096, 32): TileConfig(16, 256, 4, 5),
    ("gate_up", "int8", 28672, 4096, 16): TileConfig(128, 128, 4, 4),
    ("gate_up", "int8", 28672, 4096, 32): TileConfig(128, 128, 4, 4),
    ("down", "int8", 4096, 14336, 16): TileConfig(32, 256, 4, 4),
    ("down", "int8", 4096, 14336, 32): TileConfig(32, 256, 4, 4),
    ("head", "int8", 128256, 4096, 16): TileConfig(64, 256, 4, 3),
    ("head", "int8", 128256, 4096, 32): TileConfig(64, 128, 4, 5),
    ("qkv", "int4", 6144, 4096, 16): TileConfig(64, 512, 4, 3),
    ("qkv", "int4", 6144, 4096, 32): TileConfig(64, 256, 4, 3),
    ("out", "int4", 4096, 4096, 16): TileConfig(32, 256, 4, 4),
    ("out", "int4", 4096, 4096, 32): TileConfig(64, 256, 4, 3),
    ("gate_up", "int4", 28672, 4096, 16): TileConfig(64, 256, 4, 3),
    ("gate_up", "int4", 28672, 4096, 32): TileConfig(128, 256, 4, 3),
    ("down", "int4", 4096, 14336, 16): TileConfig(32, 256, 4, 4),
    ("down", "int4", 4096, 14336, 32): TileConfig(64, 256, 4, 3),
    ("head", "int4", 128256, 4096, 16): TileConfig(64, 256, 4, 3),
    ("head", "int4", 128256, 4096, 32): TileConfig(64, 256, 4, 3),
    ("qkv", "int8", 1024, 512, 16): TileConfig(16, 512, 2, 3),
    ("out", "int8", 512, 512, 16): TileConfig(16, 512, 4, 4),
    ("gate_up", "int8", 2816, 512, 16): TileConfig(16, 512, 2, 3),
    ("down", "int8", 512, 1408, 16): TileConfig(16, 512, 4, 4),
    ("head", "int8", 16000, 512, 16): TileConfig(64, 256, 4, 3),
    ("qkv", "bf16", 3072, 2048, 16): TileConfig(32, 128, 4, 5),
    ("out", "bf16", 2048, 2048, 16): TileConfig(32, 256, 4, 4),
}


# Parts that K is cut into, by (kernel, stored form, n, k) and never by the number of rows: a row's
# sums are the same at every width. What is not here is not cut.
SPLIT_K: dict[tuple[str, str, int, int], int] = {}


def split_parts(kernel: str, form: str, n: int, k: int) -> int:
    """Return how many parts K is cut into; only "qkv", "out" and "down" can be cut."""
    return SPLIT_K.get((kernel, form, n, k), 1)


def tile_config(kernel: str, form: str, n: int, k: int, block_m: int) -> TileConfig:
    """Return the tile of a kernel ("qkv", "out", "gate_up", "down" or "head").

    Args:
        kernel: which use of the matrix.
        form: "bf16", "int8", "int4", "fp8".
        n, k: shape of the weight.
        block_m: 16, 32 or 64.
    """
    found = TUNED.get((kernel, form, n, k, block_m))
    return found or default_config(kernel, form, n, k, block_m)


def default_config(kernel: str, form: str, n: int, k: int, block_m: int) -> TileConfig:
    """Return a tile that is fair for any shape: about 48 KiB of weights in flight a program."""
    widest = max(32, triton.next_power_of_2(k))
    is_wide = kernel == "head" or n >= 8192
    if block_m == 64:
        # Two warps: with four, Hopper would take another instruction, with another rounding.
        if form == "int4":
            return TileConfig(HEAD_BLOCK_N if kernel == "head" else 32, 128, 2, 3)
        return TileConfig(64, min(64, widest), 2, 4)
    if form == "int4":
        return TileConfig(64 if is_wide else 32, 256 if widest >= 256 else 128, 4, 3)
    if is_wide:
        return TileConfig(64, min(128, widest), 4, 4)
    return TileConfig(16, min(512, widest), 2, 3)
