"""`tokenspeed quantize --bits 8|4 IN OUT`: fewer bits on disk, and on request what that costs."""

import argparse
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from tokenspeed.errors import CheckpointError, told
from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.hub import local_directory
from tokenspeed.model.quantized import write_quantized
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.model.weights import weight_shapes


def add_quantize(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `quantize`."""
    parser.add_argument("--bits", type=int, choices=[8, 4], required=True, help="bits of a weight")
    parser.add_argument("source", type=Path, metavar="IN", help="directory of the model")
    parser.add_argument("target", type=Path, metavar="OUT", help="directory to write")
    parser.add_argument(
        "--finer",
        action="store_true",
        help="int8: a scale for 64 columns, not for a whole row: more accurate, slower on CPUs",
    )
    parser.add_argument(
        "--loss",
        action="store_true",
        help="measure how much worse the smaller weights translate; implied by --text",
    )
    parser.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="measure the loss on these lines, SOURCE TAB TARGET or plain (default: a few of ours)",
    )
    parser.add_argument(
        "--direction", default="en-de", help="direction of the lines of --text (default: en-de)"
    )
    parser.add_argument(
        "--lines", type=int, default=100, help="lines of --text to take; 0: all (default: 100)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    options.source = local_directory(options.source)
    source = open_checkpoint(options.source)
    if options.source.resolve() == options.target.resolve():
        raise CheckpointError(options.target, "is also the source; choose another directory")
    largest = max(math.prod(shape) for shape in weight_shapes(source.config).values())
    room = max(1 << 30, 4 * largest + (1 << 20))  # one file's tensors are held at a time
    try:
        write_quantized(
            options.source, options.target, options.bits, room, _shown, finer=options.finer
        )
    except ValueError as exc:
        raise CheckpointError(options.source, str(exc)) from exc
    target = open_checkpoint(options.target)
    before, after = stored_bytes(source), stored_bytes(target)
    print(f"{before / 2**20:.1f} MiB -> {after / 2**20:.1f} MiB")
    if not options.loss and not options.text:
        return 0
    errors = dict(weight_errors(source, target))
    worst = max(errors, key=lambda name: errors[name])
    print(
        f"relative error of a matrix: mean {sum(errors.values()) / len(errors):.2%}, "
        f"worst {errors[worst]:.2%} ({worst})"
    )
    print(_loss(source, target, options), end="")
    return 0


def _shown(tensors: list[tuple[str, Path]]) -> Iterable[tuple[str, Path]]:
    """Show progress, but only on a terminal."""
    return tqdm(tensors, unit="tensor", disable=None)


def _loss(source: Checkpoint, target: Checkpoint, options: argparse.Namespace) -> str:
    """Return what the smaller weights cost in perplexity and BLEU."""
    from tokenspeed.bench.quality.loss import (
        compare_quality,
        measure_quality,
        read_lines,
        sample_lines,
    )

    lines = sample_lines()
    if options.text:
        first, _, second = options.direction.partition("-")
        with told(OSError, ValueError):
            lines = read_lines(options.text, (first, second), options.lines)
    try:
        Tokenizer.load(source.directory)
    except CheckpointError as exc:
        return f"perplexity not measured: {exc}\n"
    return compare_quality(measure_quality(source, lines), measure_quality(target, lines))


def stored_bytes(checkpoint: Checkpoint) -> int:
    """Return the size of all weight files."""
    return sum(path.stat().st_size for path in set(checkpoint.files.values()))


def weight_errors(source: Checkpoint, target: Checkpoint) -> Iterator[tuple[str, float]]:
    """Yield each matrix's name and |target - source| / |source| (Frobenius norms)."""
    for name, shape in weight_shapes(source.config).items():
        if len(shape) == 2:
            exact = source.weight(name)
            error = (target.weight(name) - exact).norm() / exact.norm().clamp(min=1e-12)
            yield name, error.item()
