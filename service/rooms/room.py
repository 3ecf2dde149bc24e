"""One room: what its speakers said, in every language that somebody reads, and its current state.

A room numbers its segments in the order in which they began, and its events in the order in which
they happened. A reader who missed some is told how the segments stand that changed since, so the
room keeps no frames for anybody.

All that happens is a change; a room of one process applies it at once. A room that replicas share
hands it on, and applies all changes of all replicas in the order in which they come back. Does no
I/O and reads no clock; `wake` and `set_audience` are called at once.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any, Final, Protocol

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
from service.rooms.said import SOURCE, Said, Told
from service.wire import protocol
from service.wire.protocol import (
    ReaderForm,
    RoomInfo,
    RoomSegment,
    ServerEvent,
    SourceDelta,
    SourceFinal,
    TranslationDelta,
    TranslationFinal,
)

MAX_LAG: Final = 128  # frames in a channel; a reader further behind gets the current state instead
PREPARED: Final = 256  # segments written for a newcomer at one time
MAX_HEARD: Final = 1000  # sessions whose progress is remembered
MAX_SEGMENTS: Final = 10_000  # in a transcript; the oldest are dropped


class Speaker(Protocol):
    """A session that speaks in a room."""

    def set_audience(self, targets: frozenset[str]) -> None:
        """Translate into these languages as well; they are what readers want now."""
        ...

    def tell(self, event: ServerEvent) -> None:
        """Tell the client something about the room."""
        ...


Heard = Callable[[int], None]


class Channel:
    """The newest frames of a language or of the source. dropped: number of the last one dropped."""

    def __init__(self, max_frames: int, dropped: int = 0) -> None:
        self.dropped = dropped
        self._max_frames = max_frames
        self._frames: deque[Frame] = deque()

    def append(self, frame: "Frame") -> None:
        """Add a frame; the oldest is dropped if there are too many."""
        self._frames.append(frame)
        if len(self._frames) > self._max_frames:
            self.dropped = self._frames.popleft().number

    def after(self, number: int) -> list["Frame"]:
        """Return the frames that are newer than an event."""
        found: list[Frame] = []
        for frame in reversed(self._frames):
            if frame.number <= number:
                break
            found.append(frame)
        return found[::-1]


class Frame:
    """An event of a channel, serialised once for all its readers of one form."""

    def __init__(self, number: int, event: ServerEvent) -> None:
        self.number = number
        self.event = event
        self._texts: dict[ReaderForm, str | None] = {}

    def text(self, form: ReaderForm) -> str | None:
        """Return the frame; None if a reader of this form has no use for it."""
        if form not in self._texts:
            event = _in_form(self.event, form)
            self._texts[form] = None if event is None else protocol.serialise(event)
        return self._texts[form]


class Reader:
    """A reader of the room.

    Args:
        target: the language wanted.
        form: `captions` with text that may still change, or `append_only`.
        has_source: whether what is said is wanted as well.
        wake: called when there is something to `take`.
    """

    def __init__(
        self, target: str, form: ReaderForm, has_source: bool, wake: "Wake", last_seq: int = 0
    ) -> None:
        self.target = target
        self.form = form
        self.channels = (target, SOURCE) if has_source and target != SOURCE else (target,)
        self.wake = wake
        self.seen = last_seq  # number of the newest event the reader was told
        self.is_new = True
        self.notices: list[ServerEvent] = []  # to be told before anything else


class Wake(Protocol):
    """Tells a reader's connection that there is something to take."""

    def __call__(self) -> None: ...


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
        segments: by number, oldest first.
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
        self.segments: dict[int, Said] = {}
        self.is_closed = False
        self.guard: str | None = None
        self._submit = submit or self.apply
        self._on_lack = on_lack
        self._max_lag = max_lag
        self._number = 0  # of the newest event
        self._t_ms = 0.0  # time of the newest event
        self._said = 0  # number of the newest segment
        self._over = 0  # number of the newest finished segment
        self._by_key: dict[tuple[str, str], Said] = {}
        self._speaking: dict[str, str] = {}  # origin by session
        self._newest: dict[str, str] = {}  # session by speaker
        self._heard: dict[str, tuple[int, int]] = {}  # generation and number, by session
        self._reads: dict[str, dict[str, int]] = {}  # readers by language, by origin
        self._claims: dict[str, str] = {}  # origin that translates what a language lacks
        self._channels: dict[str, Channel] = {}
        self._forgotten = 0  # number of the newest event whose frame is gone
        # Finished segments, by number, as serialised for readers of some channels.
        self._written: dict[int, dict[tuple[tuple[str, ...], ReaderForm], tuple[int, Any]]] = {}
        # By language: number of a segment up to which all are finished and, if needed, translated.
        self._complete: dict[str, int] = {}
        self._audience: frozenset[str] = frozenset()
        # The rest is local to this replica.
        self._speakers: dict[str, Speaker] = {}
        self._sources: dict[str, str] = {}  # speaker by session
        self._here: dict[str, tuple[int, Heard]] = {}  # generation and callback, by session
        self._readers: dict[str, list[Reader]] = {}  # by channel
        self._lingering: dict[str, int] = {}  # languages kept for readers who may come back
        self._told_reads: dict[str, int] = {}
        self._trouble: ServerEvent | None = None

    # ---- who is there ----

    @property
    def audience(self) -> frozenset[str]:
        """Languages that somebody reads."""
        return self._audience

    @property
    def num_readers(self) -> int:
        """How many readers there are."""
        return sum(self.readers_by_target.values())

    @property
    def readers_by_target(self) -> dict[str, int]:
        """How many readers each language has; `source` counts those who read only the source."""
        counts: Counter[str] = Counter()
        for reads in self._reads.values():
            counts.update(reads)
        return {target: count for target, count in counts.items() if count}

    @property
    def num_readers_here(self) -> int:
        """How many of them are on this replica."""
        return sum(self._count_here().values())

    @property
    def newest(self) -> int:
        """Number of the newest event."""
        return self._number

    @property
    def is_used(self) -> bool:
        """Whether anybody speaks or reads on this replica."""
        return bool(self._speakers or self._readers)

    @property
    def is_kept(self) -> bool:
        """Whether anybody does, or may come back, or something is being translated for it here."""
        return self.is_used or bool(self._lingering) or self.origin in self._claims.values()

    @property
    def origins(self) -> frozenset[str]:
        """Replicas on which something of the room is."""
        return frozenset((*self._speaking.values(), *self._reads, *self._claims.values()))

    @property
    def has_speakers_here(self) -> bool:
        """Whether anybody speaks on this replica."""
        return bool(self._speakers)

    def info(self) -> RoomInfo:
        """Return what readers are told of the room."""
        return RoomInfo(
            self.id, self.name, len(self._speaking), self.num_readers, is_closed=self.is_closed
        )

    def join(
        self,
        session_id: str,
        speaker: Speaker,
        source_id: str | None = None,
        generation: int = 0,
        on_heard: Heard = lambda number: None,
    ) -> None:
        """Let a session speak.

        Args:
            source_id: names who speaks for longer than the session lasts.
            generation: counts the replicas that it was on.
            on_heard: called with the number of what it said, once everybody hears it.
        """
        self._speakers[session_id] = speaker
        self._sources[session_id] = source_id or session_id
        self._here[session_id] = (generation, on_heard)
        speaker.set_audience(self._audience)
        if self._trouble is not None:
            speaker.tell(self._trouble)
        self._submit(Joined(session_id, self.origin, self._sources[session_id], generation))

    def leave(self, session_id: str, speaker: Speaker) -> None:
        """A session stops speaking; segments it left open end as they stand."""
        if self.let_go(session_id, speaker):
            self._submit(Left(session_id, self.origin))

    def let_go(self, session_id: str, speaker: Speaker) -> bool:
        """A session continues on another replica; return whether it spoke here as this speaker.

        It may have come back already, as another one.
        """
        if self._speakers.get(session_id) is not speaker:
            return False
        del self._speakers[session_id], self._sources[session_id], self._here[session_id]
        return True

    def read(self, reader: Reader) -> None:
        """Add a reader."""
        for channel in reader.channels:
            self._readers.setdefault(channel, []).append(reader)
        if self._trouble is not None:
            reader.notices.append(self._trouble)
        self._tell_reads()
        reader.wake()

    def unread(self, reader: Reader, *, lingers: bool = False) -> None:
        """Remove a reader. `lingers`: the language is kept until `forget`."""
        for channel in reader.channels:
            readers = self._readers[channel]
            readers.remove(reader)
            if not readers:
                del self._readers[channel]
        if lingers:
            self._lingering[reader.target] = self._lingering.get(reader.target, 0) + 1
        self._tell_reads()

    def forget(self, target: str) -> None:
        """A reader who left long ago will not come back."""
        left = self._lingering.pop(target) - 1
        if left:
            self._lingering[target] = left
        self._tell_reads()

    def claim(self, target: str) -> None:
        """Ask to be the one that translates what a language lacks."""
        self._submit(Claimed(target, self.origin))

    def unclaim(self, target: str) -> None:
        """Stop translating what a language lacks."""
        self._submit(Unclaimed(target, self.origin))

    def is_claimed_here(self, target: str) -> bool:
        """Whether this replica translates what a language lacks."""
        return self._claims.get(target) == self.origin

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
        for readers in self._readers.values():
            for reader in readers:
                reader.wake()

    def return_here(self) -> list[Change]:
        """Return the changes that describe what is on this replica."""
        self._told_reads = self._wanted_here()
        joined = [
            Joined(each, self.origin, source, self._here[each][0])
            for each, source in self._sources.items()
        ]
        return [*joined, Reads(self.origin, self._told_reads)]

    def set_trouble(self, notice: ServerEvent, *, is_over: bool) -> None:
        """Tell everybody here that the room is cut off from other replicas, or no longer is."""
        self._trouble = None if is_over else notice
        for target, readers in self._readers.items():
            for reader in readers:
                if reader.target == target:
                    reader.notices.append(notice)
        for speaker in list(self._speakers.values()):
            speaker.tell(notice)
        self.wake_all()

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
        wanted = self._audience if asked is None else asked
        told = tuple(sorted(wanted)) if isinstance(event, SourceFinal) else ()
        # Names that the server assigns start over in each session.
        is_named = not event.segment_id.startswith(UNNAMED)
        source = self._sources[session_id] if is_named else session_id
        self._submit(Spoke(session_id, self.origin, source, event, t_ms, told, number))

    def translated(self, number: int, target: str, text: str) -> None:
        """Take a translation of a segment that nobody read when it was said."""
        self._submit(Translated(number, target, text))

    def untranslated(self, target: str) -> list[Said]:
        """Return the finished segments that lack a language, newest first."""
        found: list[Said] = []
        complete, undone = self._complete.get(target, 0), 0
        for said in reversed(self.segments.values()):
            if said.number <= complete:
                break
            if self._is_complete(said, target):
                continue
            undone = said.number
            # Without what its own session is about to translate.
            is_left = not (target in said.asked and self._is_at_work(said))
            if said.source.is_final and is_left:
                found.append(said)
        self._complete[target] = (undone or self._said + 1) - 1
        return found

    def _is_complete(self, said: Said, target: str) -> bool:
        """Whether a segment will never lack a language again."""
        if not said.source.is_final:
            return False
        told = said.channels.get(target)
        is_told = told is not None and (told.is_final or told.is_retracted)
        return is_told or said.language == target or not said.source.text.strip()

    def _is_at_work(self, said: Said) -> bool:
        """Whether the session that said it is present, and nobody speaks in its place."""
        newest = self._newest.get(said.key[0], said.session_id)
        return said.session_id in self._speaking and said.session_id == newest

    # ---- changes, in their order ----

    def apply(self, change: Change) -> None:
        """Apply a change."""
        if isinstance(change, Spoke):
            self._apply_spoke(change)
        elif isinstance(change, Joined):
            generation, number = self._heard.get(change.session_id, (0, 0))
            if not self.is_closed and change.generation >= generation:
                if change.generation > generation:
                    self._note_heard(change.session_id, change.generation, number)
                self._speaking[change.session_id] = change.origin
                before = self._newest.get(change.source, change.session_id)
                self._newest[change.source] = change.session_id
                self._tell_info()
                if before != change.session_id:
                    self._tell_lacks()
        elif isinstance(change, Left):
            if self._speaking.get(change.session_id) == change.origin:
                self._forget_session(change.session_id)
                self._tell_info()
                self._tell_lacks()
        elif isinstance(change, Gone):
            self._apply_gone(change.origin)
        elif isinstance(change, Reads):
            self._apply_reads(change.origin, change.readers)
        elif isinstance(change, Translated):
            self._apply_translated(change)
        elif isinstance(change, Claimed):
            self._claims.setdefault(change.target, change.origin)
        elif isinstance(change, Unclaimed):
            if self._claims.get(change.target) == change.origin:
                del self._claims[change.target]
        elif isinstance(change, Renamed):
            self.name = change.name
            self._tell_info()
        elif isinstance(change, Guarded):
            self.guard = change.guard
        else:
            self.is_closed = True
            self._speakers.clear()
            self._sources.clear()
            self._here.clear()
            self._speaking.clear()
            self._newest.clear()
            self._tell_info()

    def _apply_spoke(self, change: Spoke) -> None:
        if self.is_closed or not self._is_heard(change):
            return
        event = change.event
        self._t_ms = max(self._t_ms, change.t_ms)
        if isinstance(event, SourceDelta | SourceFinal):
            said = self._said_of(change, event)
            if said.session_id != change.session_id:
                return
            said.asked = said.asked or frozenset(change.asked)
            self._note(said, SOURCE, event)
            if isinstance(event, SourceFinal) and not self._audience <= said.asked:
                self._tell_lacks()
            return
        known = self._by_key.get((change.source, event.segment_id))
        # Otherwise it began before the session joined, or a later session continues it.
        if known is not None and known.session_id == change.session_id:
            self._note(known, event.target, event)

    def _is_heard(self, change: Spoke) -> bool:
        """Whether an event is new, and comes from the replica that its session is on."""
        generation, number = self._heard.get(change.session_id, (0, 0))
        is_told = 0 < change.number <= number  # on its previous replica
        # One that was wrongly taken for gone speaks on; one that moved elsewhere does not.
        if not is_told and (
            self._speaking.setdefault(change.session_id, change.origin) != change.origin
        ):
            return False
        if change.number and change.session_id in self._here:
            self._here[change.session_id][1](change.number)
        if change.number and not is_told:
            self._note_heard(change.session_id, generation, change.number)
        return not is_told

    def _note_heard(self, session_id: str, generation: int, number: int) -> None:
        self._heard.pop(session_id, None)
        self._heard[session_id] = (generation, number)  # the newest is the last
        if len(self._heard) > MAX_HEARD:
            del self._heard[next(iter(self._heard))]

    def _apply_gone(self, origin: str) -> None:
        left = [each for each, at in self._speaking.items() if at == origin]
        for session_id in left:
            self._forget_session(session_id)
        for target in [target for target, at in self._claims.items() if at == origin]:
            del self._claims[target]
        self._apply_reads(origin, {})
        if left:
            self._tell_info()
        self._tell_lacks()  # another one may have to go on with what it claimed

    def _forget_session(self, session_id: str) -> None:
        del self._speaking[session_id]
        self._newest = {source: each for source, each in self._newest.items() if each != session_id}

    def _apply_reads(self, origin: str, readers: dict[str, int]) -> None:
        if readers:
            self._reads[origin] = readers
        else:
            self._reads.pop(origin, None)
        read = {target for each in self._reads.values() for target in each} - {SOURCE}
        if read != self._audience:
            self._audience = frozenset(read)
            for speaker in list(self._speakers.values()):
                speaker.set_audience(self._audience)

    def _apply_translated(self, change: Translated) -> None:
        said = self.segments.get(change.number)
        if said is None or said.channels.get(change.target, Told()).is_final:
            return
        stats = protocol.FinalStats(0, 0, 0.0, 0.0)
        name, target, source = str(change.number), change.target, said.source.text
        self._note(said, target, TranslationFinal(name, target, change.text, source, stats))

    def _said_of(self, change: Spoke, event: SourceDelta | SourceFinal) -> Said:
        key, session_id = (change.source, event.segment_id), change.session_id
        if key not in self._by_key:
            self._said += 1
            said = Said(
                self._said, key, session_id, event.speaker, event.language, self._t_ms, self._t_ms
            )
            self._by_key[key] = self.segments[self._said] = said
            if len(self.segments) > MAX_SEGMENTS:
                oldest = self.segments.pop(next(iter(self.segments)))
                self._by_key.pop(oldest.key, None)
                self._written.pop(oldest.number, None)
        said = self._by_key[key]
        if said.session_id not in (session_id, self._newest.get(change.source)):
            said.session_id, said.asked = session_id, frozenset()
            for told in said.channels.values():
                told.behind = ""
        if not said.source.is_final:
            said.speaker = event.speaker or said.speaker
            said.language = event.language or said.language
            said.end_ms = self._t_ms
        return said

    def _note(self, said: Said, channel: str, event: SpeakerEvent) -> None:
        told = said.channels.setdefault(channel, Told())
        if told.is_final or told.is_retracted:
            return
        self._number += 1
        told.changed = self._number
        if isinstance(event, TranslationFinal):
            told.end(event.text)
        elif isinstance(event, SourceFinal):
            told.end(event.text)
            self._over = max(self._over, said.number)
        elif isinstance(event, TranslationDelta):
            event = told.grow(event)
        elif isinstance(event, SourceDelta):
            told.text, told.unstable = event.stable, event.unstable
        else:
            told.end("", is_retracted=True)
        told_as = replace(event, segment_id=str(said.number), seq=self._number, t_ms=self._t_ms)
        if isinstance(told_as, TranslationDelta | TranslationFinal):
            told_as = replace(told_as, speaker=said.speaker, timing=None)
        if isinstance(told_as, TranslationFinal | SourceFinal):
            told_as = replace(told_as, start_ms=said.start_ms, end_ms=said.end_ms)
        self._channel(channel).append(Frame(self._number, told_as))
        for reader in self._readers.get(channel, ()):
            reader.wake()

    # ---- what readers get ----

    def take(self, reader: Reader) -> list[tuple[int, str]]:
        """Return the frames that a reader lacks, each with the number to resume from."""
        channels = [self._channel(name) for name in reader.channels]
        since, reader.seen = reader.seen, self._number
        is_new, reader.is_new = reader.is_new, False
        notices, reader.notices = reader.notices, []
        told = [
            (self._number, protocol.serialise(replace(each, seq=self._number, t_ms=self._t_ms)))
            for each in notices
        ]
        if is_new or any(channel.dropped > since for channel in channels):
            return [*told, (self._number, protocol.serialise(self.state(reader, since)))]
        frames = [frame for channel in channels for frame in channel.after(since)]
        if len(channels) > 1:
            frames.sort(key=lambda frame: frame.number)
        texts = ((frame.number, frame.text(reader.form)) for frame in frames)
        return told + [(number, text) for number, text in texts if text is not None]

    def prepare(self, reader: Reader) -> Iterator[None]:
        """Serialise what a newcomer will be told, some segments at a time."""
        for i, said in enumerate(list(self.segments.values()), 1):
            if self._changed(said, reader) > reader.seen:
                self._segment(said, reader)
            if i % PREPARED == 0:
                yield

    def state(self, reader: Reader, since: int) -> protocol.RoomState:
        """Return the state of the segments that changed for a reader after an event, serialised."""
        own = (said for said in self.segments.values() if self._changed(said, reader) > since)
        segments: list[Any] = [self._segment(said, reader) for said in own]
        return protocol.RoomState(
            self.info(),
            reader.target,
            tuple(segments),
            self._over,
            seq=self._number,
            t_ms=self._t_ms,
        )

    def _changed(self, said: Said, reader: Reader) -> int:
        """Return the number of the event that told a reader the newest of a segment."""
        newest = 0
        for name in reader.channels:
            told = said.channels.get(name)
            if told is not None and told.changed > newest:
                newest = told.changed
        return newest

    def _segment(self, said: Said, reader: Reader) -> Any:
        """Return a segment as a reader is told it; serialised once for a whole audience."""
        changed, key = self._changed(said, reader), (reader.channels, reader.form)
        kept = self._written.get(said.number, {}).get(key)
        if kept is not None and kept[0] == changed:
            return kept[1]
        own = said.channels.get(reader.target, Told())
        is_open_text = reader.form == "captions"
        source = said.source if SOURCE in reader.channels and reader.target != SOURCE else None
        written = protocol.write_part(
            RoomSegment(
                segment_id=str(said.number),
                text=own.text,
                unstable=own.unstable if is_open_text else "",
                is_final=own.is_final,
                is_retracted=own.is_retracted,
                speaker=said.speaker,
                source=None if source is None else source.text + source.unstable,
                start_ms=said.start_ms,
                end_ms=said.end_ms,
            )
        )
        if said.source.is_final:  # otherwise its times may still change
            self._written.setdefault(said.number, {})[key] = (changed, written)
        return written

    def _tell_info(self) -> None:
        """Tell all readers of a change to the room itself."""
        self._number += 1
        frame = Frame(
            self._number, protocol.RoomUpdated(self.info(), seq=self._number, t_ms=self._t_ms)
        )
        for target in {reader.target for readers in self._readers.values() for reader in readers}:
            self._channel(target).append(frame)
        self.wake_all()

    def _tell_lacks(self) -> None:
        """Report the languages read here: what nobody is about to translate any more, they lack."""
        for target in [target for target in self._readers if target != SOURCE]:
            self._on_lack(self, target)

    def _channel(self, name: str) -> Channel:
        if name not in self._channels:
            self._channels[name] = Channel(self._max_lag, self._forgotten)
        return self._channels[name]

    def _count_here(self) -> dict[str, int]:
        counts = Counter(
            reader.target
            for name, readers in self._readers.items()
            for reader in readers
            if reader.target == name
        )
        return dict(counts)

    def _wanted_here(self) -> dict[str, int]:
        return dict.fromkeys(self._lingering, 0) | self._count_here()

    def _tell_reads(self) -> None:
        """Tell everybody which languages are read here."""
        reads = self._wanted_here()
        if reads != self._told_reads:
            self._told_reads = reads
            self._submit(Reads(self.origin, reads))

    # ---- the whole of it, for other replicas ----

    def dump(self, since: int = 0) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """Return the room's state, and the segments that changed after an event."""
        head = {
            "name": self.name,
            "is_closed": self.is_closed,
            "guard": self.guard,
            "number": self._number,
            "t_ms": self._t_ms,
            "said": self._said,
            "over": self._over,
            "oldest": next(iter(self.segments), self._said + 1),
            "speaking": self._speaking,
            "newest": self._newest,
            "heard": self._heard,
            "reads": self._reads,
            "claims": self._claims,
        }
        changed = {
            number: asdict(said) | {"asked": sorted(said.asked)}
            for number, said in self.segments.items()
            if any(told.changed > since for told in said.channels.values())
        }
        return head, changed

    def load(self, head: dict[str, Any], segments: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Restore another replica's state; readers here are told all of it again."""
        self.name, self.guard = head["name"], head["guard"]
        self._number = self._forgotten = head["number"]
        self._t_ms, self._said, self._over = head["t_ms"], head["said"], head["over"]
        self._speaking, self._claims = dict(head["speaking"]), dict(head["claims"])
        self._newest, self._reads = dict(head["newest"]), dict(head["reads"])
        self._reads = dict(head["reads"])
        self._heard = {
            session_id: (generation, number)
            for session_id, (generation, number) in head["heard"].items()
        }
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
        self._channels.clear()
        self._written.clear()
        self._complete.clear()
        if head["is_closed"]:
            self.is_closed = True
            self._speakers.clear()
            self._sources.clear()
            self._here.clear()
        self._apply_reads("", {})
        for readers in self._readers.values():
            for reader in readers:
                reader.is_new, reader.seen = True, 0
        self.wake_all()

    def skip(self, numbers: int) -> None:
        """Skip event numbers that others may have used for lost events."""
        self._number += numbers


def _in_form(event: ServerEvent, form: ReaderForm) -> ServerEvent | None:
    """Return an event for a reader of a form; None if it is no news to that reader."""
    if form == "captions":
        return event
    if isinstance(event, SourceDelta):
        return None
    if isinstance(event, TranslationDelta):
        return replace(event, unstable="") if event.append else None
    return event
