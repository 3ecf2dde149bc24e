"""Translators without a model: each changes a text in a way that real ones do."""

from collections.abc import Callable, Sequence
from typing import Protocol

import regex


class _Document(Protocol):
    @property
    def texts(self) -> Sequence[str]: ...
    def translated(self, translations: Sequence[str]) -> bytes: ...


_MARK = regex.compile(r"</?g\d+>|<x\d+/>|\{x\d+\}")


def shout(text: str) -> str:
    """Same words in capitals, marks kept."""
    marks = _MARK.findall(text)
    parts = [part.upper() for part in _MARK.split(text)]
    return "".join(a + b for a, b in zip(parts, [*marks, ""], strict=True))


def lose_marks(text: str) -> str:
    """Same words in capitals, marks lost."""
    return _MARK.sub("", text).upper()


def one_word(text: str) -> str:
    return "Ja"


def longer(text: str) -> str:
    """Three times the words, marks where they were."""
    return regex.sub(r"(?<![<\w/{])\p{L}+(?![\w/]*[>}])", lambda m: " ".join([m[0]] * 3), text)


def noisy(text: str) -> str:
    """What no file should have, among the words."""
    return f"1\n00:01 --> 00:02\r\n\n{text}\x00\x1b\ud800"


ALL: list[Callable[[str], str]] = [shout, lose_marks, one_word, longer, noisy]


def translate(document: _Document, translator: Callable[[str], str]) -> str:
    """Return a document's text in translation."""
    return document.translated([translator(text) for text in document.texts]).decode()


def same(document: _Document) -> bytes:
    """Return a document in the translation that changes nothing."""
    return document.translated(list(document.texts))
