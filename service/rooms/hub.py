"""The rooms of this process: opened by hosts, found by readers, closed when nobody comes.

Knows rooms and secrets; does no I/O and reads no clock. It can be waited for all the same, as the
hub that replicas share (shared_hub.py) has to be.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from service.errors import RestError
from service.load.limits import Misses
from service.rooms.room import Room

ID_BYTES: Final = 12  # 96 bits: nobody finds a room without its link
MAX_NAME_CHARS: Final = 100
MAX_PASS_CHARS: Final = 200
GUESSES: Final = 30  # wrong pass phrases of a room from one address, in GUESSES_S
GUESSES_IN_ALL: Final = 300  # from all addresses; below it no address locks out another
GUESSES_S: Final = 60.0

OnLack = Callable[[Room, str], None]


class Rooms(Protocol):
    """Keeps rooms, for this process or for all replicas.

    Every look-up of a room raises RestError: 404 if there is none of this name, 503 if it
    cannot be reached now.

    Attributes:
        on_lack: told of a language that is read in a room and that something lacks.
    """

    on_lack: OnLack

    def __len__(self) -> int: ...

    @property
    def num_readers(self) -> int:
        """How many read in this process, in all rooms."""
        ...

    async def start(self) -> None:
        """Start; the event loop is running now."""
        ...

    async def stop(self) -> None:
        """Stop; whoever is still connected counts as gone."""
        ...

    async def create(self, name: str, pass_phrase: str | None, now_s: float) -> tuple[Room, str]:
        """Open a room; return it and its host's token.

        Raises:
            RestError: the name or the pass phrase is too long, or there are too many rooms.
        """
        ...

    async def room(self, room_id: str) -> Room:
        """Return a room."""
        ...

    async def hosted_by(self, token: str | None) -> str | None:
        """Return the id of the room whose host holds this token."""
        ...

    async def enter(
        self, room_id: str, pass_phrase: str | None, now_s: float, address: str = ""
    ) -> Room:
        """Return a room to somebody who wants to read it.

        Args:
            address: of the reader; only so many wrong pass phrases are checked for each.
        Raises:
            RestError: also where the pass phrase is missing or wrong.
        """
        ...

    async def set_pass_phrase(self, room: Room, pass_phrase: str | None) -> None:
        """Require a new pass phrase of readers from now on, or none.

        Raises:
            RestError: it is too long.
        """
        ...

    def rename(self, room: Room, name: str) -> None:
        """Rename a room.

        Raises:
            RestError: it is too long.
        """
        ...

    async def settled(self, room: Room) -> bool:
        """Wait until a change made here has happened; return whether it has."""
        ...

    def wake_all(self) -> None:
        """Wake all readers: the service is shutting down."""
        ...


@dataclass(slots=True)
class _Entry:
    room: Room
    token_digest: bytes
    guesses: Misses


class Hub:
    """Keeps the rooms of this process.

    Args:
        max_rooms: that are kept at one time.
        idle_s: a room that nobody used for so long is forgotten.
    """

    def __init__(self, max_rooms: int, idle_s: float) -> None:
        self.on_lack: OnLack = lambda room, target: None
        self._max_rooms = max_rooms
        self._idle_s = idle_s
        self._entries: dict[str, _Entry] = {}
        self._by_token: dict[bytes, str] = {}
        self._salt = secrets.token_bytes(16)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def num_readers(self) -> int:
        """How many readers there are, in all rooms."""
        return sum(entry.room.num_readers for entry in self._entries.values())

    async def start(self) -> None:
        """There is nothing to begin."""

    async def stop(self) -> None:
        """Rooms end with their process."""

    async def create(self, name: str, pass_phrase: str | None, now_s: float) -> tuple[Room, str]:
        """Open a room; return it and its host's token.

        Raises:
            RestError: the name or the pass phrase is too long, or there are too many rooms.
        """
        check_name(name)
        check_pass_phrase(pass_phrase)
        self.expire(now_s)
        if len(self._entries) >= self._max_rooms:
            raise RestError(429, "all rooms are taken")
        room_id, token = secrets.token_urlsafe(ID_BYTES), secrets.token_urlsafe(32)
        room = Room(room_id, name, now_s, on_lack=lambda room, target: self.on_lack(room, target))
        room.set_guard(self._guard(pass_phrase))
        entry = _Entry(room, self._digest(token), new_guesses())
        self._entries[room.id] = entry
        self._by_token[entry.token_digest] = room.id
        return room, token

    async def room(self, room_id: str) -> Room:
        """Return a room.

        Raises:
            RestError: there is none of this name.
        """
        return self._entry(room_id).room

    async def hosted_by(self, token: str | None) -> str | None:
        """Return the id of the room whose host holds this token."""
        return self._by_token.get(self._digest(token)) if token else None

    async def enter(
        self, room_id: str, pass_phrase: str | None, now_s: float, address: str = ""
    ) -> Room:
        """Return a room to somebody who wants to read it.

        Raises:
            RestError: there is none of this name, or the pass phrase is missing or wrong.
        """
        self.expire(now_s)
        entry = self._entry(room_id)
        room, guesses = entry.room, entry.guesses
        if room.guard is None:
            return room
        if guesses.is_over(address, now_s):
            raise too_many_guesses()
        given = self._guard(pass_phrase)
        if given is None or not hmac.compare_digest(room.guard, given):
            if given is not None:
                guesses.note(address)
            raise wrong_pass_phrase()
        return room

    async def set_pass_phrase(self, room: Room, pass_phrase: str | None) -> None:
        """Require a new pass phrase of readers from now on, or none.

        Raises:
            RestError: it is too long.
        """
        check_pass_phrase(pass_phrase)
        room.set_guard(self._guard(pass_phrase))

    def rename(self, room: Room, name: str) -> None:
        """Rename a room.

        Raises:
            RestError: it is too long.
        """
        check_name(name)
        room.rename(name)

    async def settled(self, room: Room) -> bool:
        """Changes happen at once."""
        return True

    def wake_all(self) -> None:
        """Wake all readers: the service is shutting down."""
        for entry in self._entries.values():
            entry.room.wake_all()

    def expire(self, now_s: float) -> None:
        """Forget rooms that nobody has used for long."""
        for room_id, entry in list(self._entries.items()):
            room = entry.room
            if not room.is_used and now_s - room.used_s >= self._idle_s:
                room.close()
                del self._entries[room_id]
                del self._by_token[entry.token_digest]

    def _entry(self, room_id: str) -> _Entry:
        entry = self._entries.get(room_id)
        if entry is None:
            raise no_such_room()
        return entry

    def _digest(self, secret: str) -> bytes:
        return hashlib.sha256(self._salt + secret.encode()).digest()

    def _guard(self, pass_phrase: str | None) -> str | None:
        # A fast hash will do: it never leaves this process, so guesses come over the network only.
        return self._digest(pass_phrase).hex() if pass_phrase else None


def new_guesses() -> Misses:
    """Return the counter of wrong pass phrases of a room."""
    return Misses(GUESSES, GUESSES_IN_ALL, GUESSES_S)


def check_name(name: str) -> None:
    """Reject a name that is too long.

    Raises:
        RestError: it is.
    """
    _check("name", name, MAX_NAME_CHARS)


def check_pass_phrase(pass_phrase: str | None) -> None:
    """Reject a pass phrase that is too long.

    Raises:
        RestError: it is.
    """
    _check("pass_phrase", pass_phrase or "", MAX_PASS_CHARS)


def no_such_room() -> RestError:
    """Return the error for an unknown room name."""
    return RestError(404, "there is no such room, or it was closed long ago")


def wrong_pass_phrase() -> RestError:
    """Return the error for a wrong pass phrase."""
    return RestError(403, "the room has a pass phrase, and it is missing or wrong")


def too_many_guesses() -> RestError:
    """Return the error for too many wrong pass phrases."""
    return RestError(429, "too many wrong pass phrases; try again later", int(GUESSES_S))


def _check(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise RestError(400, f"{name} has {len(text)} characters, at most {most}")
