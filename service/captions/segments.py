"""The segments of a session: their names, how they begin, and how they end.

A client's name stands for one open segment at a time, and cannot be used again once that is
committed. A segment that grows too long continues under another name on the wire. Knows names and
source text; does not know translations.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from service.captions.segment import Segment, digest_of
from service.errors import ProtocolError
from tokenspeed.text.segmenter import cutting_at
from tokenspeed.text.steps import Steps, never, some_of

MAX_CLOSED_SEGMENTS: Final = 1000  # names of finished segments to remember
UNNAMED: Final = (
    "auto-"  # prefix of names that the server assigns; they count from 1 in each session
)
MIN_CHARS: Final = 100  # a shorter segment counts as this many: part of its work is fixed


@dataclass(frozen=True, slots=True)
class Closed:
    """What is kept of a segment that was committed or withdrawn.

    Attributes:
        rev: its last revision. text_digest: of the whole text.
        update: rev and digest of the last `source.update`, None if there was none.
        is_withdrawn: whether it ended without committed text.
        number: counts the finished segments.
    """

    rev: int
    text_digest: str
    update: tuple[int, str] | None
    is_withdrawn: bool
    number: int = 0

    def repeats_update(self, rev: int, text: str) -> bool:
        """Whether an update repeats what was said already, as after a lost line."""
        if self.is_withdrawn:
            return rev <= self.rev
        return (rev, digest_of(text)) in (self.update, (self.rev, self.text_digest))

    def repeats_commit(self, rev: int | None, text: str | None) -> bool:
        """Whether a commit repeats what was said already."""
        is_same_text = text is None or digest_of(text) == self.text_digest
        return self.is_withdrawn or (is_same_text and (rev is None or rev >= self.rev))


class Segments:
    """The open segments, in the order in which they began.

    Args:
        max_open: most segments open at one time.
        max_chars: in one segment; a longer one is cut.

    Attributes:
        pending_chars: characters in committed segments whose finals are not sent, and in text that
            is still to be cut.
        changed: wire ids of segments that differ from what was last written down. closed_anew:
            names closed, or dropped from the closed ones, since then. Both are None until somebody
            begins to write down.
    """

    def __init__(self, max_open: int, max_chars: int) -> None:
        self.pending_chars = 0
        self.changed: set[str] | None = None
        self.closed_anew: set[str] | None = None
        self._pending: dict[str, int] = {}  # characters, by wire id
        self._max_open = max_open
        self._max_chars = max_chars
        self._open: dict[str, Segment] = {}  # by wire id
        self._names: dict[str, str] = {}  # client's id -> wire id of the segment open under it
        self._closed: OrderedDict[str, Closed] = OrderedDict()  # by client's id
        self._unnamed = 0  # unnamed segments that have ended
        self._long: dict[str, Segment] = {}  # segments to be cut, by wire id
        self._count = 0  # of segments so far
        self._num_closed = 0
        self._begun: tuple[tuple[str, str], Steps[int]] | None = None  # which text; where to cut

    def __iter__(self) -> Iterator[Segment]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def get(self, segment_id: str) -> Segment | None:
        """Return the segment with this name on the wire."""
        return self._open.get(segment_id)

    def name(self, client_id: str | None) -> str:
        """Return the client's name for a segment; an unnamed one gets the next generated name."""
        if client_id:
            return client_id
        name = f"{UNNAMED}{self._unnamed + 1}"
        while name in self._closed:  # a client has used that name itself
            self._unnamed += 1
            name = f"{UNNAMED}{self._unnamed + 1}"
        return name

    def named(self, name: str) -> Segment | None:
        """Return the segment open under a client's name."""
        segment_id = self._names.get(name)
        return None if segment_id is None else self._open[segment_id]

    def of_name(self, name: str) -> list[Segment]:
        """Return every segment under a client's name, cut and committed ones included."""
        return [segment for segment in self if segment.client_id == name]

    def is_closed(self, name: str) -> bool:
        """Whether the segment of this name was committed or withdrawn."""
        return self.closed(name) is not None

    def closed(self, name: str) -> Closed | None:
        """Return what is kept of a segment that was committed or withdrawn."""
        # A whole book may be committed at once: names are forgotten before their finals are sent.
        found = self._open.get(name)
        is_awaited = found is not None and found.client_id == name and name not in self._names
        if is_awaited and name not in self._closed:
            return _closed(self.of_name(name)[-1])
        named = self.named(name)
        if named is not None and named.is_ending:
            return _closed(named)
        return self._closed.get(name)

    def open(self, client_id: str | None, now_s: float) -> Segment:
        """Return the open segment of a name, creating it if there is none.

        Raises:
            ProtocolError: it is committed already, or too many are open.
        """
        name = self.name(client_id)
        if self.is_closed(name):
            raise over(name)
        found = self.named(name)
        if found is not None:
            self.touch(found)
            return found
        if name in self._open:
            problem = f"{name!r} is the service's own name of a part of another segment"
            raise ProtocolError("invalid_event", problem, "segment_id")
        # Segments that only await finals do not count: whole pages may be pasted at once.
        count = sum(not segment.is_committed for segment in self._open.values())
        if count >= self._max_open:
            raise ProtocolError("rate_limited", f"{count} segments are open already", "segment_id")
        return self._add(Segment(name, name, first_arrival_s=now_s))

    def next_long(self) -> Segment | None:
        """Return a segment that has to be cut, None if there is none."""
        return next(iter(self._long.values()), None)

    def check_length(self, segment: Segment) -> bool:
        """Return whether a segment is short enough; if not, it is queued to be cut."""
        length = len(segment.text)
        if length > self._max_chars:
            self._long[segment.segment_id] = segment
            self._note_pending(segment, length)
            return False
        if self._long.pop(segment.segment_id, None):  # a revision made it short again
            self._note_pending(segment, 0)
        return True

    def cut(
        self, segment: Segment, now_s: float, is_spent: Callable[[], bool] = never
    ) -> Segment | None:
        """Cut a segment that is too long; return the segment that continues it.

        None if time ran out before it was found where: calling again goes on.
        """
        begun = segment.segment_id, segment.text
        if self._begun is None or self._begun[0] != begun:
            self._begun = begun, cutting_at(segment.text, self._max_chars)
        length = some_of(self._begun[1], is_spent)
        if length is None:
            return None
        self._begun = None
        self.touch(segment)
        del self._long[segment.segment_id]
        rest = segment.cut(length[0], now_s)
        while rest.segment_id in self._open or rest.segment_id in self._names:
            rest.rename()  # a client has used that name for a segment
        self._note_pending(segment, 0)
        return self._add(rest)

    def close(self, segment: Segment) -> None:
        """Note that a segment was committed or withdrawn, and with it its name."""
        self.touch(segment)
        self._note_pending(segment, max(len(segment.text), MIN_CHARS))
        name = segment.client_id
        if self._names.get(name) != segment.segment_id:
            return
        if name == self.name(None):
            self._unnamed += 1
        del self._names[name]
        self._num_closed += 1
        self._closed[name] = _closed(segment, self._num_closed)
        names = [name]
        if len(self._closed) > MAX_CLOSED_SEGMENTS:
            names.append(self._closed.popitem(last=False)[0])
        if self.closed_anew is not None:
            self.closed_anew.update(names)

    def forget(self, segment: Segment) -> None:
        """Drop a segment: all its finals are sent, or it was withdrawn."""
        self.touch(segment)
        self._open.pop(segment.segment_id, None)
        self._long.pop(segment.segment_id, None)
        self._note_pending(segment, 0)

    def touch(self, segment: Segment) -> None:
        """Note that a segment, or its translation, has changed."""
        if self.changed is not None:
            self.changed.add(segment.segment_id)

    def _note_pending(self, segment: Segment, chars: int) -> None:
        self.pending_chars += chars - self._pending.pop(segment.segment_id, 0)
        if chars:
            self._pending[segment.segment_id] = chars

    # ---- written down for another replica ----

    def dump(self) -> dict[str, Any]:
        """Return the state that belongs to no single segment, as plain values."""
        return {"unnamed": self._unnamed, "count": self._count, "num_closed": self._num_closed}

    def dump_segment(self, segment: Segment) -> dict[str, Any]:
        """Return the state of a segment, as plain values."""
        name = segment.segment_id
        return {
            "segment": segment.dump(),
            "pending": self._pending.get(name, 0),
            "is_long": name in self._long,
            "is_named": self._names.get(segment.client_id) == name,
        }

    def dump_closed(self, name: str) -> dict[str, Any] | None:
        """Return what is kept of a finished segment, as plain values."""
        found = self._closed.get(name)
        return None if found is None else asdict(found)

    @property
    def closed_names(self) -> list[str]:
        """All names of finished segments that are kept."""
        return list(self._closed)

    def load(
        self,
        state: dict[str, Any],
        segments: Iterable[dict[str, Any]],
        closed: Iterable[tuple[str, dict[str, Any]]],
        later_s: float,
    ) -> None:
        """Restore the state that another instance dumped; `later_s` is added to its times."""
        self._unnamed, self._count = state["unnamed"], state["count"]
        self._num_closed = state["num_closed"]
        for name, each in sorted(closed, key=lambda item: item[1]["number"]):
            update = each["update"] and (each["update"][0], each["update"][1])
            self._closed[name] = Closed(**each | {"update": update})
        for each in sorted(segments, key=lambda item: item["segment"]["number"]):
            segment = Segment.loaded(each["segment"], later_s)
            self._open[segment.segment_id] = segment
            self._note_pending(segment, each["pending"])
            if each["is_long"]:
                self._long[segment.segment_id] = segment
            if each["is_named"]:
                self._names[segment.client_id] = segment.segment_id

    def _add(self, segment: Segment) -> Segment:
        self._count += 1
        segment.number = self._count
        self._open[segment.segment_id] = segment
        self._names[segment.client_id] = segment.segment_id
        self.touch(segment)
        return segment


def over(name: str) -> ProtocolError:
    """Return the error for text in a segment that was committed or withdrawn."""
    problem = f"segment {name!r} is committed already; a new utterance needs a name of its own"
    return ProtocolError("unknown_segment", problem, "segment_id")


def _closed(segment: Segment, number: int = 0) -> Closed:
    is_withdrawn = not (segment.is_committed or segment.is_ending)
    text = segment.stable + segment.unstable
    return Closed(max(segment.rev, 0), digest_of(text), segment.last_update, is_withdrawn, number)
