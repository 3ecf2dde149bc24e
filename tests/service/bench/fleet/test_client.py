"""A client: what it sends again, what it counts, and how long it waits."""

import random

from hypothesis import given
from hypothesis import strategies as st

from service.bench.fleet.client import Client, Tally, next_delay_s
from service.wire.protocol import FinalStats, SourceCommit, TranslationFinal
from tokenspeed_client.backoff import next_delay_s as of_the_library


def final(segment_id: str) -> TranslationFinal:
    return TranslationFinal(segment_id, "de", "y", "x", FinalStats(1, 0, 1.0, 1.0))


@given(st.floats(0, 20), st.integers(0, 99))
def test_it_waits_as_the_client_library_does(previous_s: float, seed: int) -> None:
    own = next_delay_s(previous_s, random.Random(seed).random)
    assert own == of_the_library(previous_s, random.Random(seed).random)


@given(st.integers(0, 20), st.integers(0, 60), st.booleans())
def test_every_update_is_answered_unneeded_or_dropped(number: int, stop: int, ends: bool) -> None:
    tally = Tally()
    client = Client(number, tally, seconds=6.0)
    for update in client.script[:stop]:
        event = client.say(update, update.at_ms / 1e3)
        if isinstance(event, SourceCommit) and ends:
            assert event.segment_id is not None
            client.hear(final(event.segment_id), update.at_ms / 1e3 + 1.0)
    resent = list(client.unfinished())
    assert len(resent) == len({event.segment_id for event in resent})
    assert client.is_waiting == bool(resent)
    client.give_up("gone")
    assert not client.is_waiting
    counted = tally.unneeded + len(tally.updates) + sum(tally.dropped.values())
    assert tally.said == counted == min(stop, len(client.script))
    assert all(ms >= 1000 for _, ms in tally.updates)


def test_a_second_final_is_counted() -> None:
    tally = Tally()
    client = Client(0, tally, seconds=1.0)
    for update in client.script:
        name = client.say(update, 0.0).segment_id
        if update.is_commit:
            break
    assert name is not None
    client.hear(final(name), 1.0)
    client.hear(final(name), 2.0)
    assert tally.repeated_finals == 1
    assert len(tally.finals) == 1
