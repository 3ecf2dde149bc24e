"""Beside any attack at the doors a speaker loses nothing, and no answer is an error of ours."""

import asyncio

import pytest

from service.bench.load.attacks import Attack
from service.bench.load.door_attacks import DOOR_ATTACKS, hostile_files
from service.bench.served import Served
from tests.service.bench.load.beside import speak_beside
from tokenspeed.documents.formats import open_document
from tokenspeed.errors import DocumentError

MAX_MEMORY_MB = 400  # that an attack may add: texts of files, answers that nobody reads
FILES = hostile_files()


@pytest.mark.parametrize("name", DOOR_ATTACKS)
async def test_a_speaker_beside_an_attack_loses_nothing(server: Served, name: str) -> None:
    await check_beside(server, DOOR_ATTACKS[name])


async def check_beside(server: Served, attack: Attack) -> None:
    """Let somebody speak beside an attack, and check that only the attacker is held up."""
    before_mb = server.memory_mb()
    report, outcome = await speak_beside(server, attack)
    assert not [status for status in outcome.statuses if status >= 500 and status != 503], outcome
    assert (report.lost, report.closed, report.errors) == (0, None, [])
    assert len(report.finals) == 1
    found = await server.metrics()
    while found["tokenspeed_engine_running"] + found["tokenspeed_engine_waiting"]:
        await asyncio.sleep(0.05)
        found = await server.metrics()
    assert found["tokenspeed_engine_failures_total"] == 0
    assert server.memory_mb() - before_mb < MAX_MEMORY_MB


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_or_read_as_what_it_says(name: str) -> None:
    try:
        document = open_document(name, FILES[name], "de")
    except DocumentError:
        return
    texts = document.texts
    assert not [text for text in texts if "haha" in text], "an entity of its own was resolved"
    assert document.translated(texts)
