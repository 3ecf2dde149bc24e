"""What can happen to a room, and how that is written down for other replicas.

The same changes in the same order make the same room anywhere; a room's own events, numbers and
frames follow from them. Knows events; does no I/O.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

import orjson

from service.wire import protocol
from service.wire.protocol import (
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
    """A session speaks from now on; origin is the replica that it is on."""

    kind: ClassVar[str] = "joined"
    session_id: str
    origin: str


@dataclass(frozen=True, slots=True)
class Left:
    """It speaks no more; what it left open ends as it stands."""

    kind: ClassVar[str] = "left"
    session_id: str
    origin: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A replica is no more: its readers went elsewhere, its sessions may come back elsewhere."""

    kind: ClassVar[str] = "gone"
    origin: str


@dataclass(frozen=True, slots=True)
class Reads:
    """How many read each language on a replica; 0 is one that is kept for who may come back."""

    kind: ClassVar[str] = "reads"
    origin: str
    readers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Spoke:
    """A session said something.

    Attributes:
        t_ms: since the room was opened.
        asked: languages that it was told of, and so translates into, when a segment was over.
    """

    kind: ClassVar[str] = "spoke"
    session_id: str
    origin: str
    event: SpeakerEvent
    t_ms: float
    asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Translated:
    """What nobody read when it was said has a translation now."""

    kind: ClassVar[str] = "translated"
    number: int
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A replica translates what a language lacks; where another one does already, that goes on."""

    kind: ClassVar[str] = "claimed"
    target: str
    origin: str


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """It does so no more."""

    kind: ClassVar[str] = "unclaimed"
    target: str
    origin: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """The room has another name."""

    kind: ClassVar[str] = "renamed"
    name: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """Readers are asked for another pass phrase, or for none. guard: what it is known by."""

    kind: ClassVar[str] = "guarded"
    guard: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing more is said."""

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
KINDS: Final[dict[str, type[Any]]] = {
    each.kind: each
    for each in (
        Joined, Left, Gone, Reads, Spoke, Translated, Claimed, Unclaimed, Renamed, Guarded, Closed,
    )
}  # fmt: skip


def encode(change: Change) -> bytes:
    """Write a change as JSON."""
    values = {each.name: getattr(change, each.name) for each in fields(change)}
    if isinstance(change, Spoke):
        values["event"] = protocol.serialise(change.event)
    return orjson.dumps({"kind": change.kind, **values})


def decode(data: bytes) -> Change:
    """Read a change."""
    values = orjson.loads(data)
    kind = KINDS[values.pop("kind")]
    if kind is Spoke:
        values["event"] = protocol.parse_server(values["event"])
        values["asked"] = tuple(values["asked"])
    return kind(**values)
