"""JSON (.json): the strings that are values; keys, order, numbers and layout stay as they are.

Made for message files of user interfaces. Not translated: strings without letters, values under a
key that begins with `$` or `@` (schemas, notes on messages), and messages with `plural` or `select`
branches of ICU, whose syntax is more than text.
"""

import json
from collections.abc import Iterator
from typing import Final

import regex

from tokenspeed.documents.document import Source, SpanDocument, Unit, read

_TOKEN: Final = regex.compile(r'"(?:[^"\\]++|\\.)*+"(?<is_key>\s*+:)?|[{}\[\]]', regex.DOTALL)
_NOTES: Final = ("$", "@")
_WORDS: Final = regex.compile(r"\p{L}")
_BRANCHES: Final = regex.compile(r"\{\s*[\w.]+\s*,\s*(?:plural|select|selectordinal)\s*,")

_DECODER: Final = json.JSONDecoder(strict=False)


def open_json(data: bytes, target: str) -> SpanDocument:
    """Return a JSON file as a document.

    Raises:
        ValueError: it is not JSON.
    """
    source = read(data)
    try:
        json.loads(source.text)
    except (json.JSONDecodeError, RecursionError) as exc:
        raise ValueError(f"it is not JSON: {exc}") from exc
    return SpanDocument(source, _units(source))


def _units(source: Source) -> Iterator[Unit]:
    # A file that escapes all but ASCII is written the same way.
    is_escaped = source.text.isascii() and "\\u" in source.text
    is_note = [False]  # whether each open object or array is a note
    key = ""
    for token in _TOKEN.finditer(source.text):
        if token[0] in "]}":
            is_note.pop()
            key = ""
        elif token[0] in "[{":
            is_note.append(is_note[-1] or key.startswith(_NOTES))
            key = ""
        elif token["is_key"]:
            key = _DECODER.decode(token[0][: -len(token["is_key"])])
        else:
            if not is_note[-1] and not key.startswith(_NOTES):
                yield from _value(token, is_escaped)
            key = ""


def _value(token: regex.Match[str], is_escaped: bool) -> Iterator[Unit]:
    value = str(_DECODER.decode(token[0]))
    text = value.strip()
    if not _WORDS.search(text) or _BRANCHES.search(text):
        return
    before, _, after = value.partition(text)

    def share(translation: str) -> list[str]:
        return [json.dumps(f"{before}{translation}{after}", ensure_ascii=is_escaped)]

    yield Unit(text, (token.span(),), share)
