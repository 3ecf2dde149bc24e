"""All connections of one server: how many there may be, and which are evicted for others.

A connection that waits for its client, for the rest of a request or for credentials, may be
evicted for a new one; one being served may not. Knows how many and whose; does not know bytes.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Protocol, cast

from uvicorn.server import ServerState

from service.doors.turns import Slices
from service.load.limits import Limits
from service.load.metrics import Metrics

logger = logging.getLogger("service.doors.lines")


class Line(Protocol):
    """A connection, as others see it.

    Attributes:
        address: of the client.
        is_waiting: whether it waits for its client.
        is_stranger: whether it is a WebSocket without a session.
        since_s: when that began.
    """

    address: str
    is_waiting: bool
    is_stranger: bool
    since_s: float

    def give_way(self) -> None:
        """Close it to make room for another."""
        ...


class Lines(ServerState):
    """The connections of one server, as uvicorn keeps them.

    Args:
        max_lines: at one time.
        max_strangers: WebSockets without a session, at one time.
        limits: how long a client may keep a connection waiting.
        metrics: count those refused or evicted.

    Attributes:
        slices: turns at parsing what came.
    """

    def __init__(
        self, max_lines: int, max_strangers: int, limits: Limits, metrics: Metrics
    ) -> None:
        super().__init__()
        self.limits = limits
        self.slices = Slices()
        self._max_lines = max_lines
        self._max_strangers = max_strangers
        self._metrics = metrics

    def make_room(self) -> bool:
        """Evict a connection if the newest is one too many; False if none can be."""
        if len(self.connections) <= self._max_lines:
            return True
        if self._end_one(line for line in self._lines() if line.is_waiting):
            return True
        self._metrics.connections_refused.labels("too_many").inc()
        logger.warning("connections are refused: there are too many")
        return False

    def make_room_for_stranger(self) -> None:
        """Evict a WebSocket without a session if the newest is one too many."""
        strangers = [line for line in self._lines() if line.is_stranger]
        if len(strangers) > self._max_strangers:
            self._end_one(strangers)

    def _lines(self) -> Iterable[Line]:
        return cast("Iterable[Line]", self.connections)  # to check each takes 10 ms for a thousand

    def _end_one(self, lines: Iterable[Line]) -> bool:
        """Close the oldest from the address that has most: whoever opens many harms nobody else."""
        found = list(lines)
        if not found:
            return False
        held = Counter(line.address for line in found)
        victim = max(found, key=lambda line: (held[line.address], -line.since_s))
        self._metrics.connections_refused.labels("gave_way").inc()
        logger.warning("waiting connections are closed: there are too many")
        victim.give_way()
        return True
