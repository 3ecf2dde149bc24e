"""`tokenspeed translate`."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenspeed.arguments import add_model_arguments
from tokenspeed.commands.translate_file import named_files, output_of, translate_file
from tokenspeed.documents.formats import suffixes
from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.translate import translate
from tokenspeed.errors import CommandError, RequestTooLong, told


def add_translate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `translate`."""
    parser.add_argument(
        "text",
        nargs="*",
        metavar="TEXT or FILE",
        help=f"a text, or files ({' '.join(suffixes())}); without any, lines of standard input",
    )
    parser.add_argument("--to", required=True, metavar="LANG", help="target language, e.g. de")
    parser.add_argument(
        "--from", dest="source", default="auto", metavar="LANG", help="default: auto"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with timing")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="for one file; default: NAME.LANG.SUFFIX"
    )
    parser.add_argument("--force", action="store_true", help="overwrite outputs that are there")
    add_model_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    files = named_files(options.text)
    if files:
        return _run_files(options, files)
    if options.output is not None or options.force:
        raise CommandError("--output and --force are for files; a text goes to standard output")
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
                print(" ".join(result.text.splitlines()), flush=True)
    finally:
        model.close()
    return 0


def _run_files(options: argparse.Namespace, files: Sequence[Path]) -> int:
    source = None if options.source == "auto" else options.source
    if options.output is not None and len(files) > 1:
        raise CommandError(f"--output names one file, and there are {len(files)} to translate")
    outputs = [options.output or output_of(path, source, options.to) for path in files]
    for path, output in zip(files, outputs, strict=True):
        if output.exists() and (not options.force or output.resolve() == path.resolve()):
            raise CommandError(f"{output} is there already; --force overwrites it")
    model = load_engine(options.model, device=options.device)

    kept: list[str] = []

    def translated(texts: Sequence[str]) -> list[str]:
        try:
            with told(ValueError):
                return [found.text for found in translate(model, texts, source, options.to)]
        except RequestTooLong:
            if len(texts) == 1:
                kept.extend(texts)
                return list(texts)
            return [found for text in texts for found in translated([text])]

    try:
        for path, output in zip(files, outputs, strict=True):
            origin = f"{options.source} {options.to} {options.model.resolve()}"
            count = translate_file(path, output, options.to, origin, translated)
            if options.json:
                print(json.dumps({"file": str(path), "output": str(output), "texts": count,
                                  "untranslated": len(kept)}, ensure_ascii=False))  # fmt: skip
            else:
                print(output, flush=True)
            if kept:
                print(
                    f"{path}: {len(kept)} texts are too long and stay as they are", file=sys.stderr
                )
                kept.clear()
    finally:
        model.close()
    return 0


def _texts(words: list[str]) -> Iterator[str]:
    if words:
        yield " ".join(words)
        return
    # What is no UTF-8 becomes U+FFFD: one bad byte in a file must not end the run.
    for line in sys.stdin.buffer:
        yield line.decode(errors="replace").rstrip("\r\n")
