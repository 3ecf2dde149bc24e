"""One room: what its speakers said, in every language that somebody reads, and its current state.

A room numbers its segments in the order in which they began, and its events in the order in which
they happened. A reader who missed some is told how the segments stand that changed since, so the
room keeps no frames for anybody.

All that happens is a change; a room of one process applies it at once. A room that replicas share
hands it on, and applies all changes of all replicas in the order in which they come back. Does no
I/O and reads no clock; `wake` and `set_audience` are called at once.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from service.captions.segments import UNNAMED
from service.rooms.changes import (
    Change,
    Claimed,
    Closed,
    Gone,
    Guarded,
    Joined,
    Left,
    Reads,
    Renamed,
    SpeakerEvent,
    Spoke,
    Translated,
    Unclaimed,
)
from service.rooms.frames import Frame
from service.rooms.presence import Presence
from service.rooms.readers import Reader, Readers
from service.rooms.ready import Ready
from service.rooms.record import SEGMENTS_OF_A_STEP, Record
from service.rooms.said import SOURCE, Said, Told
from service.rooms.speakers import Speaker, Speakers
from service.rooms.written import Written, changed_for
from service.wire import protocol
from service.wire.protocol import (
    RoomInfo,
    ServerEvent,
    SourceDelta,
    SourceFinal,
    TranslationDelta,
    TranslationFinal,
)
from tokenspeed.text.steps import Steps

MAX_LAG: Final = 128  # frames in a channel; a reader further behind gets the current state instead
PREPARED: Final = 64  # segments written for a newcomer at one time: a millisecond


class Room:
    """What is said in a room, and who reads it.

    Args:
        room_id: unguessable; who knows it may read.
        name: what readers are shown.
        opened_s: when it was opened, on the clock of all calls.
        max_lag: frames that are kept of a channel.
        origin: the replica that this is on.
        submit: sends a change to all replicas; `apply` is called once its turn has come.
        on_lack: called with a language that is read, and that something lacks which no session is
            about to translate.

    Attributes:
        is_closed: whether nothing more will be said.
        guard: hash of the pass phrase; None if readers need none.
        used_s: when anybody here last did anything.
    """

    def __init__(
        self,
        room_id: str,
        name: str,
        opened_s: float,
        max_lag: int = MAX_LAG,
        origin: str = "",
        submit: Callable[[Change], None] | None = None,
        on_lack: Callable[["Room", str], None] = lambda room, target: None,
    ) -> None:
        self.id = room_id
        self.name = name
        self.opened_s = self.used_s = opened_s
        self.origin = origin
        self.is_closed = False
        self.guard: str | None = None
        self._submit = submit or self.apply
        self._on_lack = on_lack
        self._presence = Presence()
        self._record = Record()
        # The rest is local to this replica.
        self._written = Written()
        self._speakers = Speakers()
        self._readers = Readers(max_lag)
        self._told_reads: dict[str, int] = {}
        self._trouble: ServerEvent | None = None

    @property
    def segments(self) -> dict[int, Said]:
        """What was said, by number, oldest first."""
        return self._record.segments

    # ---- who is there ----

    @property
    def audience(self) -> frozenset[str]:
        """Languages that somebody reads."""
        return self._presence.audience

    @property
    def num_readers(self) -> int:
        """How many readers there are."""
        return sum(self.readers_by_target.values())

    @property
    def readers_by_target(self) -> dict[str, int]:
        """How many readers each language has; `source` counts those who read only the source."""
        return self._presence.readers_by_target

    @property
    def num_readers_here(self) -> int:
        """How many of them are on this replica."""
        return sum(self._readers.count().values())

    @property
    def newest(self) -> int:
        """Number of the newest event."""
        return self._record.number

    @property
    def is_used(self) -> bool:
        """Whether anybody speaks or reads on this replica."""
        return bool(self._speakers or self._readers)

    @property
    def is_kept(self) -> bool:
        """Whether anybody does, or may come back, or something is being translated for it here."""
        is_claimed = self.origin in self._presence.claims.values()
        return self.is_used or self._readers.has_lingering or is_claimed

    @property
    def origins(self) -> frozenset[str]:
        """Replicas on which something of the room is."""
        return self._presence.replicas

    @property
    def has_speakers_here(self) -> bool:
        """Whether anybody speaks on this replica."""
        return bool(self._speakers)

    def info(self) -> RoomInfo:
        """Return what readers are told of the room."""
        speakers = self._presence.num_speakers
        return RoomInfo(self.id, self.name, speakers, self.num_readers, is_closed=self.is_closed)

    def join(
        self,
        session_id: str,
        speaker: Speaker,
        source_id: str | None = None,
        generation: int = 0,
        on_heard: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Let a session speak.

        Args:
            source_id: names who speaks for longer than the session lasts.
            generation: counts the replicas that it was on.
            on_heard: called with the number of what it said, once everybody hears it.
        """
        source = source_id or session_id
        self._speakers.add(session_id, speaker, source, generation, on_heard)
        speaker.set_audience(self.audience)
        if self._trouble is not None:
            speaker.tell(self._trouble)
        self._submit(Joined(session_id, self.origin, source, generation))

    def leave(self, session_id: str, speaker: Speaker) -> None:
        """A session stops speaking; segments it left open end as they stand."""
        if self.let_go(session_id, speaker):
            self._submit(Left(session_id, self.origin))

    def let_go(self, session_id: str, speaker: Speaker) -> bool:
        """A session continues on another replica; return whether it spoke here as this speaker.

        It may have come back already, as another one.
        """
        return self._speakers.remove(session_id, speaker)

    def read(self, reader: Reader) -> None:
        """Add a reader."""
        self._readers.add(reader)
        if self._trouble is not None:
            reader.notices.append(self._trouble)
        self._tell_reads()
        reader.wake()

    def unread(self, reader: Reader, *, lingers: bool = False) -> None:
        """Remove a reader. `lingers`: the language is kept until `forget`."""
        self._readers.remove(reader, lingers=lingers)
        self._tell_reads()

    def forget(self, target: str) -> None:
        """A reader who left long ago will not come back."""
        self._readers.forget(target)
        self._tell_reads()

    def claim(self, target: str) -> None:
        """Ask to be the one that translates what a language lacks."""
        self._submit(Claimed(target, self.origin))

    def unclaim(self, target: str) -> None:
        """Stop translating what a language lacks."""
        self._submit(Unclaimed(target, self.origin))

    def is_claimed_here(self, target: str) -> bool:
        """Whether this replica translates what a language lacks."""
        return self._presence.claims.get(target) == self.origin

    def rename(self, name: str) -> None:
        """Rename the room."""
        self._submit(Renamed(name))

    def set_guard(self, guard: str | None) -> None:
        """Require another pass phrase of readers."""
        self._submit(Guarded(guard))

    def close(self) -> None:
        """Close the room; what was said stays readable."""
        self._submit(Closed())

    def wake_all(self) -> None:
        """Wake all readers."""
        self._readers.wake_all()

    def return_here(self) -> list[Change]:
        """Return the changes that describe what is on this replica."""
        self._told_reads = self._readers.wanted()
        return [*self._speakers.joined(self.origin), Reads(self.origin, self._told_reads)]

    def set_trouble(self, notice: ServerEvent, *, is_over: bool) -> None:
        """Tell everybody here that the room is cut off from other replicas, or no longer is."""
        self._trouble = None if is_over else notice
        self._readers.notify(notice)
        self._speakers.tell(notice)

    # ---- what is said ----

    def speak(
        self,
        session_id: str,
        event: SpeakerEvent,
        now_s: float,
        number: int = 0,
        asked: Collection[str] | None = None,
    ) -> None:
        """Take an event of a speaking session.

        Args:
            number: counts its events, if they may come again.
            asked: languages that were read when the session said it; None: those read now.
        """
        if self.is_closed or session_id not in self._speakers:
            return
        self.used_s = now_s
        if isinstance(event, TranslationDelta | TranslationFinal) and event.timing is not None:
            event = replace(event, timing=None)
        t_ms = round((now_s - self.opened_s) * 1e3, 3)
        wanted = self.audience if asked is None else asked
        told = tuple(sorted(wanted)) if isinstance(event, SourceFinal) else ()
        # Names that the server assigns start over in each session.
        is_named = not event.segment_id.startswith(UNNAMED)
        source = self._speakers.source_of(session_id) if is_named else session_id
        self._submit(Spoke(session_id, self.origin, source, event, t_ms, told, number))

    def translated(self, number: int, target: str, text: str) -> None:
        """Take a translation of a segment that nobody read when it was said."""
        self._submit(Translated(number, target, text))

    def may_lack(self, target: str) -> bool:
        """Whether `untranslated` may find any segment."""
        return self._record.may_lack(target)

    def untranslated(self, target: str) -> Steps[list[Said]]:
        """Find in steps the finished segments that lack a language, newest first."""
        found: list[Said] = []
        lacking = yield from self._record.lacking(target)
        for count, said in enumerate(lacking, 1):
            if not count % SEGMENTS_OF_A_STEP:
                yield
            # Without what its own session is about to translate.
            if not (
                target in said.asked and self._presence.is_newest(said.session_id, said.key[0])
            ):
                found.append(said)
        return found

    # ---- changes, in their order ----

    def apply(self, change: Change) -> None:
        """Apply a change."""
        if isinstance(change, Spoke):
            self._apply_spoke(change)
        elif isinstance(change, Joined):
            if not self.is_closed and not self._presence.is_older(change):
                is_in_place = self._presence.join(change)
                self._tell_info()
                if is_in_place:
                    self._tell_lacks()
        elif isinstance(change, Left):
            if self._presence.leave(change.session_id, change.origin):
                self._tell_info()
                self._tell_lacks()
        elif isinstance(change, Gone):
            self._apply_gone(change.origin)
        elif isinstance(change, Reads):
            self._apply_reads(change.origin, change.readers)
        elif isinstance(change, Translated):
            self._apply_translated(change)
        elif isinstance(change, Claimed):
            self._presence.claims.setdefault(change.target, change.origin)
        elif isinstance(change, Unclaimed):
            if self._presence.claims.get(change.target) == change.origin:
                del self._presence.claims[change.target]
        elif isinstance(change, Renamed):
            self.name = change.name
            self._tell_info()
        elif isinstance(change, Guarded):
            self.guard = change.guard
        else:
            self._end()
            self._presence.end_all()
            self._tell_info()

    def _apply_spoke(self, change: Spoke) -> None:
        if self.is_closed or not self._is_heard(change):
            return
        event = change.event
        self._record.t_ms = max(self._record.t_ms, change.t_ms)
        if isinstance(event, SourceDelta | SourceFinal):
            key = (change.source, event.segment_id)
            newest = self._presence.newest(change.source)
            said = self._record.continued(key, change.session_id, event, newest)
            if (dropped := self._record.drop_oldest()) is not None:
                self._written.forget(dropped)
            if said.session_id != change.session_id:
                return
            said.asked = said.asked or frozenset(change.asked)
            self._note(said, SOURCE, event)
            if isinstance(event, SourceFinal) and not self.audience <= said.asked:
                self._tell_lacks()
            return
        known = self._record.find(change.source, event.segment_id)
        # Otherwise it began before the session joined, or a later session continues it.
        if known is not None and known.session_id == change.session_id:
            self._note(known, event.target, event)

    def _is_heard(self, change: Spoke) -> bool:
        """Whether an event is new, and comes from the replica that its session is on."""
        is_told = self._presence.has_heard(change.session_id, change.number)
        if not is_told and not self._presence.is_at(change.session_id, change.origin):
            return False
        if change.number:
            self._speakers.heard(change.session_id, change.number)
        if change.number and not is_told:
            self._presence.hear(change.session_id, change.number)
        return not is_told

    def _apply_gone(self, origin: str) -> None:
        has_left = self._presence.lose(origin)
        self._apply_reads(origin, {})
        if has_left:
            self._tell_info()
        self._tell_lacks()  # another one may have to go on with what it claimed

    def _apply_reads(self, origin: str, readers: dict[str, int]) -> None:
        if self._presence.set_reads(origin, readers):
            self._speakers.set_audience(self.audience)

    def _apply_translated(self, change: Translated) -> None:
        said = self.segments.get(change.number)
        if said is None or said.channels.get(change.target, Told()).is_final:
            return
        stats = protocol.FinalStats(0, 0, 0.0, 0.0)
        name, target, source = str(change.number), change.target, said.source.text
        self._note(said, target, TranslationFinal(name, target, change.text, source, stats))

    def _note(self, said: Said, channel: str, event: SpeakerEvent) -> None:
        told_as = self._record.note(said, channel, event)
        if told_as is not None:
            self._readers.send(channel, Frame(self._record.number, told_as))

    # ---- what readers get ----

    def take(self, reader: Reader) -> list[tuple[int, str]]:
        """Return the frames that a reader lacks, each with the number to resume from."""
        # Who comes from a replica that was further has seen more than is known here yet.
        since, reader.seen = reader.seen, max(reader.seen, self._record.number)
        is_new, reader.is_new = reader.is_new, False
        notices, reader.notices = reader.notices, []
        # Last, as they have the newest number: whoever is cut off after one resumes from there.
        told = [
            (
                reader.seen,
                protocol.serialise(replace(each, seq=self._record.number, t_ms=self._record.t_ms)),
            )
            for each in notices
        ]
        missed = None if is_new else self._readers.missed(reader, since)
        if missed is None:
            return [(reader.seen, protocol.serialise(self.state(reader, since))), *told]
        texts = ((frame.number, frame.text(reader.form)) for frame in missed)
        return [(number, text) for number, text in texts if text is not None] + told

    def prepare(self, reader: Reader) -> Iterator[None]:
        """Get ready what a newcomer will be told, some segments at a time."""
        while reader.is_new and reader.ready is None:
            segments, ready = self.segments, Ready(self._record.number)
            for i, said in enumerate(list(segments.values()), 1):
                if changed_for(reader, said) > reader.seen:
                    ready.add(said.number, self._written.segment(said, reader))
                if i % PREPARED == 0:
                    yield
            for _ in ready.join():
                yield
            if segments is self.segments:  # otherwise the room was restored in the meantime
                reader.ready = ready

    def state(self, reader: Reader, since: int) -> protocol.RoomState:
        """Return the state of the segments that changed for a reader after an event, serialised.

        Takes only as long as there are changes, for a reader that is prepared as well: those that
        came after `prepare` had begun are looked at again, whatever it saw of them.
        """
        ready, reader.ready = reader.ready or Ready(since), None
        for said in self._record.changed_after(ready.at):
            if changed_for(reader, said) > since:
                ready.add(said.number, self._written.segment(said, reader))
        ready.drop_before(next(iter(self.segments), 0))
        return protocol.RoomState(
            self.info(),
            reader.target,
            tuple(ready.join()),
            self._record.over,
            seq=self._record.number,
            t_ms=self._record.t_ms,
        )

    def _tell_info(self) -> None:
        """Tell all readers of a change to the room itself."""
        self._record.number += 1
        event = protocol.RoomUpdated(self.info(), seq=self.newest, t_ms=self._record.t_ms)
        self._readers.send_all(Frame(self.newest, event))

    def _tell_lacks(self) -> None:
        """Report the languages read here: what nobody is about to translate any more, they lack."""
        for target in self._readers.targets:
            self._on_lack(self, target)

    def _tell_reads(self) -> None:
        """Tell everybody which languages are read here."""
        reads = self._readers.wanted()
        if reads != self._told_reads:
            self._told_reads = reads
            self._submit(Reads(self.origin, reads))

    # ---- the whole of it, for other replicas ----

    def dump(self, since: int = 0) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """Return the room's state, and the segments that changed after an event."""
        numbers, changed = self._record.dump(since)
        head = {"name": self.name, "is_closed": self.is_closed, "guard": self.guard}
        return head | numbers | self._presence.dump(), changed

    def load(self, head: dict[str, Any], segments: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Restore another replica's state; readers here are told all of it again."""
        self.name, self.guard = head["name"], head["guard"]
        self._record.load(head, segments)
        self._presence.load(head)
        self._written.clear()
        if head["is_closed"]:
            self._end()
        self._apply_reads("", {})
        self._readers.start_over(self.newest)

    def skip(self, numbers: int) -> None:
        """Skip event numbers that others may have used for lost events."""
        self._record.number += numbers

    def _end(self) -> None:
        """Nobody here speaks any more, and nobody will."""
        self.is_closed = True
        self._speakers.clear()
