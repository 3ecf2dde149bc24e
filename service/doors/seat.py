"""A session's place in a room: whether it may speak there, what readers want of it, what they get.

Knows rooms and events; does not know sockets.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from service.captions.session import Session
from service.errors import ProtocolError, RestError
from service.rooms.changes import SpeakerEvent
from service.rooms.hub import Rooms
from service.rooms.room import Room
from service.wire import protocol

AGAIN_S: Final = 0.2  # after which a room that could not be reached is looked for again
NUMBERS: Final = 2**32  # more than there are events of a session on one replica


class _Unheard(NamedTuple):
    """What a room is to hear once it is saved, and which languages were read when it was said."""

    event: SpeakerEvent
    at_s: float
    asked: tuple[str, ...]


class Seat:
    """Lets a session speak in the room it asks for, if permitted.

    Args:
        hub: the rooms.
        session: that speaks.
        set_audience: has the session translate into what readers want.
        tell: sends an event to the client.
    """

    def __init__(
        self,
        hub: Rooms,
        session: Session,
        set_audience: Callable[[frozenset[str]], None],
        tell: Callable[[protocol.ServerEvent], None],
    ) -> None:
        self._hub = hub
        self._session = session
        self._set_audience = set_audience
        self._tell = tell
        self._found: Room | None = None  # the newest requested room
        self._room: Room | None = None
        self._source_id: str | None = None  # the speaker's identity there
        self.granted: str | None = None  # the room that the client hosts
        self.may_speak_anywhere = False
        self.generation = 0
        self._number = 0  # of the newest event for the room
        self._released = 0  # of the newest event given to it
        self._unheard: dict[int, _Unheard] = {}

    # ---- a session that replicas share ----

    @property
    def number(self) -> int:
        """Number of the newest event that the room is to hear."""
        return self._number

    @property
    def holds(self) -> bool:
        """Whether the room has not been given everything yet."""
        return self._released < self._number

    def release(self, number: int) -> None:
        """Let the room hear what has been saved: all events up to a number."""
        for each in range(self._released + 1, number + 1):
            if self._room is not None:
                self._tell_room(each)
            else:
                del self._unheard[each]
        self._released = max(self._released, number)

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values."""
        return {
            "granted": self.granted,
            "may_speak_anywhere": self.may_speak_anywhere,
            "number": self._number,
            "unheard": {
                str(number): [protocol.serialise(each.event), list(each.asked)]
                for number, each in self._unheard.items()
            },
        }

    async def load(self, state: dict[str, Any], now_s: float) -> None:
        """Take over the place of a session that was on another replica, if its room exists.

        The room hears again what it may not have heard. Waits until it is known whether there is
        one: a session that went on without would speak, and nobody would ever hear it.
        """
        self.granted, self.may_speak_anywhere = state["granted"], state["may_speak_anywhere"]
        # Beyond all numbers of earlier replicas: one of them may have told the room more than it
        # saved, while Redis was lost to it, and what is said now would pass for that.
        self._number = self._released = self.generation * NUMBERS
        wanted = self._session.settings.room
        if wanted is None:
            return
        self._found = await self._reach(wanted)
        if self._found is None:
            return
        self.follow()
        for number, (frame, asked) in state["unheard"].items():
            event: Any = protocol.parse_server(frame)
            self._unheard[int(number)] = _Unheard(event, now_s, tuple(asked))
            if self._room is not None:
                self._tell_room(int(number))

    async def _reach(self, room_id: str) -> Room | None:
        """Return a room, None where there is none of this name."""
        while True:
            try:
                return await self._hub.room(room_id)
            except RestError as exc:
                if exc.status == 404:
                    return None
            await asyncio.sleep(AGAIN_S)

    def _tell_room(self, number: int) -> None:
        each = self._unheard[number]
        assert self._room is not None
        self._room.speak(self._session.id, each.event, each.at_s, number, each.asked)

    def _hear(self, number: int) -> None:
        for each in [each for each in self._unheard if each <= number]:
            del self._unheard[each]

    def _speak(self, event: SpeakerEvent, now_s: float) -> None:
        if self._room is None:
            return
        if not self.generation:
            self._room.speak(self._session.id, event, now_s)
            return
        if self._room.is_closed:
            self._unheard.clear()
            self._released = self._number
            return
        self._number += 1
        # The session translates it for those who read now, not for those who come before the room
        # hears of it.
        asked = tuple(sorted(self._room.audience))
        self._unheard[self._number] = _Unheard(event, now_s, asked)

    # ---- its place in a room ----

    async def check(self, event: protocol.ClientEvent) -> None:
        """Inspect an event before the session takes it.

        Raises:
            ProtocolError: it asks for a room in which the client may not speak.
        """
        if not isinstance(event, protocol.SessionUpdate) or event.session.room is None:
            return
        try:
            self.granted = await self._hub.hosted_by(event.token) or self.granted
            room = await self._hub.room(event.session.room)
        except RestError as exc:
            code = "unknown_room" if exc.status == 404 else "overloaded"
            raise ProtocolError(code, str(exc), "session.room") from exc
        if room.id != self.granted and not self.may_speak_anywhere:
            message = "speaking in a room needs its host token"
            raise ProtocolError("unauthorized", message, "session.room")
        if room.is_closed:
            raise ProtocolError("unknown_room", "the room is closed", "session.room")
        self._found = room

    def follow(self) -> None:
        """Take the place that the session's settings ask for."""
        wanted, source_id = self._session.settings.room, self._session.settings.source_id
        if wanted == (self._room.id if self._room else None) and source_id == self._source_id:
            return
        self.leave()
        if wanted is not None and self._found is not None and self._found.id == wanted:
            self._room, self._source_id = self._found, source_id
            self._room.join(self._session.id, self, source_id, self.generation, self._hear)

    def set_audience(self, targets: frozenset[str]) -> None:
        """Readers want these languages."""
        self._set_audience(targets)

    def tell(self, event: protocol.ServerEvent) -> None:
        """Tell the client something about the room."""
        self._tell(event)

    def pass_on(self, event: protocol.ServerEvent, now_s: float) -> bool:
        """Let the room hear an event; return whether the client gets it as well."""
        if isinstance(event, protocol.SourceDelta | protocol.SourceFinal):
            self._speak(event, now_s)
            return False
        if isinstance(event, protocol.CaptionCue):
            return event.target in self._session.settings.targets
        if self._room is None or not isinstance(
            event,
            protocol.TranslationDelta | protocol.TranslationFinal | protocol.TranslationRetracted,
        ):
            return True
        self._speak(event, now_s)
        targets = self._session.settings.targets
        return event.target in targets or event.target not in self._room.audience

    def leave(self) -> None:
        """Stop speaking."""
        self.release(self._number)
        self._unheard.clear()
        room, self._room, self._source_id = self._room, None, None
        if room is not None:
            room.leave(self._session.id, self)

    def let_go(self) -> None:
        """The session continues on another replica."""
        room, self._room = self._room, None
        if room is not None:
            room.let_go(self._session.id, self)
