"""The commands that measure live translations: latency, erased words, quality, retention.

Only their arguments: the rest is imported when one runs, so that other commands start fast.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from service.bench.captions.documents import REWRITING_SHARE, WORDS_PER_MINUTE
from service.bench.captions.policies import POLICIES
from service.errors import ServiceError
from tokenspeed.arguments import (
    add_model_argument,
    add_model_arguments,
    add_page_arguments,
    check_page,
)
from tokenspeed.errors import told

T = TypeVar("T")

DEFAULT_SETS: Final = "ted-talks.en-de,diabla-dialogue.en-fr"
UNTOUCHED_SETS: Final = f"{DEFAULT_SETS},wmt24-speech.en-es"
RETENTION_SETS: Final = "newstest2014.en-de,newstest2014.en-fr,newstest2013.en-es"


def add_streaming(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval streaming`."""
    _add_corpus(parser)
    parser.add_argument(
        "--sets",
        default=DEFAULT_SETS,
        metavar="A,B",
        help=f"NAME.en-xx, or NAME.xx-en for the other direction (default: {DEFAULT_SETS})",
    )
    parser.add_argument(
        "--policies",
        default=",".join(POLICIES),
        metavar="A,B",
        help="comma-separated (default: all of them)",
    )
    parser.add_argument(
        "--traces",
        default="words",
        metavar="A,B",
        help="how the source arrives: words, recogniser (default: words)",
    )
    parser.add_argument("--limit", type=int, default=40, help="lines to take of each set; 0: all")
    parser.add_argument(
        "--max-words",
        type=int,
        default=0,
        help="source words to take of each set, in whole lines; 0: all",
    )
    parser.add_argument("--speakers", type=int, default=4, help="speakers at the same time")
    parser.add_argument(
        "--clock",
        choices=["socket", "simulated", "cpu"],
        default="socket",
        help="socket: a server process in real time; simulated: in process, waiting left out; "
        "cpu: the same, and time that other programs took too (run it on one core)",
    )
    add_words_per_minute(parser)
    parser.add_argument(
        "--rewriting-share",
        type=float,
        default=REWRITING_SHARE,
        help="share of the recogniser's updates that correct earlier words",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the recogniser's mistakes")
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.add_argument(
        "--keep", action="store_true", help="keep the rows of other policies that are in FILE"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="plot the first set and trace"
    )
    parser.add_argument("--logs", type=Path, metavar="DIR", help="write SimulEval's instance logs")
    parser.set_defaults(run=_streaming)


def _streaming(options: argparse.Namespace) -> int:
    from service.bench.captions.rows import policy_tables
    from service.bench.captions.streaming import measure_policies

    rows = measured(options, measure_policies)
    print(policy_tables(rows))
    print(f"BLEU: {rows[0]['bleu_signature']}\nchrF: {rows[0]['chrf_signature']}")
    return 0


def add_retention(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval retention`."""
    _add_corpus(parser)
    _add_sets(parser, RETENTION_SETS)
    parser.add_argument("--limit", type=int, default=150, help="lines to take of each set; 0: all")
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_retention)


def _retention(options: argparse.Namespace) -> int:
    from service.bench.captions.retention import retention_table
    from service.bench.captions.streaming import measure_retention

    rows = measured(options, measure_retention)
    print(retention_table(rows))
    return 0


def add_untouched(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval untouched`."""
    _add_corpus(parser)
    _add_sets(parser, UNTOUCHED_SETS)
    parser.add_argument(
        "--max-words", type=int, default=500, help="source words to take of each set"
    )
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_untouched)


def _untouched(options: argparse.Namespace) -> int:
    from service.bench.captions.untouched import measure_untouched, untouched_table

    rows = measured(options, measure_untouched)
    print(untouched_table(rows))
    return 0


def add_presets(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval presets`."""
    _add_corpus(parser)
    _add_sets(parser, UNTOUCHED_SETS)
    parser.add_argument(
        "--max-words",
        type=int,
        default=250,
        help="source words to take of each set, in whole lines",
    )
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_presets)


def _presets(options: argparse.Namespace) -> int:
    from service.bench.captions.preset_grid import measure_presets, preset_tables

    rows = measured(options, measure_presets)
    print(preset_tables(rows))
    return 0


def add_confidence(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval confidence`."""
    _add_corpus(parser)
    _add_sets(parser, UNTOUCHED_SETS)
    parser.add_argument(
        "--max-words",
        type=int,
        default=1000,
        help="source words to take of each set, in whole lines",
    )
    parser.add_argument(
        "--device",
        choices=["reference", "cuda"],
        default="reference",
        help="plain PyTorch in float32: on the CPU (reference) or on a GPU (cuda)",
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="processes; each takes one set and trace at a time"
    )
    add_model_argument(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_confidence)


def _confidence(options: argparse.Namespace) -> int:
    from service.bench.captions.confidence import measure_confidence
    from service.bench.captions.confidence_tables import confidence_tables

    rows = measured(options, measure_confidence)
    print(confidence_tables(rows))
    return 0


# What several commands have.


def measured(options: argparse.Namespace, measure: Callable[[argparse.Namespace], T]) -> T:
    """Return what `measure` finds.

    Raises:
        CommandError: --page without --json, or an error that a user can expect.
    """
    check_page(options)
    with told(ServiceError, OSError, ValueError):
        return measure(options)


def _add_corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with test sets, NAME.en-xx.tsv: source, translation, document",
    )


def _add_sets(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--sets", default=default, metavar="A,B", help="names of test sets")


def add_words_per_minute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--words-per-minute",
        type=float,
        default=WORDS_PER_MINUTE,
        help=f"how fast each speaker speaks (default: {WORDS_PER_MINUTE:g})",
    )
