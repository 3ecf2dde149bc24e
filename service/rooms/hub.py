"""The rooms of this process: opened by hosts, found by their readers, closed when nobody comes.

Knows rooms and secrets; does no I/O and reads no clock.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from service.errors import RestError
from service.rooms.room import Room

ID_BYTES: Final = 12  # 96 bits: who was not given the link cannot find the room
MAX_NAME_CHARS: Final = 100
MAX_PASS_CHARS: Final = 200
GUESSES: Final = 30  # of a room's pass phrase, wrong ones in GUESSES_S
GUESSES_S: Final = 60.0


@dataclass(slots=True)
class _Entry:
    room: Room
    token_digest: bytes
    pass_digest: bytes | None
    guesses: int = 0  # wrong ones since guessed_s
    guessed_s: float = 0.0


class Hub:
    """Keeps rooms.

    Args:
        max_rooms: that are kept at one time.
        idle_s: a room that nobody used for so long is forgotten.
    """

    def __init__(self, max_rooms: int, idle_s: float) -> None:
        self._max_rooms = max_rooms
        self._idle_s = idle_s
        self._entries: dict[str, _Entry] = {}
        self._by_token: dict[bytes, Room] = {}
        self._salt = secrets.token_bytes(16)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def num_readers(self) -> int:
        """How many read along, in all rooms."""
        return sum(entry.room.num_readers for entry in self._entries.values())

    def create(self, name: str, pass_phrase: str | None, now_s: float) -> tuple[Room, str]:
        """Open a room; return it and its host's token.

        Raises:
            RestError: the name or the pass phrase is too long, or there are too many rooms.
        """
        _check("name", name, MAX_NAME_CHARS)
        _check("pass_phrase", pass_phrase or "", MAX_PASS_CHARS)
        self.expire(now_s)
        if len(self._entries) >= self._max_rooms:
            raise RestError(429, "all rooms are taken")
        room = Room(secrets.token_urlsafe(ID_BYTES), name, now_s)
        token = secrets.token_urlsafe(32)
        entry = _Entry(room, self._digest(token), self._pass_digest(pass_phrase))
        self._entries[room.id] = entry
        self._by_token[entry.token_digest] = room
        return room, token

    def room(self, room_id: str) -> Room:
        """Return a room.

        Raises:
            RestError: there is none of this name.
        """
        entry = self._entries.get(room_id)
        if entry is None:
            raise RestError(404, "there is no such room, or it was closed long ago")
        return entry.room

    def hosted_by(self, token: str | None) -> Room | None:
        """Return the room that a token is the host's of."""
        return self._by_token.get(self._digest(token)) if token else None

    def enter(self, room_id: str, pass_phrase: str | None, now_s: float) -> Room:
        """Return a room to somebody who wants to read it.

        Raises:
            RestError: there is none of this name, or the pass phrase is missing or wrong.
        """
        self.expire(now_s)
        room, entry = self.room(room_id), self._entries[room_id]
        if entry.pass_digest is None:
            return room
        if now_s - entry.guessed_s >= GUESSES_S:
            entry.guesses, entry.guessed_s = 0, now_s
        if entry.guesses >= GUESSES:
            raise RestError(429, "too many wrong pass phrases; try again later", int(GUESSES_S))
        given = self._pass_digest(pass_phrase)
        if given is None or not hmac.compare_digest(entry.pass_digest, given):
            entry.guesses += given is not None
            raise RestError(403, "the room has a pass phrase, and it is missing or wrong")
        return room

    def has_pass_phrase(self, room_id: str) -> bool:
        """Whether readers are asked for one."""
        return self._entries[room_id].pass_digest is not None

    def set_pass_phrase(self, room_id: str, pass_phrase: str | None) -> None:
        """Ask readers who come from now on for another pass phrase, or for none.

        Raises:
            RestError: it is too long.
        """
        _check("pass_phrase", pass_phrase or "", MAX_PASS_CHARS)
        self._entries[room_id].pass_digest = self._pass_digest(pass_phrase)

    def rename(self, room_id: str, name: str) -> None:
        """Give a room another name.

        Raises:
            RestError: it is too long.
        """
        _check("name", name, MAX_NAME_CHARS)
        self._entries[room_id].room.rename(name)

    def wake_all(self) -> None:
        """Let all readers look up: the service goes away."""
        for entry in self._entries.values():
            entry.room.wake_all()

    def expire(self, now_s: float) -> None:
        """Forget the rooms that nobody used for long."""
        for room_id, entry in list(self._entries.items()):
            room = entry.room
            if not room.is_used and now_s - room.used_s >= self._idle_s:
                room.close()
                del self._entries[room_id]
                del self._by_token[entry.token_digest]

    def _digest(self, secret: str) -> bytes:
        return hashlib.sha256(self._salt + secret.encode()).digest()

    def _pass_digest(self, pass_phrase: str | None) -> bytes | None:
        # Guessing goes over the network alone: the phrase itself is not kept, nor is its digest.
        return self._digest(pass_phrase) if pass_phrase else None


def _check(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise RestError(400, f"{name} has {len(text)} characters, at most {most}")
