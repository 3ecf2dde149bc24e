"""`tokenspeed translate`."""

import argparse
import json
import sys
from collections.abc import Iterator

from tokenspeed.arguments import add_model_arguments
from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.translate import translate
from tokenspeed.errors import CommandError


def add_translate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `translate`."""
    parser.add_argument("text", nargs="*", help="without it, each line of standard input")
    parser.add_argument("--to", required=True, metavar="LANG", help="target language, e.g. de")
    parser.add_argument(
        "--from", dest="source", default="auto", metavar="LANG", help="default: auto"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with timing")
    add_model_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    model = load_engine(options.model, device=options.device)
    source = None if options.source == "auto" else options.source
    try:
        for text in _texts(options.text):
            try:
                (result,) = translate(model, [text], source, options.to)
            except ValueError as exc:
                raise CommandError(str(exc)) from exc
            if options.json:
                line = {
                    "source": text,
                    "text": result.text,
                    "from": options.source,
                    "to": options.to,
                    "total_ms": round(result.total_ms, 3),
                    "tokens": result.tokens,
                }
                print(json.dumps(line, ensure_ascii=False), flush=True)
            else:
                print(result.text, flush=True)
    finally:
        model.close()
    return 0


def _texts(words: list[str]) -> Iterator[str]:
    if words:
        yield " ".join(words)
        return
    for line in sys.stdin:
        yield line.rstrip("\n")
