"""How kernels are launched: recorded or made, and when the next one may start.

Changes nothing in what they compute.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from tokenspeed.kernels.arithmetic import INTERPRETED


class Overlap(NamedTuple):
    """What a kernel does while its predecessor still runs: a constant of it; see `Launch`."""

    pdl: int
    prefetch_bytes: int


@dataclass(frozen=True)
class Launch:
    """How kernels are launched; changes nothing in what they compute.

    Attributes:
        pdl: programmatic dependent launch (sm_90 and later). 0: none. Else when a kernel lets the
            next one start: 1 as it begins, 2 when its own inputs are there, 3 after its main loop.
        prefetch_bytes: with pdl, how many bytes at the start of each weight row are prefetched
            before waiting for the preceding kernel; a multiple of 128, 0 is none.
        fast_unpack: unpack int8 and int4 by PTX (NVIDIA only).
        tall: long steps may take tiles of 128 and 256 rows, which need 200 KiB of shared memory.
        recorded: if given, launches are recorded here instead of made, to compile them beforehand.
    """

    pdl: int = 0
    prefetch_bytes: int = 0
    fast_unpack: bool = not INTERPRETED
    tall: bool = False
    recorded: "list[RecordedLaunch] | None" = None

    @property
    def overlap(self) -> Overlap:
        return Overlap(self.pdl, self.prefetch_bytes)

    def start(self, kernel: Any, grid: tuple[int, ...], *args: Any, **constants: Any) -> None:
        """Launch a kernel.

        Args:
            args: tensors, floats and named tuples of tensors; no field may be called `values` or
                `type`, as Triton's own tuples have them.
            constants: its constexpr parameters, plain or as named tuples, and num_warps,
                num_stages.
        """
        # Without fusion by the compiler, expressions round the same way at every tile height.
        constants["enable_fp_fusion"] = False
        if self.pdl:
            constants["launch_pdl"] = True
        if self.recorded is not None:
            self.recorded.append(RecordedLaunch(kernel, args, constants))
        else:
            kernel[grid](*args, **constants)


@dataclass(frozen=True)
class RecordedLaunch:
    """A launch that was recorded instead of made."""

    kernel: Any
    args: tuple[Any, ...]
    constants: dict[str, Any]


@triton.jit
def wait_for_inputs(PDL: tl.constexpr):
    """Let the next kernel be scheduled, and wait for everything that the preceding one wrote.

    Every program of every kernel calls this before it reads or writes anything that changes, even
    if it has nothing to do: otherwise a kernel could end before its predecessor.
    """
    if PDL == 1:
        gdc_launch_dependents()
    if PDL:
        gdc_wait()
    if PDL == 2:
        gdc_launch_dependents()


@triton.jit
def main_loop_done(PDL: tl.constexpr):
    """Let the next kernel be scheduled while this one writes its results."""
    if PDL == 3:
        gdc_launch_dependents()
