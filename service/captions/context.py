"""The preceding sentences, with their translations, that are given to the model as context.

Knows pairs by language; does not know how many a session asked for.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from service.captions.job import ContextPair
from service.captions.settings import MAX_CONTEXT


class Context:
    """The newest pairs of each target, each with the language of its source."""

    def __init__(self) -> None:
        self._by_target: dict[str, deque[tuple[str | None, ContextPair]]] = {}

    def add(self, target: str, pairs: Iterable[tuple[str | None, ContextPair]]) -> None:
        """Remember (language, pair); pairs too old ever to be asked for are forgotten."""
        known = self._by_target.setdefault(target, deque(maxlen=MAX_CONTEXT))
        known.extend(pairs)

    def of(self, target: str, language: str | None, count: int) -> list[ContextPair]:
        """Return the newest pairs of a target with this source language, at most `count`."""
        known = [pair for said, pair in self._by_target.get(target, ()) if said == language]
        return known[len(known) - min(count, len(known)) :]

    def dump(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {target: list(known) for target, known in self._by_target.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Restore what another instance dumped."""
        for target, known in state.items():
            self.add(target, ((said, (text, tuple(ids))) for said, (text, ids) in known))

    def clear(self) -> None:
        """Forget everything: what follows is unrelated to it."""
        self._by_target.clear()
