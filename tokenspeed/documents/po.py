"""Messages of gettext (.po): those without a translation, or only a fuzzy one, get one.

`polib` reads and writes: comments, places, contexts and flags stay, and lines are wrapped its way.
Existing translations stay.
"""

from collections.abc import Sequence
from typing import Final

import polib
import regex
from babel import UnknownLocaleError
from babel.messages.plurals import get_plural

from tokenspeed.documents.document import read, writable

_CHARSET: Final = regex.compile(rb"charset=([\w-]+)")
_WORDS: Final = regex.compile(r"\p{L}")


class PoDocument:
    """A file of messages.

    Args:
        messages: as read by polib.
        target: code of the language of the translations.
    """

    def __init__(self, messages: polib.POFile, target: str) -> None:
        self._messages = messages
        self._entries = [
            entry
            for entry in messages
            if not entry.obsolete
            and not entry.translated()
            and _WORDS.search(entry.msgid)
            and _WORDS.search(entry.msgid_plural or entry.msgid)
        ]
        metadata = messages.metadata
        if metadata.get("Language") != target or "Plural-Forms" not in metadata:
            try:
                metadata["Plural-Forms"] = str(get_plural(target))
            except (LookupError, UnknownLocaleError, ValueError):
                metadata.setdefault("Plural-Forms", "nplurals=2; plural=(n != 1);")
        metadata["Language"] = target
        metadata["Content-Type"] = "text/plain; charset=UTF-8"
        count = regex.search(r"nplurals\s*=\s*(\d)", str(metadata["Plural-Forms"]))
        self._plurals = int(count[1]) if count else 2

    @property
    def texts(self) -> Sequence[str]:
        """What is to be translated: each message, followed by its plural if it has one."""
        found = []
        for entry in self._entries:
            found.append(entry.msgid.strip())
            if entry.msgid_plural:
                found.append(entry.msgid_plural.strip())
        return found

    def translated(self, translations: Sequence[str]) -> bytes:
        """Return the file with these as the messages' translations.

        Raises:
            ValueError: there are not as many as texts.
        """
        if len(translations) != len(self.texts):
            raise ValueError(f"{len(translations)} translations for {len(self.texts)} texts")
        given = iter(translations)
        for entry in self._entries:
            one = _edged(entry.msgid, next(given))
            if entry.msgid_plural:
                many = _edged(entry.msgid_plural, next(given))
                forms = range(self._plurals)
                entry.msgstr_plural = {i: many if i or self._plurals == 1 else one for i in forms}
            else:
                entry.msgstr = one
            if "fuzzy" in entry.flags:
                entry.flags.remove("fuzzy")
                entry.previous_msgid = entry.previous_msgid_plural = entry.previous_msgctxt = None
        return f"{self._messages}\n".encode()


def open_po(data: bytes, target: str) -> PoDocument:
    """Return a file of messages as a document.

    Raises:
        ValueError: it is not a file of messages.
    """
    declared = _CHARSET.search(data)
    source = read(data, declared[1].decode() if declared else None)
    try:
        # With a line break in front, as the library would take a single line for a file name.
        messages = polib.pofile("\n" + source.text)
    except (OSError, UnicodeError) as exc:
        raise ValueError(f"it is not a PO file: {exc}") from exc
    if not messages.metadata and not len(messages):
        raise ValueError("it is not a PO file: it has no messages")
    return PoDocument(messages, target)


def _edged(message: str, translation: str) -> str:
    """Return a translation with the spaces and line breaks around its message."""
    before, _, after = message.partition(message.strip())
    return f"{before}{writable(message, translation)}{after}"
