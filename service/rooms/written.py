"""Segments of a room as readers are told them, serialised once for a whole audience.

Knows segments and readers; does not know in which order anything happened.
"""

from service.rooms.readers import Reader
from service.rooms.said import SOURCE, Said, Told
from service.wire import protocol
from service.wire.protocol import ReaderForm, RoomSegment

_Audience = tuple[tuple[str, ...], ReaderForm]  # channels and form of readers


class Written:
    """Finished segments, by number, as they were serialised for readers of some channels."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[_Audience, tuple[int, bytes]]] = {}

    def segment(self, said: Said, reader: Reader) -> bytes:
        """Return a segment as a reader is told it, serialised."""
        changed, audience = changed_for(reader, said), (reader.channels, reader.form)
        kept = self._kept.get(said.number, {}).get(audience)
        if kept is not None and kept[0] == changed:
            return kept[1]
        written = protocol.write_part(_as_told(said, reader))
        if said.source.is_final:  # otherwise its times may still change
            self._kept.setdefault(said.number, {})[audience] = (changed, written)
        return written

    def forget(self, number: int) -> None:
        """Forget a segment that is no longer part of the room."""
        self._kept.pop(number, None)

    def clear(self) -> None:
        """Forget everything: the room was restored."""
        self._kept.clear()


def changed_for(reader: Reader, said: Said) -> int:
    """Return the number of the event that told a reader the newest of a segment."""
    newest = 0
    for name in reader.channels:
        told = said.channels.get(name)
        if told is not None and told.changed > newest:
            newest = told.changed
    return newest


def _as_told(said: Said, reader: Reader) -> RoomSegment:
    own = said.channels.get(reader.target, Told())
    has_source = SOURCE in reader.channels and reader.target != SOURCE
    return RoomSegment(
        segment_id=str(said.number),
        text=own.text,
        unstable=own.unstable if reader.form == "captions" else "",
        is_final=own.is_final,
        is_retracted=own.is_retracted,
        speaker=said.speaker,
        source=said.source.text + said.source.unstable if has_source else None,
        start_ms=said.start_ms,
        end_ms=said.end_ms,
    )
