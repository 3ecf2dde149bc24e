"""Turns a growing sequence of ids into text: what was decoded once is not decoded again.

Knows ids and characters; does not know models or what the text means.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

TokenText = Callable[[Sequence[int]], tuple[str, list[int]]]
"""ids -> (their text, whole characters only; offsets: characters known after 0, 1, ... n ids)."""


class TextDecoder(Protocol):
    """Turns a growing sequence of ids into whole characters."""

    def push(self, ids: Sequence[int]) -> str: ...


class Detokenizer:
    """A `TokenText` that remembers its last ids: adding ids decodes only the new ones.

    Args:
        make_decoder: returns a fresh decoder for one sequence of ids.
    """

    def __init__(self, make_decoder: Callable[[], TextDecoder]) -> None:
        self._make_decoder = make_decoder
        self._decoder = make_decoder()
        self._tokens: list[int] = []
        self._text = ""
        self._offsets = [0]

    def __call__(self, tokens: Sequence[int]) -> tuple[str, list[int]]:
        """Return the text of ids, whole characters only, and how much of it each id completes."""
        known = self._tokens
        if list(tokens[: len(known)]) != known[: len(tokens)]:
            self._decoder = self._make_decoder()
            self._tokens, self._text, self._offsets = [], "", [0]
        for token in tokens[len(self._tokens) :]:
            self._tokens.append(token)
            self._text += self._decoder.push([token])
            self._offsets.append(len(self._text))
        offsets = self._offsets[: len(tokens) + 1]
        return self._text[: offsets[-1]], offsets
