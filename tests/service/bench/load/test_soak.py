"""Speakers who come and go: what a minute says, and what grew."""

import asyncio
import random

import pytest

from service.bench.load import soak
from service.bench.load.soak import Soak, growth, soak_table
from service.bench.served import Served


async def test_sessions_come_go_and_come_back(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "PACE_S", 0.01)
    found = Soak(server)
    speaking = [asyncio.create_task(found.speak_on(random.Random(seed))) for seed in range(3)]
    while not (found.minute.resumes and found.minute.vanished and found.minute.finals):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    row = await found.look(1)
    for task in speaking:
        task.cancel()
    await asyncio.gather(*speaking, return_exceptions=True)
    assert row["minute"] == 1
    assert row["sessions_begun"] >= 3
    assert row["finals_lost"] == 0
    assert row["tasks"] > 0
    assert "From minute 2 to the end: +0.0 MB, +0 descriptors, +0 tasks." in soak_table([row])


def test_what_grows_after_the_second_minute_is_told() -> None:
    rows = [{"memory_mb": mb, "files": 10, "tasks": 5} for mb in (300.0, 400.0, 402.5)]
    assert growth(rows) == {"memory_mb_growth": 2.5, "files_growth": 0, "tasks_growth": 0}
