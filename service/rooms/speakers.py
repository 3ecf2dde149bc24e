"""Who speaks in a room on this replica: its sessions, and for whom each of them speaks.

Does not know sessions on other replicas, or what is said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from service.rooms.changes import Joined
from service.wire.protocol import ServerEvent


class Speaker(Protocol):
    """A session that speaks in a room."""

    def set_audience(self, targets: frozenset[str]) -> None:
        """Translate into these languages as well; they are what readers want now."""
        ...

    def tell(self, event: ServerEvent) -> None:
        """Tell the client something about the room."""
        ...


@dataclass(frozen=True, slots=True)
class _Here:
    speaker: Speaker
    source: str  # names who speaks, also in the sessions before and after it
    generation: int
    on_heard: Callable[[int], None]


class Speakers:
    """The sessions that speak in a room here, by their ids."""

    def __init__(self) -> None:
        self._by_session: dict[str, _Here] = {}

    def __bool__(self) -> bool:
        return bool(self._by_session)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._by_session

    def add(
        self,
        session_id: str,
        speaker: Speaker,
        source: str,
        generation: int,
        on_heard: Callable[[int], None],
    ) -> None:
        """Let a session speak; see `Room.join`."""
        self._by_session[session_id] = _Here(speaker, source, generation, on_heard)

    def remove(self, session_id: str, speaker: Speaker) -> bool:
        """Remove a session; return whether it spoke as this speaker.

        It may have come back already, as another one.
        """
        here = self._by_session.get(session_id)
        if here is None or here.speaker is not speaker:
            return False
        del self._by_session[session_id]
        return True

    def clear(self) -> None:
        """Nobody speaks any more."""
        self._by_session.clear()

    def source_of(self, session_id: str) -> str:
        """Return for whom a session speaks."""
        return self._by_session[session_id].source

    def heard(self, session_id: str, number: int) -> None:
        """Everybody has heard what a session said, if it is one of these."""
        if session_id in self._by_session:
            self._by_session[session_id].on_heard(number)

    def set_audience(self, targets: frozenset[str]) -> None:
        """Tell all which languages are read."""
        for here in list(self._by_session.values()):
            here.speaker.set_audience(targets)

    def tell(self, event: ServerEvent) -> None:
        """Tell all something about the room."""
        for here in list(self._by_session.values()):
            here.speaker.tell(event)

    def joined(self, origin: str) -> list[Joined]:
        """Return the changes by which they join from this replica."""
        return [
            Joined(each, origin, here.source, here.generation)
            for each, here in self._by_session.items()
        ]
