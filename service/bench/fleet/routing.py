"""Which replica a newcomer is sent to. Knows replicas by number and the load they report."""

import math
import random
from collections.abc import Callable, Sequence
from hashlib import blake2s
from typing import Final, NamedTuple, Protocol


class Knock(NamedTuple):
    """A client that asks for a connection, and how often it was turned away meanwhile."""

    client: int
    refusals: int = 0


class Router(Protocol):
    """Chooses among replicas that are ready."""

    def choose(self, knock: Knock, ready: Sequence[int], rng: random.Random) -> int:
        """Return one of `ready`, which is not empty."""
        ...


class RoundRobin:
    """Each replica in turn."""

    def __init__(self, predict_s: Callable[[int], float]) -> None:
        self._next = 0

    def choose(self, knock: Knock, ready: Sequence[int], rng: random.Random) -> int:
        self._next += 1
        return ready[(self._next - 1) % len(ready)]


class Sticky:
    """By the client's name: the same replica while it is ready, the next if it has no room.

    Rendezvous hashing: each client has its own order of all replicas, so that a lost replica moves
    only its own clients, and to different others. Source: Thaler and Ravishankar 1998, Using
    name-based mappings to increase hit rates.
    """

    def __init__(self, predict_s: Callable[[int], float]) -> None:
        pass

    def choose(self, knock: Knock, ready: Sequence[int], rng: random.Random) -> int:
        ordered = sorted(
            ready, key=lambda replica: blake2s(f"{knock.client}/{replica}".encode()).digest()
        )
        return ordered[knock.refusals % len(ordered)]


class LeastP95:
    """Of two random replicas, the one that predicts the lower p95 with one more speaker.

    Those that report no room are left out, as long as others have some. Two and not all: reports
    are a second old, and all newcomers of that second would go to the one that looked best.
    Source: Mitzenmacher 2001, The power of two choices.

    Args:
        predict_s: a replica's newest report, in seconds, the gauge
            `tokenspeed_predicted_update_seconds`; inf without room.
    """

    def __init__(self, predict_s: Callable[[int], float]) -> None:
        self._predict_s = predict_s

    def choose(self, knock: Knock, ready: Sequence[int], rng: random.Random) -> int:
        with_room = [replica for replica in ready if self._predict_s(replica) < math.inf]
        return min((rng.choice(with_room or ready) for _ in range(2)), key=self._predict_s)


ROUTERS: Final[dict[str, Callable[[Callable[[int], float]], Router]]] = {
    "least-p95": LeastP95,
    "round-robin": RoundRobin,
    "sticky": Sticky,
}
