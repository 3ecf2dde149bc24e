"""A session's place in a room: whether it may speak there, what readers want of it, what they get.

Knows rooms and events; does not know sockets.
"""

from collections.abc import Callable

from service.captions.session import Session
from service.errors import ProtocolError, RestError
from service.rooms.hub import Rooms
from service.rooms.room import Room
from service.wire import protocol


class Seat:
    """Lets a session speak in the room that it asks for, if it may.

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
        self._found: Room | None = None  # the room that was asked for last
        self._room: Room | None = None
        self._source_id: str | None = None  # as which the session speaks there
        self.granted: str | None = None  # the room that the client is the host of
        self.may_speak_anywhere = False

    async def check(self, event: protocol.ClientEvent) -> None:
        """Look at an event before the session takes it.

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
        """Take the place that the session's settings say."""
        wanted, source_id = self._session.settings.room, self._session.settings.source_id
        if wanted == (self._room.id if self._room else None) and source_id == self._source_id:
            return
        self.leave()
        if wanted is not None and self._found is not None and self._found.id == wanted:
            self._room, self._source_id = self._found, source_id
            self._room.join(self._session.id, self, source_id)

    def set_audience(self, targets: frozenset[str]) -> None:
        """Readers want these languages."""
        self._set_audience(targets)

    def tell(self, event: protocol.ServerEvent) -> None:
        """Let the client know something of the room."""
        self._tell(event)

    def pass_on(self, event: protocol.ServerEvent, now_s: float) -> bool:
        """Let the room hear an event; return whether the client gets it as well."""
        if isinstance(event, protocol.SourceDelta | protocol.SourceFinal):
            if self._room is not None:
                self._room.speak(self._session.id, event, now_s)
            return False
        if isinstance(event, protocol.CaptionCue):
            return event.target in self._session.settings.targets
        if self._room is None or not isinstance(
            event,
            protocol.TranslationDelta | protocol.TranslationFinal | protocol.TranslationRetracted,
        ):
            return True
        self._room.speak(self._session.id, event, now_s)
        targets = self._session.settings.targets
        return event.target in targets or event.target not in self._room.audience

    def leave(self) -> None:
        """Speak no more."""
        room, self._room, self._source_id = self._room, None, None
        if room is not None:
            room.leave(self._session.id)
