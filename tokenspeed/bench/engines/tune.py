"""Choose tiles offline: measure every candidate of a matrix kernel, with a cold L2.

Weights are copied at least 8 times and until they exceed the L2 several times over, and one graph
runs over all copies, so that no weight is in the L2 when it is read.
"""

import math
import statistics
from dataclasses import replace

import torch
import triton
from torch import Tensor
from triton.runtime.errors import OutOfResources

from tokenspeed.backends.cuda_weights import row_dtype
from tokenspeed.kernels.gate_up import gate_up
from tokenspeed.kernels.launch import Launch
from tokenspeed.kernels.lm_head import HeadScratch, Wanted, head_scratch, lm_head
from tokenspeed.kernels.matrix import BITS, PANEL, WORDS, Matrix
from tokenspeed.kernels.norm import HiddenStates, Scaled
from tokenspeed.kernels.plan import Plan
from tokenspeed.kernels.projection import projection
from tokenspeed.kernels.qkv import Rotation, qkv
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.kernels.split_k import SplitScratch, split_needs, split_scratch
from tokenspeed.kernels.tile import TileConfig
from tokenspeed.kernels.timing import event_ms
from tokenspeed.kernels.tuned import head_block_n, is_narrow, shares_parts, split_parts
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.weights import FUSED

KERNELS = (*FUSED, "head")
TUNING = Launch(pdl=3, tall=True)  # as tiles are used: one kernel right after another
TALL_HEIGHTS = (256, 128)  # of tiles of long prompts
_COLD_BYTES = 400 << 20  # several times the L2 of any current GPU


def candidates(
    kernel: str, form: str, n: int, k: int, block_m: int
) -> list[tuple[TileConfig, int]]:
    """Return the tiles worth measuring, each with the number of parts that K is split into.

    Above 16 rows, K is split as it is at 16 rows. Tiles over 64 rows are for matrices whose tiles
    are wide: narrow ones are on another instruction at every height. Those of int4 are all wide,
    and those of its `gate_up` write whole blocks.
    """
    if block_m in TALL_HEIGHTS:
        grid = [] if is_narrow(kernel, form, n, k) else _PROMPT[form]
    else:
        grid = [*_NARROW, *_WIDE[form]] if block_m == 16 else [*_NARROW_TALL, *_TALL[form]]
    if form == "int4":
        least_n = 128 if kernel == "gate_up" else 64
        grid = [tile for tile in grid if tile[0] >= least_n and tile[2] >= 4]
    if kernel == "head":
        grid = [tile for tile in grid if tile[0] == head_block_n(n, k)]
    least = 128 if form == "int4" else 0
    fits = [tile for tile in grid if least <= tile[1] <= max(triton.next_power_of_2(k), 256)]
    unit = {"int8": 64, "int4": 256}.get(form, 16)
    if block_m > 16 or kernel in ("gate_up", "head"):
        parts = [split_parts(kernel, form, n, k)]
    else:
        parts = [p for p in (1, 2, 4, 8) if k % (p * unit) == 0 and n * p <= 1 << 16]
    found = [(TileConfig(*tile), p) for tile in dict.fromkeys(fits) for p in parts]
    return [(tile, p) for tile, p in found if p == 1 or tile.block_k <= k // p]


# block_n, block_k, warps, stages.
_NARROW = [(16, 128, 2, 4), (16, 256, 2, 3), (16, 512, 2, 2), (16, 512, 2, 3), (32, 256, 2, 3),
           (32, 256, 4, 3), (32, 512, 2, 2), (32, 512, 4, 2), (32, 512, 4, 3), (64, 128, 2, 4),
           (64, 256, 2, 2), (64, 256, 2, 3)]  # fmt: skip
_NARROW_TALL = [(32, 128, 2, 4), (32, 256, 2, 2), (32, 256, 4, 2), (64, 128, 2, 3), (64, 256, 2, 2)]
_WIDE = {
    "bf16": [(64, 64, 4, 6), (64, 128, 4, 3), (64, 128, 4, 4), (64, 256, 4, 3), (128, 64, 4, 4),
             (128, 128, 4, 3), (128, 128, 8, 3)],
    "int8": [(64, 128, 4, 4), (64, 256, 4, 2), (64, 256, 4, 3), (64, 256, 4, 4), (64, 512, 4, 2),
             (128, 128, 4, 4), (128, 256, 4, 3), (128, 256, 8, 3)],
    "int4": [(64, 128, 4, 4), (64, 128, 4, 6), (64, 256, 4, 2), (64, 256, 4, 3), (64, 256, 4, 4),
             (64, 512, 4, 2), (128, 128, 4, 4), (128, 128, 8, 6), (128, 256, 4, 3),
             (128, 256, 8, 3), (128, 256, 8, 4)],
    "fp8": [(64, 128, 4, 4), (64, 256, 4, 3), (128, 128, 4, 4)],
}  # fmt: skip
_TALL = {
    "bf16": [(64, 64, 4, 4), (64, 128, 4, 3), (128, 64, 4, 4), (128, 64, 8, 4), (128, 128, 8, 3)],
    "int8": [(64, 128, 4, 4), (64, 256, 4, 3), (128, 128, 8, 4), (128, 128, 4, 3)],
    "int4": [
        (64, 128, 4, 3),
        (64, 128, 4, 4),
        (64, 256, 4, 2),
        (64, 256, 4, 3),
        (128, 128, 8, 3),
        (128, 128, 8, 4),
        (128, 256, 4, 3),
        (128, 256, 8, 2),
        (128, 256, 8, 3),
    ],
    "fp8": [(64, 128, 4, 4), (128, 64, 8, 4)],
}
# Tried at 128 and 256 rows; what does not fit is passed over.
_PROMPT = {
    "bf16": [(64, 64, 4, 3), (64, 64, 4, 4), (128, 32, 8, 4), (128, 64, 4, 3), (128, 64, 8, 2),
             (128, 64, 8, 3), (128, 64, 8, 4), (256, 64, 8, 3)],
    "int8": [(64, 64, 4, 4), (64, 128, 4, 3), (128, 64, 8, 3), (128, 64, 8, 4), (128, 128, 8, 2),
             (128, 128, 8, 3), (256, 64, 8, 3)],
    "int4": [(64, 128, 4, 3), (64, 256, 8, 2), (128, 128, 8, 3), (128, 256, 8, 2)],
    "fp8": [(64, 64, 4, 4), (128, 64, 8, 3), (128, 128, 8, 3)],
}  # fmt: skip


class Bench:
    """One kernel over one (n, k, form): inputs, copies of the weight, and launches of it.

    Args:
        kernel: one of KERNELS. matrices: copies of one weight; on "meta" to record launches only.
        config: of the model, for the shapes of the other inputs.
        rows: of a step.
    """

    def __init__(self, kernel: str, matrices: list[Matrix], config: ModelConfig, rows: int) -> None:
        self.kernel, self.matrices, self.config, self.rows = kernel, matrices, config, rows
        device = matrices[0].data.device
        n, k = matrices[0].n, matrices[0].k

        row = row_dtype(matrices[0].format)

        def noise(*shape: int, dtype: torch.dtype = row) -> Tensor:
            if device.type == "meta":
                return torch.empty(shape, dtype=dtype, device=device)
            return torch.randn(shape, device=device).to(dtype)

        def whole(*shape: int, value: int = 0, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.full(shape, value, dtype=dtype, device=device)

        self.x, self.norm = noise(rows, k), noise(n)
        self.hidden, self.scaled = noise(rows, n, dtype=torch.float32), noise(rows, n)
        self.sums = whole(rows, value=k << 32, dtype=torch.int64)
        self.slots, self.positions = whole(rows), whole(rows)
        # Different ones: many programs that ask for one line of the L2 wait for each other.
        self.outputs = torch.arange(rows, dtype=torch.int32, device=device)
        self.drafts = whole(rows, value=-1)
        self.count = whole(1, value=rows)
        heads = (config.num_heads, config.head_dim)
        self.q = noise(rows, *heads)
        self.cache = noise(1, config.num_kv_heads, 16, config.head_dim)
        self.angles = noise(16, config.head_dim // 2, dtype=torch.float32)
        self.inner = noise(rows, config.intermediate_size)
        self.scratch: dict[int, HeadScratch] = {}  # by block_n
        self.split: SplitScratch | None = None

    def launch(
        self, matrix: Matrix, block_m: int, tile: TileConfig, launch: Launch, parts: int = 1
    ) -> None:
        """Launch the kernel once over one copy, with K split into parts."""
        plan = Plan(block_m, tile, launch)
        x, in_blocks = Scaled(self.x, self.sums), matrix.reads_blocks  # all of a model alike
        if self.kernel != "head":
            plan = replace(plan, split_k=parts)
            if shares_parts(self.rows) and matrix.k // parts > tile.block_k:  # as `matrix_plan`
                plan = replace(plan, scratch=self._shared(matrix, block_m, tile, parts))
        if self.kernel == "qkv":
            rotation, places = (
                Rotation(self.angles, self.angles),
                Places(self.slots, self.positions),
            )
            cache = Cache(self.cache, self.cache)
            qkv(x, matrix, rotation, places, self.count, self.q, cache, eps=1e-5, plan=plan)
        elif self.kernel == "gate_up":
            inner = self.count, self.inner
            gate_up(x, matrix, *inner, eps=1e-5, plan=plan, in_blocks=in_blocks)
        elif self.kernel == "head":
            if tile.block_n not in self.scratch:
                device = str(self.x.device)
                self.scratch[tile.block_n] = head_scratch(self.rows, matrix.n, tile.block_n, device)
            scratch = self.scratch[tile.block_n]
            wanted = Wanted(self.outputs, self.count, self.drafts)
            lm_head(x, matrix, wanted, scratch, None, rows=self.rows, eps=1e-5, plan=plan)
        else:
            hidden = HiddenStates(self.hidden, self.scaled, self.sums)
            written = self.norm, self.count, hidden
            projection(self.x, matrix, *written, plan=plan, in_blocks=in_blocks)

    def _shared(self, matrix: Matrix, block_m: int, tile: TileConfig, parts: int) -> SplitScratch:
        elements, tiles = split_needs(self.rows, matrix.n, block_m, tile, parts)
        if (
            self.split is None
            or len(self.split.parts) < elements
            or len(self.split.counters) < tiles
        ):
            self.split = split_scratch(elements, tiles, str(self.x.device))
        return self.split

    def microseconds(
        self, block_m: int, tile: TileConfig, parts: int = 1, repeats: int = 5
    ) -> float:
        """Time one launch, cold: the median over replays of a graph over all copies.

        Returns:
            Infinity: the tile does not fit the GPU.
        """
        launch = TUNING
        try:
            self.launch(self.matrices[0], block_m, tile, launch, parts)
        except OutOfResources:
            return math.inf
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for matrix in self.matrices:
                self.launch(matrix, block_m, tile, launch, parts)
        times = event_ms(graph.replay, repeats, warmup=1)
        return statistics.median(times) * 1e3 / len(self.matrices)


def copies(matrix: Matrix) -> list[Matrix]:
    """Return the matrix and enough copies of it to make every read cold."""
    count = max(8, -(-_COLD_BYTES // matrix.nbytes))
    more = [
        Matrix(matrix.data.clone(), matrix.scale.clone(), matrix.n, matrix.k, matrix.format)
        for _ in range(count - 1)
    ]
    return [matrix, *more]


def meta_matrix(form: str, n: int, k: int) -> Matrix:
    """Return a matrix without values, for compiling."""
    if form in BITS:
        units = -(-k // (WORDS * 16 // BITS[form]))
        data = torch.empty(-(-n // PANEL), units, PANEL, WORDS, dtype=torch.int16, device="meta")
        scale = torch.empty(-(-k // 256), n, dtype=torch.int32, device="meta")
        return Matrix(data, scale if form == "int4" else torch.empty(n, device="meta"), n, k, form)
    kinds = {"bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
    data = torch.empty(n, k, dtype=kinds[form], device="meta")
    return Matrix(data, torch.empty(1 if form == "bf16" else n, device="meta"), n, k, form)
