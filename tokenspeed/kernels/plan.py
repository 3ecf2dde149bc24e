"""How one matrix kernel runs over one weight: its tile, its parts along K, and its launch.

Knows how many programs that takes; does not know what they compute.
"""

from dataclasses import dataclass
from typing import Any

import triton

from tokenspeed.kernels.launch import Launch
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.split_k import (
    SplitK,
    SplitScratch,
    check_scratch,
    check_split,
    split_needs,
)
from tokenspeed.kernels.tile import Tile, TileConfig


@dataclass(frozen=True)
class Plan:
    """How a matrix kernel runs at one tile height.

    Attributes:
        block_m: rows of a tile.
        split_k: parts that K is cut into, the same at every number of rows.
        scratch: lets the parts of a short step run side by side; None: one after the other, with
            the same bits.
    """

    block_m: int
    config: TileConfig
    launch: Launch
    split_k: int = 1
    scratch: SplitScratch | None = None

    def start(self, kernel: Any, weight: Matrix, rows: int, *args: Any, **constants: Any) -> None:
        """Launch a kernel whose programs each take a tile of the weight.

        Args:
            kernel: gets args, and the constants MATRIX, TILE and OVERLAP besides those given.
            rows: of the step.
        """
        config, launch = self.config, self.launch
        grid = (triton.cdiv(rows, self.block_m), triton.cdiv(weight.n, config.block_n))
        tile = Tile(self.block_m, config.block_n, config.block_k, config.stages, launch.fast_unpack)
        shared = (self.split_k,) if self.is_shared else ()
        launch.start(
            kernel,
            grid + shared,
            *args,
            MATRIX=weight.type,
            TILE=tile,
            OVERLAP=launch.overlap,
            num_warps=config.warps,
            **constants,
        )

    def start_split(
        self,
        kernel: Any,
        weight: Matrix,
        rows: int,
        *args: Any,
        unused: SplitScratch,
        **constants: Any,
    ) -> None:
        """Launch a kernel whose programs may share a tile along K.

        Args:
            kernel: gets the scratch after args, and the constant SPLIT as well.
            unused: passed as the scratch where nothing is shared.
        Raises:
            ValueError: K cannot be cut into these parts, or the scratch is too small.
        """
        check_split(weight, self.split_k)
        scratch = unused
        if self.is_shared and self.scratch is not None:
            scratch = self.scratch
            needs = split_needs(rows, weight.n, self.block_m, self.config, self.split_k)
            check_scratch(scratch, *needs)
        split = SplitK(self.split_k, self.is_shared)
        self.start(kernel, weight, rows, *args, scratch, SPLIT=split, **constants)

    @property
    def is_shared(self) -> bool:
        """Whether several programs share a tile."""
        return self.split_k > 1 and self.scratch is not None
