"""The segments of a session: their names, how they begin, and how they end.

A name of the client's stands for one open segment at a time, and for none again once that is
committed. A segment that has become too long goes on under another name on the wire. Knows names
and source text; does not know translations.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from service.captions.segment import Segment
from service.errors import ProtocolError
from tokenspeed.text.segmenter import cut_at

MAX_CLOSED_SEGMENTS: Final = 1000  # names of finished segments that are remembered


class Segments:
    """The open segments, in the order in which they began.

    Args:
        max_open: not committed, at one time.
        max_chars: of one segment; a longer one is cut.
    """

    def __init__(self, max_open: int, max_chars: int) -> None:
        self._max_open = max_open
        self._max_chars = max_chars
        self._open: dict[str, Segment] = {}  # by wire id
        self._names: dict[str, str] = {}  # client's id -> wire id of what is open under it
        self._closed: OrderedDict[str, int] = OrderedDict()  # client's id -> last rev
        self._unnamed = 0  # segments without a name that are over
        self._long: dict[str, Segment] = {}  # by wire id, those to be cut

    def __iter__(self) -> Iterator[Segment]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def get(self, segment_id: str) -> Segment | None:
        """Return the segment with this name on the wire."""
        return self._open.get(segment_id)

    def name(self, client_id: str | None) -> str:
        """Return the client's name for a segment; one without a name gets the next of ours."""
        if client_id:
            return client_id
        name = f"auto-{self._unnamed + 1}"
        while name in self._closed:  # a client has used that name itself
            self._unnamed += 1
            name = f"auto-{self._unnamed + 1}"
        return name

    def named(self, name: str) -> Segment | None:
        """Return what is open under a client's name."""
        segment_id = self._names.get(name)
        return None if segment_id is None else self._open[segment_id]

    def of_name(self, name: str) -> list[Segment]:
        """Return all that a client's name stands for, cut and committed ones included."""
        return [segment for segment in self if segment.client_id == name]

    def is_closed(self, name: str) -> bool:
        """Whether the segment of this name was committed or withdrawn."""
        # A whole book may be committed at once: names are forgotten before their finals are there.
        found = self._open.get(name)
        is_awaited = found is not None and found.client_id == name and name not in self._names
        return is_awaited or name in self._closed

    def is_stale(self, client_id: str | None, rev: int) -> bool:
        """Whether a revision comes after the end of its segment, and says nothing newer."""
        return client_id is not None and self._closed.get(client_id, -1) >= rev

    def open(self, client_id: str | None, now_s: float) -> Segment:
        """Return the open segment of a name, a new one where there is none.

        Raises:
            ProtocolError: it is committed already, or too many are open.
        """
        name = self.name(client_id)
        if self.is_closed(name):
            problem = f"segment {name!r} is committed already"
            raise ProtocolError("unknown_segment", problem, "segment_id")
        found = self.named(name)
        if found is not None and found.is_ending:
            problem = f"segment {name!r} is committed already"
            raise ProtocolError("unknown_segment", problem, "segment_id")
        if found is not None:
            return found
        if name in self._open:
            problem = f"{name!r} is the service's own name of a part of another segment"
            raise ProtocolError("invalid_event", problem, "segment_id")
        # Finals that are awaited do not count: whole pages may be pasted at once.
        count = sum(not segment.is_committed for segment in self._open.values())
        if count >= self._max_open:
            raise ProtocolError("rate_limited", f"{count} segments are open already", "segment_id")
        return self._add(Segment(name, name, first_arrival_s=now_s))

    def next_long(self) -> Segment | None:
        """Return a segment that is to be cut, None where there is none."""
        return next(iter(self._long.values()), None)

    def check_length(self, segment: Segment) -> bool:
        """Return whether a segment is short enough; one that is not is to be cut."""
        if len(segment.text) > self._max_chars:
            self._long[segment.segment_id] = segment
            return False
        self._long.pop(segment.segment_id, None)  # a revision has made it short again
        return True

    def cut(self, segment: Segment, now_s: float) -> Segment:
        """Cut a segment that is too long; return what goes on under the next name."""
        del self._long[segment.segment_id]
        rest = segment.cut(cut_at(segment.text, self._max_chars), now_s)
        while rest.segment_id in self._open or rest.segment_id in self._names:
            rest.rename()  # a client has a segment of that name
        return self._add(rest)

    def close(self, segment: Segment) -> None:
        """Free the name of a segment: it is committed, or withdrawn."""
        name = segment.client_id
        if self._names.get(name) != segment.segment_id:
            return
        if name == self.name(None):
            self._unnamed += 1
        del self._names[name]
        self._closed[name] = segment.rev
        if len(self._closed) > MAX_CLOSED_SEGMENTS:
            self._closed.popitem(last=False)

    def forget(self, segment: Segment) -> None:
        """Drop a segment: all its finals are sent, or it was withdrawn."""
        self._open.pop(segment.segment_id, None)
        self._long.pop(segment.segment_id, None)

    def _add(self, segment: Segment) -> Segment:
        self._open[segment.segment_id] = segment
        self._names[segment.client_id] = segment.segment_id
        return segment
