"""Who speaks in a room, who reads it, and who translates what a language lacks: on which replica.

Follows the changes of all replicas in their order, so that it is the same on each. Does not know
what is said, or who is connected here.
"""

from collections import Counter
from typing import Any, Final

from service.rooms.changes import Joined
from service.rooms.said import SOURCE

MAX_HEARD: Final = 1000  # sessions whose progress is remembered


class Presence:
    """Who is in a room.

    Attributes:
        audience: languages that somebody reads.
        claims: the replica that translates what a language lacks, by language.
    """

    def __init__(self) -> None:
        self.audience: frozenset[str] = frozenset()
        self.claims: dict[str, str] = {}
        self._speaking: dict[str, str] = {}  # replica by session
        self._newest: dict[str, str] = {}  # session by speaker
        self._heard: dict[str, tuple[int, int]] = {}  # generation and number, by session
        self._reads: dict[str, dict[str, int]] = {}  # readers by language, by replica

    @property
    def num_speakers(self) -> int:
        """How many sessions speak."""
        return len(self._speaking)

    @property
    def readers_by_target(self) -> dict[str, int]:
        """How many readers each language has; `source` counts those who read only the source."""
        counts: Counter[str] = Counter()
        for reads in self._reads.values():
            counts.update(reads)
        return {target: count for target, count in counts.items() if count}

    @property
    def replicas(self) -> frozenset[str]:
        """Replicas on which something of the room is."""
        return frozenset((*self._speaking.values(), *self._reads, *self.claims.values()))

    def is_older(self, change: Joined) -> bool:
        """Whether a session has been on a later replica than the one that it joins from."""
        return change.generation < self._heard.get(change.session_id, (0, 0))[0]

    def join(self, change: Joined) -> bool:
        """Let a session speak; return whether another one spoke for the same speaker before."""
        session_id = change.session_id
        generation, number = self._heard.get(session_id, (0, 0))
        if change.generation > generation:
            self._note_heard(session_id, change.generation, number)
        self._speaking[session_id] = change.origin
        before = self._newest.get(change.source, session_id)
        self._newest[change.source] = session_id
        return before != session_id

    def leave(self, session_id: str, replica: str) -> bool:
        """A session stops speaking; return whether it spoke on this replica."""
        if self._speaking.get(session_id) != replica:
            return False
        self._forget_session(session_id)
        return True

    def lose(self, replica: str) -> bool:
        """A replica's sessions and claims are over; return whether any session spoke there."""
        left = [session_id for session_id, at in self._speaking.items() if at == replica]
        for session_id in left:
            self._forget_session(session_id)
        self.claims = {target: at for target, at in self.claims.items() if at != replica}
        return bool(left)

    def end_all(self) -> None:
        """Nobody speaks any more."""
        self._speaking.clear()
        self._newest.clear()

    def set_reads(self, replica: str, readers: dict[str, int]) -> bool:
        """Note who reads on a replica; return whether other languages are read now."""
        if readers:
            self._reads[replica] = readers
        else:
            self._reads.pop(replica, None)
        before = self.audience
        self.audience = frozenset(each for reads in self._reads.values() for each in reads)
        self.audience -= {SOURCE}
        return self.audience != before

    def is_at(self, session_id: str, replica: str) -> bool:
        """Whether a session speaks on a replica.

        One whose replica was wrongly taken for gone speaks on; one that moved elsewhere does not.
        """
        return self._speaking.setdefault(session_id, replica) == replica

    def is_newest(self, session_id: str, source: str) -> bool:
        """Whether a session is present, and nobody speaks in its place."""
        return session_id in self._speaking and session_id == self._newest.get(source, session_id)

    def newest(self, source: str) -> str | None:
        """Return the session that spoke last for a speaker."""
        return self._newest.get(source)

    def has_heard(self, session_id: str, number: int) -> bool:
        """Whether an event of a session has come before, from its previous replica."""
        return 0 < number <= self._heard.get(session_id, (0, 0))[1]

    def hear(self, session_id: str, number: int) -> None:
        """Note an event of a session."""
        self._note_heard(session_id, self._heard.get(session_id, (0, 0))[0], number)

    def dump(self) -> dict[str, Any]:
        """Return all of it, for other replicas."""
        return {
            "speaking": self._speaking,
            "newest": self._newest,
            "heard": self._heard,
            "reads": self._reads,
            "claims": self.claims,
        }

    def load(self, head: dict[str, Any]) -> None:
        """Restore another replica's; the audience follows with the next `set_reads`."""
        self._speaking, self._newest = dict(head["speaking"]), dict(head["newest"])
        self._reads, self.claims = dict(head["reads"]), dict(head["claims"])
        self._heard = {
            session_id: (generation, number)
            for session_id, (generation, number) in head["heard"].items()
        }

    def _note_heard(self, session_id: str, generation: int, number: int) -> None:
        self._heard.pop(session_id, None)
        self._heard[session_id] = (generation, number)  # the newest is the last
        if len(self._heard) > MAX_HEARD:
            del self._heard[next(iter(self._heard))]

    def _forget_session(self, session_id: str) -> None:
        del self._speaking[session_id]
        self._newest = {source: each for source, each in self._newest.items() if each != session_id}
