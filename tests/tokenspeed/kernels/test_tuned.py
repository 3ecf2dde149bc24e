"""The tables of tiles and parts: what keeps a row's bits the same at every width."""

from dataclasses import replace

import pytest

from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.tune import KERNELS, candidates, meta_matrix
from tokenspeed.kernels import tuned
from tokenspeed.kernels.launch import Launch
from tokenspeed.kernels.split_k import check_split, split_scratch
from tokenspeed.kernels.tile import TileConfig
from tokenspeed.kernels.tuned import (
    HIGH,
    SPLIT_K,
    TUNED,
    is_narrow,
    matrix_plan,
    split_parts,
    tile_config,
    tile_height,
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
        tiles = [tile_config(kernel, form, n, k, height) for height in (16, 32, 64, *HIGH)]
        assert len({tile.block_n < 64 or tile.warps < 4 for tile in tiles}) == 1, (n, k, tiles)
        assert is_narrow(kernel, form, n, k) == (tiles[0].block_n < 64 or tiles[0].warps < 4)
        if kernel == "head":
            assert len({tile.block_n for tile in tiles}) == 1, (n, k, tiles)
        if form == "int4":  # two groups share a word of scales
            assert all(tile.block_k % 256 == 0 for tile in tiles)


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


def test_a_tile_is_as_high_as_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 64 rows only in steps that fill it, with parts side by side where tiles are few."""
    n, k = fused_shape(SHAPES["llama-3-8b"], "down")
    matrix = meta_matrix("bf16", n, k)
    scratch, high = split_scratch(1, 1, "cpu"), TileConfig(128, 64, 8, 3)
    monkeypatch.setattr(
        tuned, "TUNED", {name: tile for name, tile in TUNED.items() if name[4] < 65}
    )
    heights = [tile_height("down", matrix, rows) for rows in (1, 17, 64, 128, 256)]
    assert heights == [16, 32, 64, 64, 64]
    assert matrix_plan("down", matrix, 256, Launch(), scratch).scratch is None
    monkeypatch.setitem(tuned.TUNED, ("down", "bf16", n, k, 128), high)
    heights = [tile_height("down", matrix, rows) for rows in (64, 127, 128, 256)]
    assert heights == [64, 64, 128, 128]
    plan = matrix_plan("down", matrix, 256, Launch(), scratch)
    assert (plan.block_m, plan.config, plan.scratch) == (128, high, scratch)
    gate_up = meta_matrix("bf16", 28672, 4096)
    monkeypatch.setitem(tuned.TUNED, ("gate_up", "bf16", 28672, 4096, 128), high)
    plan = matrix_plan("gate_up", gate_up, 256, Launch(), scratch)
    assert (plan.block_m, plan.scratch) == (128, None)  # 448 tiles, more than processors
