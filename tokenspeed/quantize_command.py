"""`tokenspeed quantize --bits 8|4 IN OUT`: fewer bits on disk, and what they cost."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenspeed.checkpoint import Checkpoint, expected_shapes, open_checkpoint
from tokenspeed.errors import CheckpointError
from tokenspeed.quantize import write_quantized


def add_parser(commands: Any) -> None:
    """Add `quantize`."""
    parser = commands.add_parser("quantize", help="write a model directory in int8 or int4")
    parser.add_argument("--bits", type=int, choices=[8, 4], required=True)
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT")
    parser.set_defaults(run=_quantize)


def _quantize(options: argparse.Namespace) -> int:
    source = open_checkpoint(options.source)
    if options.source.resolve() == options.target.resolve():
        raise CheckpointError(options.target, "is the source too; name another directory")
    try:
        write_quantized(options.source, options.target, options.bits, max_shard_bytes=4 << 30)
    except ValueError as exc:
        raise CheckpointError(options.source, str(exc)) from exc
    target = open_checkpoint(options.target)
    errors = dict(weight_errors(source, target))
    worst = max(errors, key=lambda name: errors[name])
    before, after = stored_bytes(source), stored_bytes(target)
    sys.stdout.write(
        f"{before / 2**20:.1f} MiB -> {after / 2**20:.1f} MiB\n"
        f"relative error of a matrix: mean {sum(errors.values()) / len(errors):.2%}, "
        f"worst {errors[worst]:.2%} ({worst})\n"
        f"its translations: tokenspeed eval --model {options.target}\n"
    )
    return 0


def stored_bytes(checkpoint: Checkpoint) -> int:
    """Return the size of all weight files."""
    return sum(path.stat().st_size for path in set(checkpoint.files.values()))


def weight_errors(source: Checkpoint, target: Checkpoint) -> Iterator[tuple[str, float]]:
    """Yield each matrix's name and |target - source| / |source| (Frobenius norms)."""
    for name, shape in expected_shapes(source.config):
        if len(shape) == 2:
            exact = source.weight(name)
            error = (target.weight(name) - exact).norm() / exact.norm().clamp(min=1e-12)
            yield name, error.item()
