"""Frames of a room: each is serialised once for all its readers of one form, and kept for a while.

Knows events and forms; knows neither readers nor segments.
"""

from collections import deque
from dataclasses import replace

from service.wire import protocol
from service.wire.protocol import ReaderForm, ServerEvent, SourceDelta, TranslationDelta


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


class Channel:
    """The newest frames of a language or of the source. dropped: number of the last one dropped."""

    def __init__(self, max_frames: int, dropped: int = 0) -> None:
        self.dropped = dropped
        self._max_frames = max_frames
        self._frames: deque[Frame] = deque()

    def append(self, frame: Frame) -> None:
        """Add a frame; the oldest is dropped if there are too many."""
        self._frames.append(frame)
        if len(self._frames) > self._max_frames:
            self.dropped = self._frames.popleft().number

    def after(self, number: int) -> list[Frame]:
        """Return the frames that are newer than an event."""
        found: list[Frame] = []
        for frame in reversed(self._frames):
            if frame.number <= number:
                break
            found.append(frame)
        return found[::-1]


def _in_form(event: ServerEvent, form: ReaderForm) -> ServerEvent | None:
    """Return an event for a reader of a form; None if it is no news to that reader."""
    if form == "captions":
        return event
    if isinstance(event, SourceDelta):
        return None
    if isinstance(event, TranslationDelta):
        return replace(event, unstable="") if event.append else None
    return event
