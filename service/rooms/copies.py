"""This replica's copy of a room that replicas share: how far it is, and what it has to write.

A change made here waits, is in flight until it is known to be written, and happens once it comes
back from the log. Does no I/O and reads no clock.
"""

import asyncio
from collections import deque
from typing import Final

from service.rooms.changes import Change, Reads, Spoke, decode, encode
from service.rooms.hub import new_guesses
from service.rooms.log import Entry, Picture
from service.rooms.phrases import Phrases
from service.rooms.room import Room
from service.wire.protocol import SourceDelta, SourceFinal, TranslationDelta, TranslationFinal

BATCH: Final = 256  # changes written at one time
MAX_SENT: Final = 2000  # changes kept in case Redis loses them
MANY_WAITING: Final = 1000  # from here on, deltas of finished segments are not kept
SETTLE_S: Final = 3.0  # to wait for a change to happen


class Copy:
    """A copy of a room.

    Args:
        replica: this one.

    Attributes:
        room: set at once by whoever makes the copy; its changes go to `put`.
        life: of the room in Redis: another one where that was lost and restored.
        at: number of the newest change that happened here.
        drawn: event of the room that the newest known picture was taken at.
        opened_ms: when the room was opened, on the clock on the wall.
        host: digest of the host's token.
        seen: newest count of each replica among the changes that happened.
        used_s: when it was last asked for.
        lock: held while it is being read or restored.
        is_behind: whether it missed a change.
    """

    room: Room

    def __init__(self, replica: str) -> None:
        self.life = ""
        self.at = 0
        self.drawn = 0
        self.opened_ms = 0
        self.host = ""
        self.seen: dict[str, int] = {}
        self.used_s = 0.0
        self.lock = asyncio.Lock()
        self.is_behind = False
        self.guesses = new_guesses()
        self.phrases = Phrases()
        self._replica = replica
        self._count = 0  # of this replica's newest change
        self._waiting: deque[tuple[int, Change]] = deque()
        self._flight: list[tuple[int, bytes]] = []  # perhaps written already
        self._sent: deque[tuple[int, bytes]] = deque(maxlen=MAX_SENT)
        self._settling: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def has_unwritten(self) -> bool:
        """Whether changes made here are still to be written."""
        return bool(self._waiting or self._flight)

    def put(self, change: Change) -> None:
        """Take a change made here that is to be written."""
        self._count += 1
        if isinstance(change, Reads):  # only the newest counts
            self._waiting = deque(each for each in self._waiting if not isinstance(each[1], Reads))
        elif len(self._waiting) > MANY_WAITING and _ends(change):
            self._waiting = deque(each for each in self._waiting if not _is_over(each[1], change))
        self._waiting.append((self._count, change))

    def take_flight(self) -> list[tuple[int, bytes]]:
        """Return the changes to write next, each with its count."""
        while self._waiting and len(self._flight) < BATCH:
            count, change = self._waiting.popleft()
            self._flight.append((count, encode(change)))
        return list(self._flight)

    def note_written(self, flight: list[tuple[int, bytes]]) -> None:
        """Note that a flight is written, unless the copy has started over since."""
        if self._flight[: len(flight)] == flight:
            self._sent.extend(flight)
            del self._flight[: len(flight)]

    def apply(self, entry: Entry) -> Change | None:
        """Apply the change whose turn it is and return it; note where one is missing before it."""
        if entry.number <= self.at:
            return None
        if entry.number > self.at + 1:
            self.is_behind = True
            return None
        self.at, self.seen[entry.origin] = entry.number, entry.count
        change = decode(entry.data)
        self.room.apply(change)
        if self._settling and entry.origin == self._replica:
            for count, future in self._settling:
                if count <= entry.count and not future.done():
                    future.set_result(None)
            self._settling = [each for each in self._settling if not each[1].done()]
        return change

    def load(self, picture: Picture, opened_s: float) -> None:
        """Start from a picture of the room.

        Args:
            opened_s: when the room was opened, on the clock of all calls.
        """
        is_other_life = self.life not in ("", picture.life)
        self.life, self.at, self.drawn = picture.life, picture.at, picture.room["number"]
        self.opened_ms, self.host, self.seen = picture.opened_ms, picture.host, picture.seen
        self.room.opened_s = opened_s
        self.room.load(picture.room, picture.segments.items())
        seen = self.seen.get(self._replica, 0)
        self._count = max(self._count, seen)
        if is_other_life:  # write again what Redis has lost of this replica's changes
            again = {count: data for count, data in (*self._sent, *self._flight) if count > seen}
            self._flight, self._sent = sorted(again.items()), deque(maxlen=MAX_SENT)
            self.rejoin()

    def rejoin(self) -> None:
        """Say again who is here."""
        for change in self.room.return_here():
            self.put(change)

    async def settled(self) -> bool:
        """Wait until all changes made here have happened; return whether they have."""
        if self.seen.get(self._replica, 0) >= self._count:
            return True
        future = asyncio.get_running_loop().create_future()
        self._settling.append((self._count, future))
        try:
            async with asyncio.timeout(SETTLE_S):
                await future
        except TimeoutError:
            return False
        return True


def _ends(change: Change) -> bool:
    return isinstance(change, Spoke) and isinstance(change.event, TranslationFinal | SourceFinal)


def _is_over(change: Change, ending: Change) -> bool:
    """Whether a delta tells nothing that a final does not tell as well."""
    if not isinstance(change, Spoke) or not isinstance(ending, Spoke):
        return False
    event, final = change.event, ending.event
    if change.session_id != ending.session_id or event.segment_id != final.segment_id:
        return False
    if isinstance(final, TranslationFinal):
        return isinstance(event, TranslationDelta) and event.target == final.target
    return isinstance(event, SourceDelta)
