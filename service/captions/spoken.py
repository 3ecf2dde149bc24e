"""Which language each piece of a session is in, as its text grows.

With hysteresis: a language stays until the text clearly contradicts it, and an unclear text is
taken to be in the language spoken before. Knows text and names of languages; does not know
translations, targets or the wire.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from service.captions.policy import Source
from tokenspeed.text.words import count_words

LanguageOf = Callable[[str, str | None], str | None]
"""(text, expected language) -> language, None if it would be a guess"""

CONTRADICTION_WORDS: Final = 4  # fewer words cannot contradict the language that a session names


class Spoken:
    """The language of each piece of one segment.

    Attributes:
        mismatch: a detected language other than the one named, None if there is none.
    """

    def __init__(self) -> None:
        self.mismatch: str | None = None
        self._pieces: list[tuple[str, str | None]] = []

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values."""
        return {"mismatch": self.mismatch, "pieces": self._pieces}

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state that another instance dumped."""
        self.mismatch = state["mismatch"]
        self._pieces = [(text, found) for text, found in state["pieces"]]

    @property
    def languages(self) -> list[str | None]:
        """The languages of all pieces, in order."""
        return [found for _, found in self._pieces]

    @property
    def language(self) -> str | None:
        """The language of the last piece whose language is known."""
        return next((found for _, found in reversed(self._pieces) if found is not None), None)

    def mark(
        self,
        sources: Sequence[Source],
        part: range,
        language_of: LanguageOf,
        named: str | None,
        before: str | None,
    ) -> list[Source]:
        """Return some pieces with their languages filled in.

        Args:
            sources: all pieces of the segment.
            part: which of them; the ones before were done earlier.
            named: the source language in the session's settings, None if not set.
            before: the language spoken before this segment.
        """
        del self._pieces[len(sources) :]
        before = named or before
        for index in part:
            source = sources[index]
            if index:
                before = self._pieces[index - 1][1] or before
            is_new = index == len(self._pieces)
            text, last = (None, None) if is_new else self._pieces[index]
            found = last
            if text != source.text:
                found = last or before
                if named is None or count_words(source.text) >= CONTRADICTION_WORDS:
                    # A language that was only expected is dropped where the text is unclear.
                    found = language_of(source.text, found) or named or last
            self._pieces[index : index + 1] = [(source.text, found)]
        others = (found for _, found in self._pieces if named is not None and found != named)
        self.mismatch = next(others, None)
        return [replace(sources[index], language=self._pieces[index][1]) for index in part]
