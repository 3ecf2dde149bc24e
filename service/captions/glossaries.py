"""Stored glossaries, in memory: given once, then referred to by id.

Whoever knows an id may use it, as ids cannot be guessed; only the owner of a glossary sees it in a
list, or can delete it. Reads no clock; does not know how a glossary was uploaded. Its methods are
coroutines only because those of the store that replicas share have to be.
"""

import secrets
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tokenspeed.text.glossary import Term

KEPT_S: Final = 24 * 3600.0  # after its last use
MAX_OF_CLIENT: Final = 20  # glossaries
MAX_ENTRIES: Final = 1000  # in one glossary
MAX_ENTRIES_IN_ALL: Final = 200_000


@dataclass(frozen=True, slots=True)
class StoredGlossary:
    """A glossary of one language pair; `created` is in seconds since 1970, for its owner."""

    id: str
    client: Hashable
    name: str
    source: str
    target: str
    terms: tuple[Term, ...]
    created: float
    until_s: float = 0.0


class Glossaries(Protocol):
    """Keeps glossaries, for this process or for all replicas.

    Its coroutines raise RestError (503) if the glossaries cannot be reached at the moment.
    """

    async def add(self, glossary: StoredGlossary, now_s: float) -> StoredGlossary | None:
        """Store a new glossary.

        Returns:
            The glossary as it is stored; None if the store or the client's share is full.
        """
        ...

    async def find(self, key: str, now_s: float) -> StoredGlossary | None:
        """Return a glossary by its id, and keep it for another day."""
        ...

    def recent(self, key: str, now_s: float) -> StoredGlossary | None:
        """Return a glossary that `find` has just found."""
        ...

    async def of(self, client: Hashable, now_s: float) -> list[StoredGlossary]:
        """Return the glossaries of a client, oldest first."""
        ...

    async def remove(self, key: str, client: Hashable) -> bool:
        """Delete a client's glossary; return whether there was one."""
        ...

    def is_of(self, glossary: StoredGlossary, client: Hashable) -> bool:
        """Whether a glossary is a client's own."""
        ...


class StoredGlossaries:
    """Glossaries by their ids, those of one process."""

    def __init__(self) -> None:
        self._kept: dict[str, StoredGlossary] = {}

    async def add(self, glossary: StoredGlossary, now_s: float) -> StoredGlossary | None:
        """Store a new glossary; return it, None if the store or the client's share is full."""
        self._forget(now_s)
        entries = sum(len(kept.terms) for kept in self._kept.values())
        is_full = entries + len(glossary.terms) > MAX_ENTRIES_IN_ALL
        if is_full or len(await self.of(glossary.client, now_s)) >= MAX_OF_CLIENT:
            return None
        made = self._kept[glossary.id] = replace(glossary, until_s=now_s + KEPT_S)
        return made

    async def find(self, key: str, now_s: float) -> StoredGlossary | None:
        """Return a glossary by its id, and keep it for another day."""
        return self.recent(key, now_s)

    def recent(self, key: str, now_s: float) -> StoredGlossary | None:
        """As `find`, which has nothing to wait for here."""
        self._forget(now_s)
        found = self._kept.get(key)
        if found is not None:
            found = self._kept[key] = replace(found, until_s=now_s + KEPT_S)
        return found

    async def of(self, client: Hashable, now_s: float) -> list[StoredGlossary]:
        """Return the glossaries of a client, oldest first."""
        self._forget(now_s)
        return [kept for kept in self._kept.values() if kept.client == client]

    async def remove(self, key: str, client: Hashable) -> bool:
        """Delete a client's glossary; return whether there was one."""
        is_own = key in self._kept and self._kept[key].client == client
        if is_own:
            del self._kept[key]
        return is_own

    def is_of(self, glossary: StoredGlossary, client: Hashable) -> bool:
        """Whether a glossary is a client's own."""
        return glossary.client == client

    def _forget(self, now_s: float) -> None:
        for key in [key for key, kept in self._kept.items() if kept.until_s <= now_s]:
            del self._kept[key]


def new_id() -> str:
    """Return an id, in the form of a UUID: 128 bits that nobody guesses."""
    key = secrets.token_hex(16)
    return "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))
