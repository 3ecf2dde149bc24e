"""The tables of tiles and parts: what keeps a row's bits the same at every width."""

from dataclasses import replace

import pytest

from tokenspeed.backends.cuda import default_launch
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.tune import KERNELS, candidates, meta_matrix
from tokenspeed.kernels.split_k import check_split, split_scratch
from tokenspeed.kernels.tile import block_rows
from tokenspeed.kernels.tuned import (
    SPLIT_K,
    TUNED,
    is_narrow,
    matrix_plan,
    split_parts,
    step_tile,
    tile_config,
)
from tokenspeed.model.sharding import Shard
from tokenspeed.model.weights import fused_shape

FORMS = ["bf16", "int8", "int4", "fp8"]
# Of the shapes in use, of the tests' models, and of ones nobody has tuned.
SIZES = [fused_shape(SHAPES[shape], kernel) for shape in SHAPES for kernel in KERNELS]
SIZES += [(48, 32), (100, 128), (5120, 13824), (1536, 8960), (2000, 256)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_matrix_keeps_its_kind_of_tile_at_every_height(kernel: str, form: str) -> None:
    for n, k in SIZES:
        tiles = [tile_config(kernel, form, n, k, height) for height in (16, 32, 64)]
        assert len({tile.block_n < 64 or tile.warps < 4 for tile in tiles}) == 1, (n, k, tiles)
        assert is_narrow(kernel, form, n, k) == (tiles[0].block_n < 64 or tiles[0].warps < 4)
        if kernel == "head":
            assert len({tile.block_n for tile in tiles}) == 1, (n, k, tiles)
        if form == "int4":  # groups of a scale, and whole blocks of what is written
            assert all(tile.block_k % 128 == 0 for tile in tiles)
            assert all(tile.block_n >= (128 if kernel == "gate_up" else 64) for tile in tiles)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_parts_fit_the_matrix(kernel: str, form: str) -> None:
    for n, k in SIZES:
        if form == "int4" and k % 128:
            continue
        check_split(meta_matrix(form, n, k), split_parts(kernel, form, n, k))


def test_the_tables_are_of_shapes_that_have_a_name() -> None:
    halves = [
        replace(Shard(0, 2).config(shape), vocab_size=shape.vocab_size // 2)
        for shape in SHAPES.values()
        if not shape.switches
    ]
    known = {(k, *fused_shape(shape, k)) for shape in (*SHAPES.values(), *halves) for k in KERNELS}
    assert {(kernel, n, k) for kernel, _, n, k, _ in TUNED} <= known
    assert {(kernel, n, k) for kernel, _, n, k in SPLIT_K} <= known


def test_candidates_differ_in_nothing_that_would_change_bits() -> None:
    n, k = fused_shape(SHAPES["llama-3-8b"], "down")
    assert {p for _, p in candidates("down", "int8", n, k, 32)} == {
        split_parts("down", "int8", n, k)
    }
    assert all(k // p >= tile.block_k for tile, p in candidates("down", "int8", n, k, 16) if p > 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_tall_tiles_are_for_steps_that_have_enough_of_them(kernel: str, form: str) -> None:
    for n, k in SIZES:
        if form == "int4" and k % 128:
            continue
        matrix, before = meta_matrix(form, n, k), 0
        for rows in (1, 17, 64, 128, 256, 512, 1024, 4096):
            height, tile = step_tile(kernel, matrix, rows, tall=True)
            assert height >= before
            before = height
            if height <= 64:
                assert (height, tile) == (
                    block_rows(rows),
                    tile_config(kernel, form, n, k, block_rows(rows)),
                )
                continue
            assert rows // height * -(-n // tile.block_n) >= 96
            # What would change a row's bits beside steps of few rows.
            assert not is_narrow(kernel, form, n, k)
            assert tile.block_n >= 64
            assert tile.warps >= 4
            if kernel == "head":
                assert tile.block_n == tile_config(kernel, form, n, k, 16).block_n


def test_prompts_of_a_large_model_take_tall_tiles() -> None:
    n, k = fused_shape(SHAPES["llama-3-8b"], "down")
    matrix, scratch = meta_matrix("bf16", n, k), split_scratch(1, 1, "cpu")
    hopper = default_launch("sm_90", 1 << 34)
    plans = [matrix_plan("down", matrix, rows, hopper, scratch) for rows in (1, 17, 64, 256, 1024)]
    assert [plan.block_m for plan in plans] == [16, 32, 64, 64, 128]
    assert [plan.scratch is scratch for plan in plans] == [True, True, True, False, False]
    for target in ("sm_80", "sm_100", "gfx942"):  # not measured, or without room for them
        launch = default_launch(target, 1 << 34)
        assert matrix_plan("down", matrix, 1024, launch, scratch).block_m == 64
