"""What a document is: texts out, translations in; and one whose texts are spans of a string.

Of such a document only those spans are rewritten, and a span whose text comes back unchanged is not
touched: whatever is not translated survives byte for byte.
"""

import codecs
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import regex

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS: Final = regex.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_TAGS: Final = r"((?:<[^<>]*>|[\"'“”‘’»«)\]*_~\s])*)$"
_ENDED: Final = regex.compile(rf"[.!?…:;。！？]{_TAGS}")
_END_CHARS: Final = 200  # characters at the end that are searched
# A period after a word of some letters: "etc." and initials keep theirs.
_LAST_MARK: Final = regex.compile(
    rf"(?:(?<=[\p{{L}}\p{{N}}]{{4}})\.|(?<=[\p{{L}}\p{{N}}])\s?[!?]){_TAGS}"
)
_UNREADABLE: Final = "surrogateescape"  # keeps bytes that are not text, to write them unchanged


class Document(Protocol):
    """A file that can be translated."""

    @property
    def texts(self) -> Sequence[str]:
        """What is to be translated, in the order of the file; none is blank."""
        ...

    def translated(self, translations: Sequence[str]) -> bytes:
        """Return the file with these in place of `texts`.

        Raises:
            ValueError: there are not as many.
        """
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """A text and the places of its parts in the source.

    Attributes:
        text: to be translated.
        spans: (start, end) of each part in the source, ascending.
        share: divides a translation into what is written to each span.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    share: Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text, and how it was written as bytes.

    Attributes:
        lacking: error handler for characters that the encoding lacks; None switches to UTF-8.
    """

    text: str
    encoding: str
    bom: bytes = b""
    lacking: str | None = None

    def encode(self, text: str) -> bytes:
        """Return a text as bytes in the encoding of the file."""
        try:
            return self.bom + text.encode(self.encoding, _UNREADABLE)
        except UnicodeEncodeError:
            if self.lacking is not None:
                return self.bom + text.encode(self.encoding, self.lacking)
            return text.encode("utf-8", _UNREADABLE)


def read(data: bytes, declared: str | None = None) -> Source:
    """Return the text of a file.

    It is decoded by its byte order mark; else by the encoding that it declares; else as UTF-8, with
    invalid bytes kept; or, where most of what is not ASCII is invalid, as Windows-1252.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return Source(data[len(bom) :].decode(encoding, _UNREADABLE), encoding, bom)
    if declared is not None:
        try:
            text = data.decode(declared)
            if text.encode(declared) == data:
                return Source(text, declared)
        except (LookupError, ValueError):
            pass  # an encoding that is unknown here, or not the file's
    text = data.decode("utf-8", _UNREADABLE)
    bad = sum("\udc80" <= c <= "\udcff" for c in text)
    good = sum("\x7f" < c < "\ud800" or c > "\udfff" for c in text)
    if bad > good:
        try:
            return Source(data.decode("cp1252"), "cp1252")
        except UnicodeDecodeError:
            pass  # it has bytes that are invalid there too
    return Source(text, "utf-8")


def readable(text: str) -> str:
    """Return a text with a replacement character for each byte that could not be decoded."""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def writable(text: str, translation: str) -> str:
    """Return a translation as it may be written in place of a text.

    Removes what no file should have: control characters and halves of characters. Removes the
    punctuation that models like to add where the text has none: a heading, a button, a table cell.
    """
    written = _CONTROLS.sub("", readable(translation))
    found = _LAST_MARK.search(written, max(0, len(written) - _END_CHARS))
    if found is None or _ENDED.search(text, max(0, len(text) - _END_CHARS)):
        return written
    has_two = "¿" in written or "¡" in written  # the opening mark would be left without its partner
    return written if has_two else f"{written[: found.start()]}{found[1]}"


class SpanDocument:
    """A document whose texts are spans of its source.

    Args:
        source: of the file.
        units: in the order of their first spans; spans do not overlap.
    """

    def __init__(self, source: Source, units: Iterable[Unit]) -> None:
        self._source = source
        self._units = tuple(units)
        self._texts = tuple(readable(unit.text) for unit in self._units)

    @property
    def texts(self) -> Sequence[str]:
        """What is to be translated, in the order of the file."""
        return self._texts

    def translated(self, translations: Sequence[str]) -> bytes:
        """Return the file with these in place of `texts`.

        Raises:
            ValueError: there are not as many.
        """
        if len(translations) != len(self._texts):
            raise ValueError(f"{len(translations)} translations for {len(self._texts)} texts")
        written: list[tuple[int, int, str]] = []
        for unit, text, translation in zip(self._units, self._texts, translations, strict=True):
            if translation != text:
                parts = unit.share(writable(text, translation))
                assert len(parts) == len(unit.spans)
                written += [(*span, part) for span, part in zip(unit.spans, parts, strict=True)]
        found, at = [], 0
        for start, end, part in sorted(written):
            found += [self._source.text[at:start], part]
            at = end
        return self._source.encode("".join([*found, self._source.text[at:]]))
