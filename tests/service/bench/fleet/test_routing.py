"""Routers choose among what is ready, and keep what they promise."""

import math
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.bench.fleet.routing import ROUTERS, Knock, LeastP95, RoundRobin, Sticky

READY = st.lists(st.integers(0, 20), min_size=1, max_size=8, unique=True)


@given(st.sampled_from(sorted(ROUTERS)), READY, st.integers(0, 99), st.integers(0, 9))
def test_the_chosen_one_is_ready(name: str, ready: list[int], client: int, refusals: int) -> None:
    router = ROUTERS[name](lambda replica: replica / 10)
    assert router.choose(Knock(client, refusals), ready, random.Random(client)) in ready


@given(READY, st.integers(0, 99))
def test_sticky_moves_those_of_the_lost_replica_alone(ready: list[int], client: int) -> None:
    router, rng = Sticky(lambda replica: 0.0), random.Random(0)
    chosen = router.choose(Knock(client), ready, rng)
    for lost in ready:
        left = [replica for replica in ready if replica != lost]
        if left and lost != chosen:
            assert router.choose(Knock(client), left, rng) == chosen
    # Who is turned away everywhere has asked everybody.
    asked = {router.choose(Knock(client, n), ready, rng) for n in range(len(ready))}
    assert asked == set(ready)


@given(READY, st.integers(1, 5))
def test_round_robin_sends_all_the_same(ready: list[int], rounds: int) -> None:
    router, rng = RoundRobin(lambda replica: 0.0), random.Random(0)
    chosen = [router.choose(Knock(0), ready, rng) for _ in range(rounds * len(ready))]
    assert Counter(chosen) == dict.fromkeys(ready, rounds)


@given(st.dictionaries(st.integers(0, 9), st.floats(0, 1) | st.just(math.inf), min_size=1))
def test_the_full_are_left_out_as_long_as_others_are_not(said: dict[int, float]) -> None:
    chosen = LeastP95(said.__getitem__).choose(Knock(0), list(said), random.Random(0))
    assert said[chosen] < math.inf or min(said.values()) == math.inf


def test_of_two_the_better_one_gets_three_quarters() -> None:
    said = {0: 0.1, 1: 0.5}
    rng, router = random.Random(0), LeastP95(said.__getitem__)
    taken = Counter(router.choose(Knock(0), [0, 1], rng) for _ in range(1000))
    assert taken[0] > 2 * taken[1]  # three quarters of all pairs have the better one
