"""The commands that measure the service: `eval streaming`, `eval capacity`, `loadtest`.

Only the arguments: what runs is imported when it runs, so that other commands start fast.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from service.errors import ServiceError
from service.evaluation.policies import POLICIES
from tokenspeed.evaluation.commands import eval_commands
from tokenspeed.evaluation.replay import REWRITING_SHARE, WORDS_PER_MINUTE
from tokenspeed.loading import BACKENDS, DEFAULT_MODEL

DEFAULT_SETS: Final = "ted-talks.en-de,diabla-dialogue.en-fr"


def add_parser(commands: Any) -> None:
    """Add `eval streaming`."""
    parser = eval_commands(commands).add_parser(
        "streaming", help="latency, flicker and quality of live translation, against baselines"
    )
    parser.add_argument(
        "--corpus", type=Path, required=True, metavar="DIR",
        help="folder of NAME.en-xx.tsv: source, translation, document",
    )  # fmt: skip
    parser.add_argument(
        "--sets", default=DEFAULT_SETS, metavar="A,B",
        help=f"NAME.en-xx, or NAME.xx-en for the other direction (default: {DEFAULT_SETS})",
    )  # fmt: skip
    parser.add_argument(
        "--policies", default=",".join(POLICIES), metavar="A,B", help="default: all of them"
    )
    parser.add_argument("--traces", default="words", metavar="A,B", help="words, recogniser")
    parser.add_argument("--limit", type=int, default=40, help="lines of a set; 0 for all")
    parser.add_argument("--speakers", type=int, default=4, help="that talk side by side")
    parser.add_argument(
        "--clock", choices=["socket", "virtual"], default="socket",
        help="a server process in real time, or in process with waiting left out",
    )  # fmt: skip
    parser.add_argument("--words-per-minute", type=float, default=WORDS_PER_MINUTE)
    parser.add_argument("--rewriting-share", type=float, default=REWRITING_SHARE)
    parser.add_argument("--seed", type=int, default=0, help="of the recogniser's mistakes")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR")
    parser.add_argument("--device", choices=["auto", *BACKENDS], default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="plot the first set and trace"
    )
    parser.add_argument("--logs", type=Path, metavar="DIR", help="write SimulEval's instance logs")
    parser.set_defaults(run=_streaming)


def _streaming(options: argparse.Namespace) -> int:
    from service.evaluation.compare import markdown
    from service.evaluation.streaming import compare

    try:
        rows = compare(options)
    except (ServiceError, OSError, ValueError) as exc:
        print(f"tokenspeed: {exc}", file=sys.stderr)
        return 2
    print(markdown(rows))
    print(f"BLEU: {rows[0]['bleu_signature']}\nchrF: {rows[0]['chrf_signature']}")
    return 0
