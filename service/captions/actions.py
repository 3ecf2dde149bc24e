"""What a session asks of its connection, and what it is told: values without behaviour."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.captions.stream import Job
from service.wire.protocol import ServerEvent, Timing


@dataclass(frozen=True, slots=True)
class Send:
    """An event for the client; `arrival` is when its cause came, for `timing.total_ms`."""

    event: ServerEvent
    arrival: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A job for the engine; it supersedes a running one of the same key."""

    job: Job


@dataclass(frozen=True, slots=True)
class Stop:
    """Nobody waits for the job of this key any more."""

    key: tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection once everything before is sent."""

    code: int
    reason: str


Action = Send | Start | Stop | Close


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        tokens: the output, the forced beginning included.
        is_whole: whether it ended by itself rather than at its length.
        is_current: False where a newer job of the same key, or a stop, cut it short.
        timing: of the engine; `total_ms` is filled in when the delta is sent.
    """

    tokens: tuple[int, ...]
    is_whole: bool = True
    is_current: bool = True
    timing: Timing | None = None


@dataclass(slots=True)
class Counters:
    """What happened in a session, for metrics."""

    stale_revisions: int = 0
    coalesced: int = 0
    repeated_commits: int = 0
    errors: int = 0


def events_of(actions: Iterable[Action]) -> list[ServerEvent]:
    """Return the events among actions."""
    return [action.event for action in actions if isinstance(action, Send)]
