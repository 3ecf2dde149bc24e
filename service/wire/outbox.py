"""The bounded queue between a session and its socket.

Waiting deltas of one (segment, target) are merged: every `append` is kept, only the newest
`unstable`. Events are numbered when they leave, so a client sees no gaps. Knows events; does no
I/O and reads no clock.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from service.wire.protocol import (
    ServerEvent,
    TranslationDelta,
    TranslationFinal,
    parse_server,
    serialise,
)

MAX_REPLAY_EVENTS: Final = 500  # also the number of finals, which are kept for longer


@dataclass(slots=True)
class _Waiting:
    event: ServerEvent
    arrival_s: float | None
    size: int


class Outbox:
    """Events on their way to one client.

    Args:
        max_events, max_bytes: the queue overflows if more are waiting.
        now_s: when the session was created; `t_ms` counts from here.

    Attributes:
        coalesced: deltas that were merged into one still waiting.
    """

    def __init__(self, max_events: int, max_bytes: int, now_s: float) -> None:
        self.coalesced = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._created = now_s
        self._waiting: OrderedDict[object, _Waiting] = OrderedDict()
        self._bytes = 0
        self._seq = 0
        self._sent: deque[tuple[int, str]] = deque(maxlen=MAX_REPLAY_EVENTS)
        self._finals: deque[TranslationFinal] = deque(maxlen=MAX_REPLAY_EVENTS)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def last_seq(self) -> int:
        """Number of the newest event that was sent."""
        return self._seq

    @property
    def is_over(self) -> bool:
        """Whether more events are waiting than the bounds allow."""
        return len(self._waiting) > self._max_events or self._bytes > self._max_bytes

    def push(self, event: ServerEvent, arrival_s: float | None = None) -> None:
        """Add an event; `arrival_s` is when its cause arrived."""
        key: object = object()
        if isinstance(event, TranslationDelta):
            key = (event.segment_id, event.target)
            before = self._waiting.get(key)
            if before is not None and isinstance(before.event, TranslationDelta):
                self.coalesced += 1
                event = replace(event, append=before.event.append + event.append)
                if event.timing is None and before.event.timing is not None:
                    # The end of an update is reported even if the next update overtakes it.
                    event, arrival_s = replace(event, timing=before.event.timing), before.arrival_s
                self._bytes -= before.size
        size = _size(event)
        self._bytes += size
        self._waiting[key] = _Waiting(event, arrival_s, size)  # a merged delta keeps its place

    def pop(self, now_s: float) -> tuple[ServerEvent, str] | None:
        """Take the next event, numbered and timed, and its frame; None if nothing is waiting."""
        if not self._waiting:
            return None
        _, waiting = self._waiting.popitem(last=False)
        self._bytes -= waiting.size
        self._seq += 1
        event = waiting.event
        if isinstance(event, TranslationDelta | TranslationFinal):
            event = _timed(event, waiting.arrival_s, now_s)
        event = replace(event, seq=self._seq, t_ms=self.t_ms(now_s))
        frame = serialise(event)
        self._sent.append((self._seq, frame))
        if isinstance(event, TranslationFinal):
            self._finals.append(event)
        return event, frame

    def t_ms(self, now_s: float) -> float:
        """Return the time of an event that is sent now."""
        return round((now_s - self._created) * 1e3, 3)

    def replay(self, last_seq: int) -> list[str] | None:
        """Return the frames after `last_seq`, None if some are no longer kept."""
        kept = [(seq, frame) for seq, frame in self._sent if seq > last_seq]
        is_whole = len(kept) == self._seq - last_seq
        return [frame for _, frame in kept] if is_whole else None

    def finals(self, last_seq: int) -> Iterator[str]:
        """Yield the finals after `last_seq`, whose segments no longer appear in a snapshot.

        All are numbered `last_seq`: a client that loses its connection again still lacks the rest.
        """
        missed = [event for event in self._finals if event.seq > last_seq]
        for event in missed:
            yield serialise(replace(event, seq=last_seq))

    def kept(self) -> list[str]:
        """Return the frames that could be replayed, oldest first, except the very first.

        That one contains the resume token, and whoever comes back has it.
        """
        return [frame for seq, frame in self._sent if seq > 1]

    def kept_finals(self) -> list[str]:
        """Return the finals that could be replayed, oldest first."""
        return [serialise(event) for event in self._finals]

    def waiting(self) -> list[str]:
        """Return the waiting events, not yet numbered, oldest first."""
        return [serialise(each.event) for each in self._waiting.values()]

    def load(
        self, seq: int, sent: Sequence[str], finals: Iterable[str], waiting: Iterable[str]
    ) -> None:
        """Restore the state that another instance dumped.

        Args:
            seq: number of its newest event. sent: the frames up to it.
        """
        self._seq = seq
        self._sent.extend((seq - len(sent) + 1 + i, frame) for i, frame in enumerate(sent))
        events = map(parse_server, finals)
        self._finals.extend(event for event in events if isinstance(event, TranslationFinal))
        for frame in waiting:
            self.push(parse_server(frame))

    def drop_deltas(self) -> None:
        """Drop the waiting deltas: a snapshot contains everything that was ever appended."""
        for key, waiting in list(self._waiting.items()):
            if isinstance(waiting.event, TranslationDelta):
                self._bytes -= waiting.size
                del self._waiting[key]

    def clear(self) -> None:
        """Drop everything that is waiting."""
        self._waiting.clear()
        self._bytes = 0


def _timed(
    event: TranslationDelta | TranslationFinal, arrival_s: float | None, now_s: float
) -> ServerEvent:
    if event.timing is None or arrival_s is None:
        return event
    total_ms = round((now_s - arrival_s) * 1e3, 3)
    return replace(event, timing=replace(event.timing, total_ms=total_ms))


def _size(event: ServerEvent) -> int:
    """Approximate characters of text in an event: the rest of a frame is a few hundred bytes."""
    if isinstance(event, TranslationDelta):
        return 200 + len(event.append) + len(event.unstable)
    if isinstance(event, TranslationFinal):
        return 300 + len(event.text) + len(event.source_text)
    return 300
