"""Forms as browsers and curl send them, read at the speed of whole runs of escapes.

`urllib.parse` looks at each escape by itself, which takes 50 ms for a text of 20,000 pictures, and
holds Python's lock for up to 8 of them at once. Knows escapes; does not know fields.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Final

# At a time: other threads get Python's lock only between calls of C code.
PIECE_BYTES: Final = 4096
_Decoder: Final = codecs.getincrementaldecoder("utf-8")
_DIGITS: Final = "0123456789abcdefABCDEF"
_ALONE: Final = {f"%{a}{b}".encode(): bytes([int(a + b, 16)]) for a in _DIGITS for b in _DIGITS}
_ESCAPES: Final = re.compile(rb"(?:%[0-9a-fA-F]{2})+")


def parse_form(data: bytes, max_fields: int) -> dict[str, list[str]]:
    """Return the values of each field, in order; bytes that are not UTF-8 become U+FFFD.

    Raises:
        ValueError: it has more fields than that.
    Source: https://url.spec.whatwg.org/#urlencoded-parsing.
    """
    if data.count(b"&") >= max_fields:
        raise ValueError(f"more than {max_fields} fields")
    found: dict[str, list[str]] = {}
    for field in data.split(b"&"):
        if field:
            name, _, value = field.partition(b"=")
            found.setdefault(_unescaped(name), []).append(_unescaped(value))
    return found


def _unescaped(text: bytes) -> str:
    """Return a text without its escapes; an escape that is cut off stays as it is."""
    text = text.replace(b"+", b" ")
    if len(text) <= PIECE_BYTES:
        return _ESCAPES.sub(_plain, text).decode("utf-8", "replace")
    decoder = _Decoder("replace")
    found = [decoder.decode(_ESCAPES.sub(_plain, piece)) for piece in _pieces(text)]
    return "".join(found) + decoder.decode(b"", final=True)


def _plain(run: re.Match[bytes]) -> bytes:
    return _ALONE.get(run[0]) or bytes.fromhex(run[0].replace(b"%", b"").decode())


def _pieces(text: bytes) -> Iterator[bytes]:
    """Cut a text, but through no escape."""
    at = 0
    while at < len(text):
        end = at + PIECE_BYTES
        if end < len(text):
            cut = text.rfind(b"%", end - 2, end)
            end = end if cut < 0 else cut
        yield text[at:end]
        at = end
