"""One room: what its speakers said, in every language that somebody reads, and how it stands.

A room numbers its segments in the order in which they began, and its events in the order in which
they happened. A reader who missed some is told how the segments stand that changed since, so the
room keeps no frames for anybody. Does no I/O and reads no clock; `wake` and `set_audience` are
called at once.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

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
    TranslationRetracted,
)

SOURCE: Final = "source"  # the channel of what is said, beside those of the languages
MAX_LAG: Final = 128  # frames of a channel; who is further behind is told how things stand
MAX_SEGMENTS: Final = 10_000  # of a transcript; the oldest are forgotten

SpeakerEvent = (
    SourceDelta | SourceFinal | TranslationDelta | TranslationFinal | TranslationRetracted
)


class Speaker(Protocol):
    """A session that speaks in a room."""

    def set_audience(self, targets: frozenset[str]) -> None:
        """Translate into these languages, too; they are what readers want now."""
        ...


@dataclass(slots=True)
class Told:
    """What a channel was told of a segment. changed: number of the event that told the newest."""

    text: str = ""
    unstable: str = ""
    is_final: bool = False
    is_retracted: bool = False
    changed: int = 0


@dataclass(slots=True)
class Said:
    """A segment of the room. start_ms, end_ms: since the room was opened."""

    number: int
    key: tuple[str, str]  # the session, and its own name for the segment
    speaker: str | None
    language: str | None
    start_ms: float
    end_ms: float
    asked: frozenset[str] = frozenset()  # languages that were read when it was over
    channels: dict[str, Told] = field(default_factory=dict)

    @property
    def source(self) -> Told:
        """What was said."""
        return self.channels.setdefault(SOURCE, Told())


class Channel:
    """The newest frames of a language or of the source. dropped: number of the last forgotten."""

    def __init__(self, max_frames: int) -> None:
        self.dropped = 0
        self._max_frames = max_frames
        self._frames: deque[Frame] = deque()

    def append(self, frame: "Frame") -> None:
        """Add a frame; the oldest is forgotten where there are many."""
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
    """An event of a channel, written once for all who read it in one form."""

    def __init__(self, number: int, event: ServerEvent) -> None:
        self.number = number
        self.event = event
        self._texts: dict[ReaderForm, str | None] = {}

    def text(self, form: ReaderForm) -> str | None:
        """Return the frame; None where a reader of this form has no news in it."""
        if form not in self._texts:
            event = _in_form(self.event, form)
            self._texts[form] = None if event is None else protocol.serialise(event)
        return self._texts[form]


class Reader:
    """Somebody who reads along.

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
        self.seen = last_seq  # number of the newest event that it was told
        self.is_new = True


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

    Attributes:
        segments: by number, oldest first.
        is_closed: whether nothing more will be said.
        used_s: when anybody last did anything.
    """

    def __init__(self, room_id: str, name: str, opened_s: float, max_lag: int = MAX_LAG) -> None:
        self.id = room_id
        self.name = name
        self.opened_s = self.used_s = opened_s
        self.segments: dict[int, Said] = {}
        self.is_closed = False
        self._max_lag = max_lag
        self._number = 0  # of the newest event
        self._t_ms = 0.0  # when that was
        self._said = 0  # number of the newest segment
        self._over = 0  # number of the newest that is over
        self._open: dict[tuple[str, str], Said] = {}  # by session and its segment
        self._speakers: dict[str, Speaker] = {}
        self._readers: dict[str, list[Reader]] = {}  # by channel
        self._lingering: dict[str, int] = {}  # languages kept for readers who may come back
        self._channels: dict[str, Channel] = {}
        self._audience: frozenset[str] = frozenset()

    # ---- who is there ----

    @property
    def audience(self) -> frozenset[str]:
        """Languages that somebody reads."""
        return self._audience

    @property
    def num_readers(self) -> int:
        """How many read along."""
        return sum(self.readers_by_target.values())

    @property
    def readers_by_target(self) -> dict[str, int]:
        """How many read each language; `source` are those who read only what is said itself."""
        counts = {name: len(readers) for name, readers in self._readers.items() if name != SOURCE}
        said = sum(reader.target == SOURCE for reader in self._readers.get(SOURCE, ()))
        return counts | ({SOURCE: said} if said else {})

    @property
    def is_used(self) -> bool:
        """Whether anybody speaks or reads."""
        return bool(self._speakers or self._readers)

    def info(self) -> RoomInfo:
        """Return what readers are told of the room."""
        return RoomInfo(
            self.id, self.name, len(self._speakers), self.num_readers, is_closed=self.is_closed
        )

    def join(self, session_id: str, speaker: Speaker) -> None:
        """Let a session speak."""
        self._speakers[session_id] = speaker
        speaker.set_audience(self._audience)
        self._tell_info()

    def leave(self, session_id: str) -> None:
        """A session speaks no more; what it left open ends as it stands."""
        if self._speakers.pop(session_id, None) is None:
            return
        for key in [key for key in self._open if key[0] == session_id]:
            del self._open[key]
        self._tell_info()

    def read(self, reader: Reader) -> None:
        """Let somebody read along."""
        for channel in reader.channels:
            self._readers.setdefault(channel, []).append(reader)
        self._listen()
        reader.wake()

    def unread(self, reader: Reader, *, lingers: bool = False) -> None:
        """Somebody reads no more. `lingers`: the language is kept until `forget`."""
        for channel in reader.channels:
            readers = self._readers[channel]
            readers.remove(reader)
            if not readers:
                del self._readers[channel]
        if lingers:
            self._lingering[reader.target] = self._lingering.get(reader.target, 0) + 1
        self._listen()

    def forget(self, target: str) -> None:
        """One who left long ago does not come back."""
        left = self._lingering.pop(target) - 1
        if left:
            self._lingering[target] = left
        self._listen()

    def rename(self, name: str) -> None:
        """Give the room another name."""
        self.name = name
        self._tell_info()

    def close(self) -> None:
        """Nothing more is said; readers keep what there is."""
        self.is_closed = True
        for session_id in list(self._speakers):
            self.leave(session_id)
        self._tell_info()

    def wake_all(self) -> None:
        """Let all readers look up."""
        for readers in self._readers.values():
            for reader in readers:
                reader.wake()

    # ---- what is said ----

    def speak(self, session_id: str, event: SpeakerEvent, now_s: float) -> None:
        """Take an event of a speaking session."""
        if self.is_closed or session_id not in self._speakers:
            return
        self.used_s = now_s
        self._t_ms = round((now_s - self.opened_s) * 1e3, 3)
        if isinstance(event, SourceDelta | SourceFinal):
            said = self._said_of(session_id, event)
            channel = SOURCE
        else:
            found = self._open.get((session_id, event.segment_id))
            if found is None:  # began before the session came in
                return
            said, channel = found, event.target
        self._note(said, channel, event)

    def translated(self, number: int, target: str, text: str) -> None:
        """Take a translation of a segment that nobody read when it was said."""
        said = self.segments.get(number)
        if said is None or said.channels.get(target, Told()).is_final:
            return
        stats = protocol.FinalStats(0, 0, 0.0, 0.0)
        source = said.source.text
        self._note(said, target, TranslationFinal(str(number), target, text, source, stats))

    def untranslated(self, target: str) -> list[Said]:
        """Return the segments that are over and lack a language, newest first."""
        return [
            said
            for said in reversed(self.segments.values())
            if said.source.is_final
            and said.source.text.strip()
            and said.language != target
            and not (told := said.channels.get(target, Told())).is_final
            and not told.is_retracted
            # Not what its own session is about to translate.
            and not (target in said.asked and said.key in self._open)
        ]

    def _said_of(self, session_id: str, event: SourceDelta | SourceFinal) -> Said:
        key = (session_id, event.segment_id)
        if key not in self._open:
            self._said += 1
            said = Said(self._said, key, event.speaker, event.language, self._t_ms, self._t_ms)
            self._open[key] = self.segments[self._said] = said
            if len(self.segments) > MAX_SEGMENTS:
                oldest = self.segments.pop(next(iter(self.segments)))
                self._open.pop(oldest.key, None)
        said = self._open[key]
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
            told.text, told.unstable, told.is_final = event.text, "", True
        elif isinstance(event, SourceFinal):
            told.text, told.unstable, told.is_final = event.text, "", True
            said.asked = self._audience
            self._over = max(self._over, said.number)
        elif isinstance(event, TranslationDelta):
            told.text, told.unstable = told.text + event.append, event.unstable
        elif isinstance(event, SourceDelta):
            told.text, told.unstable = event.stable, event.unstable
        else:
            told.text, told.unstable, told.is_retracted = "", "", True
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
        """Return the frames that a reader lacks, each with the number to come back with."""
        channels = [self._channel(name) for name in reader.channels]
        since, reader.seen = reader.seen, self._number
        is_new, reader.is_new = reader.is_new, False
        if is_new or any(channel.dropped > since for channel in channels):
            return [(self._number, protocol.serialise(self.state(reader, since)))]
        frames = [frame for channel in channels for frame in channel.after(since)]
        if len(channels) > 1:
            frames.sort(key=lambda frame: frame.number)
        texts = ((frame.number, frame.text(reader.form)) for frame in frames)
        return [(number, text) for number, text in texts if text is not None]

    def state(self, reader: Reader, since: int) -> protocol.RoomState:
        """Return how the segments stand that changed for a reader after an event."""
        return protocol.RoomState(
            self.info(),
            reader.target,
            tuple(
                found
                for said in self.segments.values()
                if (found := self._segment(said, reader, since)) is not None
            ),
            self._over,
            seq=self._number,
            t_ms=self._t_ms,
        )

    def _segment(self, said: Said, reader: Reader, since: int) -> RoomSegment | None:
        told = [said.channels[name] for name in reader.channels if name in said.channels]
        if not any(each.changed > since for each in told):
            return None
        own = said.channels.get(reader.target, Told())
        is_open_text = reader.form == "captions"
        source = said.source if SOURCE in reader.channels and reader.target != SOURCE else None
        return RoomSegment(
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

    def _tell_info(self) -> None:
        """Let all readers know of a change of the room itself."""
        self._number += 1
        frame = Frame(
            self._number, protocol.RoomUpdated(self.info(), seq=self._number, t_ms=self._t_ms)
        )
        for target in {reader.target for readers in self._readers.values() for reader in readers}:
            self._channel(target).append(frame)
        self.wake_all()

    def _channel(self, name: str) -> Channel:
        return self._channels.setdefault(name, Channel(self._max_lag))

    def _listen(self) -> None:
        """Let the speakers know which languages are read."""
        read = {*self._readers, *self._lingering} - {SOURCE}
        if read != self._audience:
            self._audience = frozenset(read)
            for speaker in list(self._speakers.values()):
                speaker.set_audience(self._audience)


def _in_form(event: ServerEvent, form: ReaderForm) -> ServerEvent | None:
    """Return an event as a reader of a form is told it; None where that is no news."""
    if form == "captions":
        return event
    if isinstance(event, SourceDelta):
        return None
    if isinstance(event, TranslationDelta):
        return replace(event, unstable="") if event.append else None
    return event
