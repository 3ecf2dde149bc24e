"""What was said in a room: its segments in the order in which they began, and how they changed.

Each event has a number, and each segment knows the event that changed it last, so that a reader who
missed some can be told what changed since. Does not know who is in the room or reads it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from operator import itemgetter
from typing import Any, Final

from service.rooms.changes import SpeakerEvent
from service.rooms.said import Said, Told
from service.wire.protocol import SourceDelta, SourceFinal, TranslationDelta, TranslationFinal
from tokenspeed.text.steps import Steps

MAX_SEGMENTS: Final = 10_000  # in a transcript; the oldest are dropped
SEGMENTS_OF_A_STEP: Final = 500  # looked at in one go, in half a millisecond


class Record:
    """The segments of a room.

    Attributes:
        segments: by number, oldest first.
        number: of the newest event. t_ms: its time, since the room was opened.
        over: number of the newest finished segment.
    """

    def __init__(self) -> None:
        self.segments: dict[int, Said] = {}
        self.number = 0
        self.t_ms = 0.0
        self.over = 0
        self._said = 0  # number of the newest segment
        self._by_key: dict[tuple[str, str], Said] = {}
        # By number of a segment: the event that changed it last; the newest one comes last.
        self._changed: dict[int, int] = {}
        # By language: number of a segment up to which all are finished and, if needed, translated.
        self._complete: dict[str, int] = {}

    def find(self, source: str, name: str) -> Said | None:
        """Return the segment to which a speaker gave this name."""
        return self._by_key.get((source, name))

    def continued(
        self,
        key: tuple[str, str],
        session_id: str,
        event: SourceDelta | SourceFinal,
        newest_session: str | None,
    ) -> Said:
        """Return the segment that a source event continues, or a new one.

        Args:
            key: speaker, and that speaker's name for the segment.
            newest_session: the one that spoke last for this speaker: only that one takes over a
                segment that another session began.
        """
        if key not in self._by_key:
            self._said += 1
            said = Said(
                self._said, key, session_id, event.speaker, event.language, self.t_ms, self.t_ms
            )
            self._by_key[key] = self.segments[self._said] = said
        said = self._by_key[key]
        if said.session_id not in (session_id, newest_session):
            said.session_id, said.asked = session_id, frozenset()
            said.moved = self.number + 1  # whether or not what it says is news
            for told in said.channels.values():
                told.behind = ""
        if not said.source.is_final:
            said.speaker = event.speaker or said.speaker
            said.language = event.language or said.language
            said.end_ms = self.t_ms
        return said

    def drop_oldest(self) -> int | None:
        """Drop the oldest segment if there are too many; return its number."""
        if len(self.segments) <= MAX_SEGMENTS:
            return None
        oldest = self.segments.pop(next(iter(self.segments)))
        self._by_key.pop(oldest.key, None)
        self._changed.pop(oldest.number, None)
        return oldest.number

    def note(self, said: Said, channel: str, event: SpeakerEvent) -> SpeakerEvent | None:
        """Change a channel of a segment; return the event as readers are told it.

        None: the channel had ended.
        """
        told = said.channels.setdefault(channel, Told())
        if told.is_final or told.is_retracted:
            return None
        self.number += 1
        told.changed = self.number
        self._changed.pop(said.number, None)
        self._changed[said.number] = self.number
        if isinstance(event, TranslationFinal):
            told.end(event.text)
        elif isinstance(event, SourceFinal):
            told.end(event.text)
            self.over = max(self.over, said.number)
        elif isinstance(event, TranslationDelta):
            event = told.grow(event)
        elif isinstance(event, SourceDelta):
            told.text, told.unstable = event.stable, event.unstable
        else:
            told.end("", is_retracted=True)
        told_as = replace(event, segment_id=str(said.number), seq=self.number, t_ms=self.t_ms)
        if isinstance(told_as, TranslationDelta | TranslationFinal):
            told_as = replace(told_as, speaker=said.speaker, timing=None)
        if isinstance(told_as, TranslationFinal | SourceFinal):
            told_as = replace(told_as, start_ms=said.start_ms, end_ms=said.end_ms)
        return told_as

    def may_lack(self, target: str) -> bool:
        """Whether it is not known that all segments have a language."""
        return self._complete.get(target, 0) < self._said

    def lacking(self, target: str) -> Steps[list[Said]]:
        """Find in steps the finished segments that may still lack a language, newest first."""
        found: list[Said] = []
        if not self.may_lack(target):
            return found
        segments, last = self.segments, self._said
        complete, undone = self._complete.get(target, 0), 0
        for count, said in enumerate(list(reversed(segments.values())), 1):
            if said.number <= complete:
                break
            if not count % SEGMENTS_OF_A_STEP:
                yield
            if _is_complete(said, target):
                continue
            undone = said.number
            if said.source.is_final:
                found.append(said)
        if segments is self.segments:  # otherwise the room was restored in the meantime
            self._complete[target] = (undone or last + 1) - 1
        return found

    def changed_after(self, number: int) -> Iterator[Said]:
        """Yield the segments that an event after this one changed, the newest change first."""
        for each, changed in reversed(self._changed.items()):
            if changed <= number:
                return
            yield self.segments[each]

    def dump(self, since: int = 0) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """Return its numbers, and the segments that changed after an event."""
        head = {
            "number": self.number,
            "t_ms": self.t_ms,
            "said": self._said,
            "over": self.over,
            "oldest": next(iter(self.segments), self._said + 1),
        }
        changed = {
            number: asdict(said) | {"asked": sorted(said.asked)}
            for number, said in self.segments.items()
            if max((said.moved, *(told.changed for told in said.channels.values()))) > since
        }
        return head, changed

    def load(self, head: dict[str, Any], segments: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Restore another replica's: `segments` is another dict from now on."""
        self.number, self.t_ms = head["number"], head["t_ms"]
        self._said, self.over = head["said"], head["over"]
        self.segments = {
            number: Said(
                **each
                | {
                    "key": tuple(each["key"]),
                    "asked": frozenset(each["asked"]),
                    "channels": {name: Told(**told) for name, told in each["channels"].items()},
                }
            )
            for number, each in sorted(segments)
            if number >= head["oldest"]
        }
        self._by_key = {said.key: said for said in self.segments.values()}
        newest = {
            number: max((told.changed for told in said.channels.values()), default=0)
            for number, said in self.segments.items()
        }
        self._changed = dict(sorted(newest.items(), key=itemgetter(1)))
        self._complete.clear()


def _is_complete(said: Said, target: str) -> bool:
    """Whether a segment will never lack a language again."""
    if not said.source.is_final:
        return False
    told = said.channels.get(target)
    is_told = told is not None and (told.is_final or told.is_retracted)
    return is_told or said.language == target or not said.source.text.strip()
