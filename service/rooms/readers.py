"""Who reads a room on this replica, and the frames that are kept for them.

Knows channels and frames; does not know what a segment is, or who speaks.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from service.rooms.frames import Channel, Frame
from service.rooms.ready import Ready
from service.rooms.said import SOURCE
from service.wire.protocol import ReaderForm, ServerEvent


class Wake(Protocol):
    """Tells a reader's connection that there is something to take."""

    def __call__(self) -> None: ...


class Reader:
    """A reader of the room.

    Args:
        target: the language wanted.
        form: `captions` with text that may still change, or `append_only`.
        has_source: whether what is said is wanted as well.
        wake: called when there is something to `take`.

    Attributes:
        seen: number of the newest event the reader was told.
        notices: to be told after anything else.
        ready: what a newcomer will be told; None if nothing is prepared.
    """

    def __init__(
        self, target: str, form: ReaderForm, has_source: bool, wake: Wake, last_seq: int = 0
    ) -> None:
        self.target = target
        self.form = form
        self.channels = (target, SOURCE) if has_source and target != SOURCE else (target,)
        self.wake = wake
        self.seen = last_seq
        self.is_new = True
        self.notices: list[ServerEvent] = []
        self.ready: Ready | None = None


class Readers:
    """The readers of a room on this replica.

    Args:
        max_lag: frames that are kept of a channel.
    """

    def __init__(self, max_lag: int) -> None:
        self._max_lag = max_lag
        self._by_channel: dict[str, list[Reader]] = {}
        self._channels: dict[str, Channel] = {}
        self._lingering: Counter[str] = Counter()  # languages kept for readers who may come back
        self._forgotten = 0  # number of the newest event whose frame is gone

    def __bool__(self) -> bool:
        return bool(self._by_channel)

    def __iter__(self) -> Iterator[Reader]:
        """Yield each reader once, also those of two channels."""
        for name, readers in self._by_channel.items():
            yield from (reader for reader in readers if reader.target == name)

    @property
    def targets(self) -> list[str]:
        """Languages that are read here."""
        return [name for name in self._by_channel if name != SOURCE]

    @property
    def has_lingering(self) -> bool:
        """Whether a language is kept for readers who may come back."""
        return bool(self._lingering)

    def count(self) -> dict[str, int]:
        """Return how many readers each language has; `source` counts those of the source alone."""
        return dict(Counter(reader.target for reader in self))

    def wanted(self) -> dict[str, int]:
        """Return the same, with languages that are kept although nobody reads them now."""
        return dict.fromkeys(self._lingering, 0) | self.count()

    def add(self, reader: Reader) -> None:
        """Add a reader."""
        for channel in reader.channels:
            self._by_channel.setdefault(channel, []).append(reader)

    def remove(self, reader: Reader, *, lingers: bool = False) -> None:
        """Remove a reader. `lingers`: the language is kept until `forget`."""
        for channel in reader.channels:
            readers = self._by_channel[channel]
            readers.remove(reader)
            if not readers:
                del self._by_channel[channel]
        if lingers:
            self._lingering[reader.target] += 1

    def forget(self, target: str) -> None:
        """A reader who left long ago will not come back."""
        self._lingering[target] -= 1
        if not self._lingering[target]:
            del self._lingering[target]

    def send(self, channel: str, frame: Frame) -> None:
        """Keep a frame for the readers of a channel, and wake them."""
        self._channel(channel).append(frame)
        for reader in self._by_channel.get(channel, ()):
            reader.wake()

    def send_all(self, frame: Frame) -> None:
        """Keep a frame for everybody, and wake them."""
        for target in {reader.target for reader in self}:
            self._channel(target).append(frame)
        self.wake_all()

    def notify(self, notice: ServerEvent) -> None:
        """Tell everybody here something about the room, and wake them."""
        for reader in self:
            reader.notices.append(notice)
        self.wake_all()

    def wake_all(self) -> None:
        """Wake all readers."""
        for reader in self:
            reader.wake()

    def missed(self, reader: Reader, since: int) -> list[Frame] | None:
        """Return the frames after an event, in order; None if some of them are gone."""
        channels = [self._channel(name) for name in reader.channels]
        if any(channel.dropped > since for channel in channels):
            return None
        frames = [frame for channel in channels for frame in channel.after(since)]
        if len(channels) > 1:
            frames.sort(key=lambda frame: frame.number)
        return frames

    def start_over(self, number: int) -> None:
        """Forget all frames up to an event; everybody here is told all of the room again."""
        self._forgotten = number
        self._channels.clear()
        for reader in self:
            reader.is_new, reader.seen, reader.ready = True, 0, None
        self.wake_all()

    def _channel(self, name: str) -> Channel:
        if name not in self._channels:
            self._channels[name] = Channel(self._max_lag, self._forgotten)
        return self._channels[name]
