"""One replica: the service's own code on simulated time, and what stands around it."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from service.bench.fleet.client import Client, Tally
from service.bench.fleet.replica import Host, Replica
from service.bench.load.costs import MeasuredCost
from tests.service.bench.fleet.machines import COST, HOST


def speak(replica: Replica, client: Client) -> float:
    """Let a client say everything; return when it is done."""
    replica.open(client, 0.0)
    for update in client.script:
        at_s = update.at_ms / 1e3
        replica.receive(client.number, client.say(update, at_s), at_s)
    return client.script[-1].at_ms / 1e3


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 20), st.floats(0, 10), st.floats(0, 2), st.floats(0.1, 40))
def test_a_lone_speaker_waits_for_the_loop_and_its_steps_alone(
    number: int, loop_ms: float, step_ms: float, base_ms: float
) -> None:
    tally = Tally()
    client = Client(number, tally, 4.0)
    cost = MeasuredCost((1, 64), (base_ms, 2 * base_ms))
    replica = Replica(0, 0, cost, Host(loop_ms, step_ms))
    end_s = speak(replica, client)
    replica.run_out(end_s + 30.0)
    assert not client.is_waiting
    assert tally.repeated_finals == 0
    assert tally.said == tally.unneeded + len(tally.updates)
    assert min(ms for _, ms in tally.partials) >= loop_ms + base_ms + step_ms - 1e-6
    stats = replica.engine.stats()
    assert stats.failures == 0
    assert stats.busy_s * 1e3 >= stats.steps * (base_ms + step_ms) - 1e-6


def test_a_full_replica_says_so_and_a_closed_session_makes_room() -> None:
    replica = Replica(0, 0, COST, HOST, max_sessions=1)
    client = Client(0, Tally(), 2.0)
    assert replica.has_room(0.0)
    assert replica.predict_s(0.0) < math.inf
    replica.open(client, 0.0)
    assert replica.predict_s(1.0) == math.inf
    assert not replica.has_room(1.0)
    assert replica.refused == 1
    replica.close(0)
    assert replica.has_room(1.5)


def test_nothing_is_heard_of_a_replica_after_its_end() -> None:
    tally = Tally()
    client = Client(3, tally, 4.0)
    replica = Replica(0, 0, COST, HOST)
    replica.end_s = 2.0
    speak(replica, client)
    replica.run_until(10.0)
    assert client.is_waiting
    assert tally.updates
    assert all(at_s + ms / 1e3 <= 2.0 for at_s, ms in tally.updates)
