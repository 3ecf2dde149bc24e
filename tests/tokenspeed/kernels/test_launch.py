"""Launches that are only noted, and what each one says to the compiler."""

from typing import Any

import pytest

from tokenspeed.kernels.launch import Launch, Overlap, RecordedLaunch


class Kernel:
    """Takes launches as Triton's kernels do, and remembers them."""

    def __init__(self) -> None:
        self.launches: list[tuple[Any, ...]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *args, **constants: self.launches.append((grid, args, constants))


def test_a_recorded_launch_is_not_made() -> None:
    kernel, recorded = Kernel(), list[RecordedLaunch]()
    Launch(recorded=recorded).start(kernel, (3,), 1.0, SIZE=4)
    assert kernel.launches == []
    assert recorded == [
        RecordedLaunch(kernel, (1.0,), {"SIZE": 4, "enable_fp_fusion": False}),
    ]


@pytest.mark.parametrize("pdl", [0, 3])
def test_dependent_launch_is_asked_for_where_it_is_used(pdl: int) -> None:
    kernel = Kernel()
    Launch(pdl=pdl).start(kernel, (2, 1), 1.0, SIZE=4)
    ((grid, args, constants),) = kernel.launches
    assert (grid, args) == ((2, 1), (1.0,))
    assert constants.get("launch_pdl", False) == bool(pdl)
    assert constants["enable_fp_fusion"] is False


def test_the_overlap_is_what_a_kernel_is_compiled_for() -> None:
    assert Launch(pdl=3, prefetch_bytes=512).overlap == Overlap(3, 512)
