"""`tokenspeed translate FILE`: translates a file into a new one beside it.

Translations are saved in a file that ends in `.part`, one line per text. After an interruption the
next run takes them from there, even if the file has changed in between.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tqdm import tqdm

from tokenspeed.documents.formats import open_document, suffixes
from tokenspeed.errors import CommandError, told

TEXTS_AT_ONCE: Final = 16  # side by side; an interrupted run loses as many at most

Translate = Callable[[Sequence[str]], Iterable[str]]


def named_files(words: Sequence[str]) -> list[Path]:
    """Return the files that the words of a command line name; none if they are a text.

    Raises:
        CommandError: a single word looks like a file that does not exist.
    """
    paths = [Path(word) for word in words]
    if paths and all(_is_file(path) for path in paths):
        return paths
    if len(paths) == 1 and paths[0].suffix.lower() in suffixes() and " " not in words[0]:
        raise CommandError(f"{paths[0]}: not found")
    return []


def output_of(path: Path, source: str | None, target: str) -> Path:
    """Return where a translation goes: `talk.srt` and `talk.en.srt` to `talk.de.srt`."""
    stem = path.stem
    if source is not None:
        stem = stem.removesuffix(f".{source}")
    return path.with_name(f"{stem}.{target}{path.suffix}")


def translate_file(path: Path, output: Path, target: str, origin: str, translate: Translate) -> int:
    """Translate a file into another one; return how many texts it has.

    Args:
        path, output: the file, and where its translation is written.
        target: code of a language.
        origin: what translations depend on besides their text; those saved for another origin are
            not used.
        translate: returns the translations of texts, in order.

    Raises:
        DocumentError: the file cannot be translated.
        CommandError: a file cannot be read or written.
    """
    with told(OSError):
        document = open_document(str(path), path.read_bytes(), target)
        with _Notes(output.with_name(f"{output.name}.part"), origin) as notes:
            todo = [text for text in dict.fromkeys(document.texts) if text not in notes.known]
            try:
                with _progress(path.name, document.texts, todo) as advance:
                    for start in range(0, len(todo), TEXTS_AT_ONCE):
                        texts = todo[start : start + TEXTS_AT_ONCE]
                        notes.add(zip(texts, translate(texts), strict=True))
                        advance(sum(map(len, texts)))
            except KeyboardInterrupt:
                done = (
                    f"{len(notes.known)} texts are translated; the same command goes on from there"
                )
                print(f"\n{path}: {done}", file=sys.stderr)
                raise
            written = document.translated([notes.known[text] for text in document.texts])
            _write(output, written)
            notes.end()
    return len(document.texts)


class _Notes:
    """Translations by their texts, kept in a file for as long as they are needed."""

    def __init__(self, path: Path, origin: str) -> None:
        self._path = path
        self._origin = json.dumps({"origin": origin})
        self.known: dict[str, str] = {}

    def __enter__(self) -> "_Notes":
        kept = self._read() if self._path.is_file() else 0
        self._file = self._path.open("r+b" if kept else "wb")
        self._file.truncate(kept)  # without a line that was cut short
        self._file.seek(kept)
        if not kept:
            self._file.write(f"{self._origin}\n".encode())
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def add(self, translated: Iterable[tuple[str, str]]) -> None:
        for text, translation in translated:
            self.known[text] = translation
            self._file.write(f"{json.dumps([text, translation])}\n".encode())
        self._file.flush()

    def end(self) -> None:
        self._file.close()
        self._path.unlink()

    def _read(self) -> int:
        """Load what was saved; return how many bytes of the file are valid lines."""
        kept = 0
        for i, line in enumerate(self._path.read_bytes().splitlines(keepends=True)):
            if not line.endswith(b"\n"):
                break
            if i == 0:
                if line.decode("utf-8", "replace").strip() != self._origin:
                    return 0
            else:
                try:
                    text, translation = json.loads(line)
                except ValueError:
                    break
                self.known[str(text)] = str(translation)
            kept += len(line)
        return kept


@contextmanager
def _progress(
    name: str, texts: Sequence[str], todo: Sequence[str]
) -> Iterator[Callable[[int], object]]:
    done = sum(map(len, dict.fromkeys(texts))) - sum(map(len, todo))
    with tqdm(
        total=done + sum(map(len, todo)),
        initial=done,
        desc=name,
        unit=" chars",
        disable=None,  # shown on a terminal only
        file=sys.stderr,
    ) as bar:
        yield bar.update


def _write(output: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = output.with_name(f"{output.name}.new")
    unfinished.write_bytes(data)
    os.replace(unfinished, output)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # such as a text that is too long for a file name
        return False
