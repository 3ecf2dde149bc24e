"""Beside any attack a speaker loses nothing, nobody is closed, and queues are bounded.

The goals in milliseconds are `tokenspeed bench abuse`'s: here only what holds on any machine.
"""

import asyncio

import pytest

from service.bench.load.attacks import ATTACKS, attacker
from service.bench.served import Served
from service.driver import MAX_RUNNING
from service.load.limits import Limits
from service.translator import MAX_AHEAD
from tests.service.bench.load.beside import speak_beside

# Requests that may wait in the engine: of the attacker's session or posts, and the speaker's.
BOUND = MAX_RUNNING + Limits().requests_of_client * MAX_AHEAD


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_speaker_beside_an_attack_loses_nothing(server: Served, name: str) -> None:
    report, outcome = await speak_beside(server, ATTACKS[name], targets=("de", "fr"))
    assert outcome.closed is None, outcome
    assert (report.lost, report.closed, report.errors) == (0, None, [])
    assert len(report.finals) == 2
    found = await server.metrics()
    assert found["tokenspeed_engine_waiting"] <= BOUND
    # The attacker has gone: so is its work, within moments.
    while found["tokenspeed_engine_running"] + found["tokenspeed_engine_waiting"]:
        await asyncio.sleep(0.05)
        found = await server.metrics()
    assert found["tokenspeed_engine_failures_total"] == 0


async def test_what_is_committed_in_a_flood_is_translated_all_the_same(server: Served) -> None:
    async with attacker(server.address, "de", "fr", "es") as a:
        for number in range(60):
            await a.send(type="source.commit", segment_id=f"c{number}", text=f"Good day {number}.")
        await a.finals(180)
        assert a.outcome.closed is None
        assert a.outcome.finals == 180
