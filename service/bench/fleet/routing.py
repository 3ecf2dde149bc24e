"""Which replica a newcomer is sent to. Knows replicas by number and what they say of their load."""

import math
import random
from collections.abc import Callable, Sequence
from hashlib import blake2s
from typing import Final, NamedTuple, Protocol


class Knock(NamedTuple):
    """Who asks for a line, and how often it was turned away since it had none."""

    client: int
    refusals: int = 0


class Router(Protocol):
    """Chooses among replicas that are ready."""

    def choose(self, knock: Knock, ready: Sequence[int], rng: random.Random) -> int:
        """Return one of `ready`, which has one at least."""
        ...


class RoundRobin:
    """One after the other."""

    def __init__(self, predict_s: Callable[[int], float]) -> None:
        self._next = 0

    def choose(self, knock: Knock, ready: Sequence[int], rng: random.Random) -> int:
        self._next += 1
        return ready[(self._next - 1) % len(ready)]


class Sticky:
    """By the client's name: the same one for as long as it is there, the next when it has no room.

    Rendezvous hashing: each client has an order of its own of all replicas, so that a lost replica
    moves its own clients alone, and to different others. Source: Thaler and Ravishankar 1998, Using
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
    """Of two at random the one that predicts the lower p95 with one speaker more.

    Those that say that they have no room are left out, as long as others have some. Two and not
    all: what replicas say is a second old, and all newcomers of that second would go to the one
    that looked best. Source: Mitzenmacher 2001, The power of two choices.

    Args:
        predict_s: what a replica said last, in seconds, the gauge
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
