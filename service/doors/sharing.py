"""What replicas share of a session: plain values, without Redis."""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from service.wire.outbox import MAX_REPLAY_EVENTS

Outcome = Literal["saved", "lost", "superseded", "missing"]


@dataclass(slots=True)
class News:
    """What is to be saved of a session.

    Attributes:
        is_whole: whether this is all of it, rather than what changed.
        parts: plain values by name; None for a part that no longer exists.
        seq: number of the newest frame.
        frames, finals: to be added.
    """

    is_whole: bool
    parts: dict[str, Any]
    seq: int
    frames: list[str]
    finals: list[str]


@dataclass(frozen=True, slots=True)
class Found:
    """A session as another replica left it.

    Attributes:
        generation: counts the replicas that it was on, this one included.
        parts, seq, frames, finals: as they were written.
    """

    session_id: str
    digest: str
    epoch: str
    generation: int
    parts: dict[str, Any]
    seq: int
    frames: list[str]
    finals: list[str]


def digest_of(resume_token: str) -> str:
    """Return a token's digest: 256 random bits need no slow hash."""
    return hashlib.sha256(resume_token.encode()).hexdigest()


@dataclass(eq=False, slots=True)
class Share:
    """A session of this replica, as saved for others.

    Attributes:
        generation: counts the replicas that it was on.
        needs_whole: whether what Redis has of it is not known.
        is_superseded: whether another replica has it.
        is_unsure: whether its client came back while Redis could not say if another replica has it.
        on_superseded: called once that is so. on_back: called once Redis is back.
    """

    session_id: str
    digest: str
    epoch: str
    generation: int = 1
    needs_whole: bool = True
    is_superseded: bool = False
    is_unsure: bool = False
    is_known: bool = False  # whether Redis may have some of it
    count: int = 0  # of writes
    paused_until_s: float = 0.0
    on_superseded: Callable[[], None] = lambda: None
    on_back: Callable[[], None] = lambda: None
    sizes: dict[str, int] = field(default_factory=dict)  # of its parts, in bytes
    logs: tuple[deque[int], deque[int]] = field(  # sizes of its frames, and of its finals
        default_factory=lambda: (deque(maxlen=MAX_REPLAY_EVENTS), deque(maxlen=MAX_REPLAY_EVENTS))
    )
