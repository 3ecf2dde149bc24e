"""Gluon's changing names."""

from tokenspeed.kernels import gluon_names


def test_this_triton_has_what_the_persistent_kernel_needs() -> None:
    assert callable(gluon_names.barrier)
    assert callable(gluon_names.tma_load)
