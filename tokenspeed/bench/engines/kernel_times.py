"""Each matrix kernel compared with reading its bytes and with cuBLAS, on a cold L2."""

import statistics
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

import torch
import torch.nn.functional as F
from tqdm import tqdm

from tokenspeed.backends.cuda_weights import random_weights
from tokenspeed.bench.engines.shapes import part_of
from tokenspeed.bench.engines.tune import KERNELS, TALL_HEIGHTS, TUNING, Bench, candidates, copies
from tokenspeed.bench.result import Row, describe_gpu
from tokenspeed.kernels.matrix import Matrix
from tokenspeed.kernels.tile import TileConfig, block_rows
from tokenspeed.kernels.timing import event_ms, read_bandwidth
from tokenspeed.kernels.tuned import matrix_parts, step_tile
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.weights import fused_shape


def measure_kernels(
    shape: str, form: str, heights: Sequence[int], *, tune: bool, gpus: int = 1
) -> tuple[dict[str, Any], list[Row]]:
    """Time the five matrix kernels of a named shape.

    Args:
        shape: a key of SHAPES. form: "bf16", "int8", "int4" or "fp8".
        heights: rows of a step.
        tune: take the best of the tile in use and all candidates.
        gpus: that would share the model; the part of one of them is measured, without sums.
    Returns:
        The machine, and for each kernel and height: microseconds of this kernel, of cuBLAS in bf16
        over the same shape, and at the read bandwidth of the same run.
    """
    read = read_bandwidth()
    machine = describe_gpu(read)
    config, rows = part_of(shape, gpus), []
    for kernel in tqdm(KERNELS, desc="kernels", leave=False):
        matrices = copies(one_matrix(config, kernel, form))
        n, k = matrices[0].n, matrices[0].k
        for height in heights:
            bench = Bench(kernel, matrices, config, height)
            tiles = [tile_in_use(kernel, matrices[0], height)]
            if tune:
                tiles += [
                    (block_m, *tile)
                    for block_m in (block_rows(height), *(h for h in TALL_HEIGHTS if h <= height))
                    for tile in candidates(kernel, form, n, k, block_m)
                ]
            times = {tile: bench.microseconds(*tile) for tile in tiles}
            best = min(times, key=lambda tile: times[tile])
            floor = matrices[0].nbytes / read * 1e6
            rows.append(
                {
                    "engine": "tokenspeed",
                    "shape": shape,
                    "gpus": gpus,
                    "dtype": form,
                    "kernel": kernel,
                    "n": n,
                    "k": k,
                    "rows": height,
                    "tile_rows": best[0],
                    "tile": astuple(best[1]),
                    "parts": best[2],
                    "us": round(times[best], 2),
                    "floor_us": round(floor, 2),
                    "bandwidth_share": round(floor / times[best], 3),
                    "cublas_bf16_us": round(cublas_us(n, k, height), 2),
                }
            )
    return machine, rows


def tile_in_use(kernel: str, matrix: Matrix, rows: int) -> tuple[int, TileConfig, int]:
    """Return the rows of a tile, the tile, and the parts of K with which a step runs."""
    return *step_tile(kernel, matrix, rows, tall=TUNING.tall), matrix_parts(kernel, matrix)


def one_matrix(config: ModelConfig, kernel: str, form: str) -> Matrix:
    """Return a random weight for a kernel of a model."""
    vocabulary = config.vocab_size if kernel == "head" else 64
    one = replace(config, num_layers=1, vocab_size=vocabulary, tie_word_embeddings=True)
    weights = random_weights(one, form, "cuda")
    layer = weights.layers[0]
    matrix = {
        "qkv": layer.qkv,
        "out": layer.out,
        "gate_up": layer.gate_up,
        "down": layer.down,
        "head": weights.head,
    }[kernel]
    assert (matrix.n, matrix.k) == fused_shape(config, kernel)
    return matrix


def cublas_us(n: int, k: int, rows: int) -> float:
    """Time torch's product of the same shape in bf16, cold as well."""
    count = max(8, -(-(400 << 20) // (2 * n * k)))
    weights = [torch.randn(n, k, device="cuda", dtype=torch.bfloat16) for _ in range(count)]
    x = torch.randn(rows, k, device="cuda", dtype=torch.bfloat16)
    F.linear(x, weights[0])
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for weight in weights:
            F.linear(x, weight)
    return statistics.median(event_ms(graph.replay, 5, warmup=1)) * 1e3 / count
