"""The end of a chat's answer: where it is cut, and how its tokens are counted.

Takes the text of a translation as it comes. Knows text and how to count tokens; does not know who
translates.
"""

from collections.abc import Callable, Sequence
from typing import Final

import regex

LONGEST: Final = 256  # characters of a word that are counted at one time
_WORD: Final = regex.compile(rf"\S{{1,{LONGEST}}}+")
_LAST_SPACE: Final = regex.compile(r"(?r)\s+")


class Output:
    """Cuts a growing text at a stop string or after so many tokens.

    Tokens are counted word by word, so that the count does not depend on how the text arrived; a
    very long word in parts, as a text without spaces is one.

    Args:
        count_tokens: counts the tokens of a text.
        max_tokens: in the whole text; None is no limit.
        stops: strings before which the text ends.

    Attributes:
        finish_reason: "stop", or "length" if it was cut by tokens or `mark_cut` was called.
        tokens: in what was returned so far.
        is_over: nothing more will be returned.
    """

    def __init__(
        self,
        count_tokens: Callable[[str], int],
        max_tokens: int | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens
        self._stops = [stop for stop in stops if stop]
        self._held = ""  # may be the start of a stop string, or of a longer word
        self.finish_reason = "stop"
        self.tokens = 0
        self.is_over = False

    def push(self, text: str) -> str:
        """Take text; return what is now certain."""
        if self.is_over:
            return ""
        self._held += text
        return self._give(is_end=False)

    def end(self) -> str:
        """Return what was held back."""
        if self.is_over:
            return ""
        found = self._give(is_end=True)
        self.is_over = True
        return found

    def mark_cut(self) -> None:
        """Note that the model did not finish."""
        if not self.is_over:
            self.finish_reason = "length"

    def _give(self, *, is_end: bool) -> str:
        found = [(self._held.find(stop), stop) for stop in self._stops]
        # The first to be complete wins: another may start before it and end after it.
        places = [(at + len(stop), at) for at, stop in found if at >= 0]
        if places:
            ready, self._held, is_end = self._held[: min(places)[1]], "", True
        else:
            ready = self._held if is_end else self._whole_words(self._beginning_of_stop())
            self._held = self._held[len(ready) :]
        given = self._within(ready)
        if places and not self.is_over:
            self.finish_reason, self.is_over = "stop", True
        return given

    def _within(self, text: str) -> str:
        """Count a text, and cut it once no tokens are left."""
        end = 0
        for word in _WORD.finditer(text):
            cost = self._count_tokens(word[0])
            if self._max_tokens is not None and self.tokens + cost > self._max_tokens:
                self.finish_reason, self.is_over, self._held = "length", True, ""
                return text[:end]
            self.tokens += cost
            end = word.end()
        return text

    def _whole_words(self, kept: int) -> str:
        """Return what is held, except so many characters and the word they may belong to."""
        ready = self._held[: len(self._held) - kept]
        if self._held[len(ready) : len(ready) + 1].isspace():
            return ready.rstrip()
        space = _LAST_SPACE.search(ready)
        begin = space.start() if space else 0
        word = ready[begin:]
        # Of a very long word, whole parts.
        spaces = len(word) - len(word.lstrip())
        begin += spaces + (len(word) - spaces) // LONGEST * LONGEST if len(word) > LONGEST else 0
        return ready[:begin]

    def _beginning_of_stop(self) -> int:
        """Return how many characters at the end may be the start of a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
