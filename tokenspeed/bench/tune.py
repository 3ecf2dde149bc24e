"""Choose tiles offline: every candidate of a matrix kernel, with a cold L2.

Weights are copied at least 8 times and until they exceed the L2 several times over, and one graph
runs over all copies, so that no weight is in the L2 when it is read.
"""

import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tokenspeed.bench.gpu import event_ms
from tokenspeed.config import ModelConfig
from tokenspeed.kernels.compile import Job, jobs
from tokenspeed.kernels.gate_up import gate_up
from tokenspeed.kernels.lm_head import HeadScratch, lm_head
from tokenspeed.kernels.projection import projection
from tokenspeed.kernels.qkv import qkv
from tokenspeed.kernels.tile import GROUP_SIZE, Launch, Matrix, TileConfig
from tokenspeed.kernels.tuned import HEAD_BLOCK_N

KERNELS = ("qkv", "out", "gate_up", "down", "head")
_COLD_BYTES = 400 << 20  # several times the L2 of any GPU so far


def matrix_shape(config: ModelConfig, kernel: str) -> tuple[int, int]:
    """Return (n, k) of the weight that a kernel reads."""
    hidden, inner = config.hidden_size, config.intermediate_size
    width = config.num_heads * config.head_dim
    return {
        "qkv": (width + 2 * config.num_kv_heads * config.head_dim, hidden),
        "out": (hidden, width),
        "gate_up": (2 * inner, hidden),
        "down": (hidden, inner),
        "head": (config.vocab_size, hidden),
    }[kernel]


def candidates(kernel: str, form: str, k: int, block_m: int) -> list[TileConfig]:
    """Return the tiles worth measuring."""
    if form == "bf16":
        grid = [(16, 512, 2, 3), (32, 128, 4, 5), (32, 256, 4, 3), (32, 256, 4, 4), (64, 64, 4, 6),
                (64, 128, 4, 4), (128, 64, 4, 4), (128, 128, 8, 3)]  # fmt: skip
    elif form == "int4":
        grid = [(32, 256, 4, 4), (32, 512, 4, 3), (64, 128, 4, 5), (64, 256, 4, 3),
                (64, 512, 4, 3), (128, 256, 4, 3)]  # fmt: skip
    else:
        grid = [(16, 512, 4, 4), (16, 512, 2, 3), (32, 256, 4, 4), (32, 256, 4, 6),
                (64, 128, 4, 5), (64, 256, 4, 3), (128, 128, 4, 4), (128, 256, 8, 3)]  # fmt: skip
    if k <= 2048:
        grid += [(16, 256, 2, 3), (16, 128, 2, 4), (32, 128, 2, 4), (64, 256, 4, 2)]
    if kernel == "head":
        grid = [tile for tile in grid if tile[0] == HEAD_BLOCK_N]
    fits = [tile for tile in grid if tile[1] <= max(k, GROUP_SIZE)]
    return [TileConfig(*tile) for tile in dict.fromkeys(fits)]


class Bench:
    """One kernel over one (n, k, form): inputs, copies of the weight, and launches of it.

    Args:
        kernel: one of KERNELS. matrices: copies of one weight; on "meta" only to record.
        config: of the model, for the shapes around the weight.
        rows: rows of a step.
    """

    def __init__(self, kernel: str, matrices: list[Matrix], config: ModelConfig, rows: int) -> None:
        self.kernel, self.matrices, self.config, self.rows = kernel, matrices, config, rows
        device = matrices[0].data.device
        n, k = matrices[0].n, matrices[0].k

        def noise(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
            if device.type == "meta":
                return torch.empty(shape, dtype=dtype, device=device)
            return torch.randn(shape, device=device).to(dtype)

        def whole(*shape: int, value: int = 0, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.full(shape, value, dtype=dtype, device=device)

        self.x, self.norm = noise(rows, k), noise(n)
        self.hidden, self.scaled = noise(rows, n, dtype=torch.float32), noise(rows, n)
        self.sums = whole(rows, value=k << 32, dtype=torch.int64)
        self.slots, self.positions = whole(rows), whole(rows)
        self.outputs, self.drafts = whole(rows), whole(rows, value=-1)
        self.count = whole(1, value=rows)
        heads = (config.num_heads, config.head_dim)
        self.q = noise(rows, *heads)
        self.cache = noise(1, config.num_kv_heads, 16, config.head_dim)
        self.angles = noise(16, config.head_dim // 2, dtype=torch.float32)
        self.inner = noise(rows, config.intermediate_size)
        self.scratch: dict[int, HeadScratch] = {}  # by block_n

    def launch(self, matrix: Matrix, block_m: int, tile: TileConfig, launch: Launch) -> None:
        """Launch the kernel once over one copy."""
        how: dict[str, Any] = {"block_m": block_m, "config": tile, "launch": launch}
        if self.kernel == "qkv":
            qkv(self.x, self.sums, matrix, self.angles, self.angles, self.slots, self.positions,
                self.count, self.q, self.cache, self.cache, eps=1e-5, **how)  # fmt: skip
        elif self.kernel == "gate_up":
            gate_up(self.x, self.sums, matrix, self.count, self.inner, eps=1e-5, **how)
        elif self.kernel == "head":
            if tile.block_n not in self.scratch:
                device = str(self.x.device)
                self.scratch[tile.block_n] = HeadScratch(self.rows, matrix.n, tile.block_n, device)
            scratch = self.scratch[tile.block_n]
            lm_head(self.x, self.sums, matrix, self.outputs, self.count, self.drafts, scratch,
                    None, rows=self.rows, eps=1e-5, **how)  # fmt: skip
        else:
            projection(self.x, matrix, self.norm, self.count, self.hidden, self.scaled, self.sums,
                       **how)  # fmt: skip

    def job(self, block_m: int, tile: TileConfig) -> Job:
        """Return what has to be compiled for a tile."""
        launch = Launch(recorded=[], fast_unpack=True)
        self.launch(self.matrices[0], block_m, tile, launch)
        return jobs(launch.recorded or [])[0]

    def microseconds(self, block_m: int, tile: TileConfig, repeats: int = 5) -> float:
        """Time one launch, cold: the median over replays of a graph over all copies."""
        launch = Launch()
        self.launch(self.matrices[0], block_m, tile, launch)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for matrix in self.matrices:
                self.launch(matrix, block_m, tile, launch)
        times = event_ms(graph.replay, repeats, warmup=1)
        return statistics.median(times) * 1e3 / len(self.matrices)


def copies(matrix: Matrix) -> list[Matrix]:
    """Return the matrix and as many copies of it as make every read a cold one."""
    count = max(8, -(-_COLD_BYTES // matrix.nbytes))
    more = [
        Matrix(matrix.data.clone(), matrix.scale.clone(), matrix.n, matrix.k, matrix.format)
        for _ in range(count - 1)
    ]
    return [matrix, *more]


def meta_matrix(form: str, n: int, k: int) -> Matrix:
    """Return a matrix without values, to compile for."""
    if form == "int4":
        data = torch.empty(-(-n // 16), k // 128, 16, 64, dtype=torch.uint8, device="meta")
        scale = torch.empty(k // 128, n, dtype=torch.float16, device="meta")
        return Matrix(data, scale, n, k, form)
    kinds = {"bf16": torch.bfloat16, "int8": torch.int8, "fp8": torch.float8_e4m3fn}
    data = torch.empty(n, k, dtype=kinds[form], device="meta")
    return Matrix(data, torch.empty(1 if form == "bf16" else n, device="meta"), n, k, form)


def tuning_jobs(config: ModelConfig, form: str, block_ms: tuple[int, ...]) -> Iterator[Job]:
    """Yield every kernel that tuning a model would run."""
    for kernel in KERNELS:
        n, k = matrix_shape(config, kernel)
        for block_m in block_ms:
            bench = Bench(kernel, [meta_matrix(form, n, k)], config, block_m)
            for tile in candidates(kernel, form, k, block_m):
                yield bench.job(block_m, tile)
