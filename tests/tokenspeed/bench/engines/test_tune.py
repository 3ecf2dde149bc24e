"""Which tiles are worth measuring: those that a matrix allows, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.kernels.support import FORMATS, matrix, random
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.tune import (
    KERNELS,
    TALL_HEIGHTS,
    Bench,
    candidates,
    copies,
    meta_matrix,
)
from tokenspeed.kernels.launch import Launch
from tokenspeed.kernels.tuned import head_block_n, is_narrow, split_parts, tile_config
from tokenspeed.model.weights import fused_shape


@given(
    st.sampled_from(KERNELS),
    st.sampled_from(FORMATS),
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from([16, 32, 64, *TALL_HEIGHTS]),
)
def test_candidates_fit_the_matrix(kernel: str, form: str, shape: str, block_m: int) -> None:
    n, k = fused_shape(SHAPES[shape], kernel)
    found = candidates(kernel, form, n, k, block_m)
    assert len(found) == len(set(found))
    # int4 in groups of 256 columns needs a K of whole groups; narrow tiles are never high.
    is_none = block_m in TALL_HEIGHTS and is_narrow(kernel, form, n, k)
    assert found or is_none or (form == "int4" and k % 256)
    for tile, parts in found:
        assert k % parts == 0
        assert parts == 1 or tile.block_k <= k // parts
        if form == "int4":  # groups of a scale, and whole blocks of what is written
            assert tile.block_k % 128 == 0
            assert tile.block_n >= (128 if kernel == "gate_up" else 64)
            assert tile.warps >= 4
        assert kernel != "head" or tile.block_n == head_block_n(n, k)
        assert kernel != "head" or parts == 1
        # Tall steps sum in the same parts as short ones, or their bits would differ.
        is_tried = block_m == 16 and kernel != "gate_up"
        assert is_tried or parts == split_parts(kernel, form, n, k)


@pytest.mark.parametrize("form", FORMATS)
def test_a_matrix_without_values_is_one_of_that_form(form: str) -> None:
    real, meta = matrix(random(256, 512), form), meta_matrix(form, 256, 512)
    for name in ("data", "scale"):
        one, other = getattr(real, name), getattr(meta, name)
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    assert (meta.n, meta.k, meta.format, meta.nbytes) == (real.n, real.k, real.format, real.nbytes)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_can_be_launched_without_its_model(kernel: str) -> None:
    config = SHAPES["default-38m"]
    n, k = fused_shape(config, kernel)
    launch = Launch(recorded=[])
    bench = Bench(kernel, [meta_matrix("int8", n, k)], config, rows=1)
    parts = split_parts(kernel, "int8", n, k)
    bench.launch(bench.matrices[0], 16, tile_config(kernel, "int8", n, k, 16), launch, parts)
    assert launch.recorded is not None
    assert len(launch.recorded) == 1


def test_copies_exceed_every_cache() -> None:
    one = meta_matrix("int8", 4096, 4096)
    made = copies(one)
    assert made[0] is one
    assert len(made) * one.nbytes >= 400 << 20
    assert len({id(m.data) for m in made}) == len(made)
    assert len(copies(meta_matrix("bf16", 128256, 4096))) == 8
