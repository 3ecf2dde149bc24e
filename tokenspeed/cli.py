"""The commands of the engine: translate, train, eval, bench, quantize, doctor.

`service.cli` adds the commands of the service to the same parser and is what `tokenspeed` runs.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tokenspeed
from tokenspeed import quantize_command
from tokenspeed.bench import cli as bench
from tokenspeed.bench.quality import cli as evaluation
from tokenspeed.engine.loading import BACKENDS, DEFAULT_MODEL
from tokenspeed.errors import TokenSpeedError
from tokenspeed.training import cli as training

Subparsers = Any  # argparse keeps the type of add_subparsers' result private


def build_parser() -> tuple[argparse.ArgumentParser, Subparsers]:
    """Return the parser with the engine's commands, and the place to add more."""
    parser = argparse.ArgumentParser(
        prog="tokenspeed", description="Live translation of text that is still growing."
    )
    parser.add_argument("--version", action="version", version=tokenspeed.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_translate(commands)
    _add_doctor(commands)
    bench.add_parser(commands)
    quantize_command.add_parser(commands)
    training.add_parser(commands)
    evaluation.add_parser(commands)
    return parser, commands


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --model and --device, the same for every command that loads a model."""
    parser.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, metavar="DIR",
        help="a Hugging Face LLaMA directory (default: the shipped model)",
    )  # fmt: skip
    parser.add_argument("--device", choices=["auto", *BACKENDS], default="auto")


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Parse, run the command, and turn expected errors into one line and exit code 2."""
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except TokenSpeedError as exc:
        print(f"tokenspeed: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `tokenspeed translate ... | head`
        sys.stderr.close()
        return 141


def main() -> int:
    """Run the engine's commands alone (`python -m tokenspeed`)."""
    return run(build_parser()[0])


def _add_translate(commands: Subparsers) -> None:
    parser = commands.add_parser("translate", help="translate a text, or standard input by lines")
    parser.add_argument("text", nargs="*", help="without it, each line of standard input")
    parser.add_argument("--to", required=True, metavar="LANG", help="target language, e.g. de")
    parser.add_argument(
        "--from", dest="source", default="auto", metavar="LANG", help="default: auto"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with timing")
    add_model_arguments(parser)
    parser.set_defaults(run=_translate)


def _translate(options: argparse.Namespace) -> int:
    from tokenspeed.engine.loading import load_engine
    from tokenspeed.engine.translate import translate

    model = load_engine(options.model, device=options.device)
    source = None if options.source == "auto" else options.source
    try:
        for text in _texts(options.text):
            try:
                (result,) = translate(model, [text], source, options.to)
            except ValueError as exc:
                print(f"tokenspeed: {exc}", file=sys.stderr)
                return 2
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


def _add_doctor(commands: Subparsers) -> None:
    parser = commands.add_parser("doctor", help="say what was found here and what is missing")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from tokenspeed.doctor import examine

    broken = False
    for finding in examine(options.model):
        broken |= finding.state == "broken"
        print(f"{finding.state:8} {finding.name:15} {finding.detail}")
        if finding.advice:
            print(f"{'':8} {'':15} -> {finding.advice}")
    return 1 if broken else 0
