"""What a session asks its connection to do, and what it is told: plain values."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.captions.job import Job, JobKey
from service.wire.protocol import ServerEvent


@dataclass(frozen=True, slots=True)
class Send:
    """An event for the client; `arrival_s` is when its cause arrived, for `timing.total_ms`."""

    event: ServerEvent
    arrival_s: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A job for the engine; it supersedes any running job of the same key."""

    job: Job


@dataclass(frozen=True, slots=True)
class Stop:
    """The job of this key is no longer needed."""

    key: JobKey


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection once everything before this has been sent."""

    code: int
    reason: str


Action = Send | Start | Stop | Close


@dataclass(slots=True)
class Counters:
    """What happened in a session, for metrics."""

    stale_revisions: int = 0
    coalesced: int = 0
    repeated_commits: int = 0
    errors: int = 0


def events_of(actions: Iterable[Action]) -> list[ServerEvent]:
    """Return only the events among the actions."""
    return [action.event for action in actions if isinstance(action, Send)]
