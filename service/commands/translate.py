"""`tokenspeed translate`: translates a text, lines of standard input, or files.

With the service's translator, which handles spans, numbers, languages, pivots and terms, but
without sockets.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from service.commands.translate_file import named_files, output_of, translate_file
from service.errors import TranslationFailed
from service.translator import TextOptions, Translator
from tokenspeed.arguments import add_model_arguments, add_profile_argument
from tokenspeed.documents.formats import suffixes
from tokenspeed.engine.loading import load_engine
from tokenspeed.errors import CommandError, told
from tokenspeed.model.prompt import FORMALITIES
from tokenspeed.text.glossary_files import HouseGlossary, read_glossary
from tokenspeed.text.languages import AUTO, code_of

BUDGET_S = 60.0  # no text is more urgent than another


def add_translate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `translate`."""
    parser.add_argument(
        "text",
        nargs="*",
        metavar="TEXT or FILE",
        help=f"a text, or files ({' '.join(suffixes())}); without any, standard input line by line",
    )
    parser.add_argument("--to", required=True, metavar="LANG", help="target language, e.g. de")
    parser.add_argument(
        "--from",
        dest="source",
        default=AUTO,
        metavar="LANG",
        help="source language (default: auto)",
    )
    parser.add_argument("--formality", choices=FORMALITIES, help='how "you" is translated')
    parser.add_argument(
        "--capitals",
        choices=("keep", "sentence"),
        default="keep",
        help="what text in capitals becomes: capitals again (keep), or sentences",
    )
    parser.add_argument(
        "--profanity", choices=("raw", "mask"), default="raw", help="mask: show swear words as f***"
    )
    parser.add_argument(
        "--glossary", type=Path, metavar="FILE", help="glossary for all texts: .csv, .tsv or .tbx"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object for each line or file"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="output for a single file (default: NAME.LANG.SUFFIX)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing outputs")
    add_model_arguments(parser)
    add_profile_argument(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    files = named_files(options.text)
    outputs = _outputs(options, files)
    if not files and (options.output is not None or options.force):
        raise CommandError("--output and --force are for files; a text goes to standard output")
    with told(ValueError):
        house = HouseGlossary(read_glossary(options.glossary) if options.glossary else ())
    model = load_engine(options.model, device=options.device, profile=options.profile)
    try:
        translator = Translator(
            model.engine,
            model.tokenizer,
            model.prompts,
            max_length=model.engine.backend.max_length,
            budget_s=BUDGET_S,
            house=house,
        )
        with _Speaker(translator, options) as speaker:
            if files:
                _translate_files(options, speaker, files, outputs)
            else:
                _translate_texts(options, speaker)
    finally:
        model.close()
    return 0


class _Speaker:
    """A translator whose calls block.

    Attributes:
        kept: number of texts that did not fit the model, and of pieces left untranslated.
    """

    def __init__(self, translator: Translator, options: argparse.Namespace) -> None:
        languages = [info.code for info in translator.model_info("").languages]
        self.source = None if options.source == AUTO else _code(options.source, languages)
        self.target = _code(options.to, languages)
        if not translator.model_info("").translates(self.source, self.target):
            pair = f"from {self.source or AUTO} to {self.target}"
            raise CommandError(f"translation {pair} is not supported")
        if options.formality and self.target not in translator.prompts.formalities:
            raise CommandError(f"the model cannot choose a form of address in {self.target}")
        self.kept = 0
        self.count_tokens = translator.count_tokens
        self._options = TextOptions(
            formality=options.formality, capitals=options.capitals, profanity=options.profanity
        )
        self._translator = translator
        translator.on_faults = self._count

    def __enter__(self) -> "_Speaker":
        self._runner = asyncio.Runner().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.close()

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Translate texts side by side; one that does not fit comes back unchanged.

        Raises:
            CommandError: the engine has stopped.
        """
        return self._runner.run(self._all(texts))

    async def _all(self, texts: Sequence[str]) -> list[str]:
        return await asyncio.gather(*map(self._one, texts))

    async def _one(self, text: str) -> str:
        try:
            return await self._translator.whole(text, self.source, self.target, self._options)
        except TranslationFailed as exc:
            if exc.code != "text_too_long":
                raise CommandError(str(exc)) from exc
            self.kept += 1
            return text

    def _count(self, target: str, faults: int, left: int) -> None:
        self.kept += left


def _translate_texts(options: argparse.Namespace, speaker: _Speaker) -> None:
    for text in _texts(options.text):
        started_s = time.monotonic()
        (found,) = speaker.translate([text])
        if options.json:
            line = {
                "source": text,
                "text": found,
                "from": options.source,
                "to": options.to,
                "total_ms": round((time.monotonic() - started_s) * 1e3, 3),
                "tokens": speaker.count_tokens(found),
            }
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            print(" ".join(found.splitlines()), flush=True)
    _tell_kept(speaker, "standard input")


def _translate_files(
    options: argparse.Namespace, speaker: _Speaker, files: Sequence[Path], outputs: Sequence[Path]
) -> None:
    glossary = options.glossary and options.glossary.resolve()
    wishes = (
        options.source,
        options.to,
        options.formality,
        options.capitals,
        options.profanity,
        glossary,
        options.model.resolve(),
    )
    origin = " ".join(map(str, wishes))
    for path, output in zip(files, outputs, strict=True):
        count = translate_file(path, output, speaker.target, origin, speaker.translate)
        if options.json:
            line = {
                "file": str(path),
                "output": str(output),
                "texts": count,
                "untranslated": speaker.kept,
            }
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            print(output, flush=True)
        _tell_kept(speaker, str(path))


def _tell_kept(speaker: _Speaker, name: str) -> None:
    if speaker.kept:
        told_of = f"{name}: {speaker.kept} sentences could not be translated and stay as they are"
        print(told_of, file=sys.stderr)
    speaker.kept = 0


def _outputs(options: argparse.Namespace, files: Sequence[Path]) -> list[Path]:
    """Return where each file's translation goes.

    Raises:
        CommandError: it exists already, or --output names one file for several.
    """
    if options.output is not None and len(files) > 1:
        raise CommandError(f"--output names one file, and there are {len(files)} to translate")
    source = None if options.source == AUTO else options.source
    outputs = [options.output or output_of(path, source, options.to) for path in files]
    for path, output in zip(files, outputs, strict=True):
        if output.exists() and (not options.force or output.resolve() == path.resolve()):
            raise CommandError(f"{output} is there already; --force overwrites it")
    return outputs


def _code(name: str, languages: Sequence[str]) -> str:
    """Return a language's code, given its code or name; anything else comes back unchanged."""
    return code_of(name, languages) or name


def _texts(words: list[str]) -> Iterator[str]:
    if words:
        yield " ".join(words)
        return
    # Invalid UTF-8 becomes U+FFFD: one bad byte in a file must not end the run.
    for line in sys.stdin.buffer:
        yield line.decode(errors="replace").rstrip("\r\n")
