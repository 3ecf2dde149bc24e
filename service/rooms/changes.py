"""What can happen to a room, and how it is written down for other replicas.

The same changes in the same order make the same room anywhere; a room's own events, numbers and
frames follow from them. Knows events; does no I/O.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from service.wire.protocol import (
    FinalStats,
    SourceDelta,
    SourceFinal,
    TranslationDelta,
    TranslationFinal,
    TranslationRetracted,
)

SpeakerEvent = (
    SourceDelta | SourceFinal | TranslationDelta | TranslationFinal | TranslationRetracted
)


@dataclass(frozen=True, slots=True)
class Joined:
    """A session starts speaking.

    Attributes:
        origin: the replica that it is on.
        source: who speaks, also in the sessions before and after it.
        generation: counts the replicas that it was on; an older one does not get it back.
    """

    kind: ClassVar[str] = "joined"
    session_id: str
    origin: str
    source: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """It stops speaking; segments it left open end as they stand."""

    kind: ClassVar[str] = "left"
    session_id: str
    origin: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A replica is gone: its readers went elsewhere, its sessions may come back elsewhere."""

    kind: ClassVar[str] = "gone"
    origin: str


@dataclass(frozen=True, slots=True)
class Reads:
    """How many readers each language has on a replica; 0: kept for a reader who may come back."""

    kind: ClassVar[str] = "reads"
    origin: str
    readers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Spoke:
    """A session said something.

    Attributes:
        source: who speaks, also in the sessions before and after it.
        t_ms: since the room was opened.
        asked: languages that it was told of, and so translates into, when a segment was over.
        number: counts what the session says, on whichever replica; it is heard once however often
            it is sent. 0: it is sent once.
    """

    kind: ClassVar[str] = "spoke"
    session_id: str
    origin: str
    source: str
    event: SpeakerEvent
    t_ms: float
    asked: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class Translated:
    """What nobody read when it was said has now been translated."""

    kind: ClassVar[str] = "translated"
    number: int
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A replica translates what a language lacks; if another one already does, that one goes on."""

    kind: ClassVar[str] = "claimed"
    target: str
    origin: str


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """It no longer does."""

    kind: ClassVar[str] = "unclaimed"
    target: str
    origin: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """The room has a new name."""

    kind: ClassVar[str] = "renamed"
    name: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """Readers need a new pass phrase, or none. guard: hash of it, None if none."""

    kind: ClassVar[str] = "guarded"
    guard: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing more will be said."""

    kind: ClassVar[str] = "closed"


Change = (
    Joined
    | Left
    | Gone
    | Reads
    | Spoke
    | Translated
    | Claimed
    | Unclaimed
    | Renamed
    | Guarded
    | Closed
)
EVENTS: Final[dict[str, type[Any]]] = {
    each.type: each
    for each in (
        SourceDelta, SourceFinal, TranslationDelta, TranslationFinal, TranslationRetracted,
    )
}  # fmt: skip
KINDS: Final[dict[str, type[Any]]] = {
    each.kind: each
    for each in (
        Joined, Left, Gone, Reads, Spoke, Translated, Claimed, Unclaimed, Renamed, Guarded, Closed,
    )
}  # fmt: skip


def encode(change: Change) -> bytes:
    """Write a change as JSON."""
    return orjson.dumps({"kind": change.kind, "values": change, **_event_type(change)})


def decode(data: bytes) -> Change:
    """Read a change."""
    raw = orjson.loads(data)
    values = raw["values"]
    if raw["kind"] == Spoke.kind:
        values["event"] = _event(EVENTS[raw["event"]], values["event"])
        values["asked"] = tuple(values["asked"])
    return KINDS[raw["kind"]](**values)


def _event_type(change: Change) -> dict[str, str]:
    return {"event": change.event.type} if isinstance(change, Spoke) else {}


def _event(kind: type[Any], values: dict[str, Any]) -> SpeakerEvent:
    if "stats" in values:
        values["stats"] = FinalStats(**values["stats"])
    return kind(**values)
