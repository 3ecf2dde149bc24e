"""Replays over a real socket, to a real server."""

import asyncio
from pathlib import Path

import pytest

from service.bench.captions import simulated_replay, socket_replay
from service.bench.captions.policies import POLICIES
from service.bench.captions.rows import Task, make_row
from service.bench.captions.scores import SegmentLog
from service.bench.captions.transcript import EngineUsage, Transcript, segment_logs
from tests.service.bench.captions.replays import WORDS, finals, run


@pytest.fixture(scope="module")
def over_socket(brief_translator: Path) -> tuple[list[Transcript], EngineUsage]:
    async def replay() -> tuple[list[Transcript], EngineUsage]:
        async with socket_replay.running_server("mask-2", brief_translator, "cpu") as server:
            return await socket_replay.replay(server, WORDS, POLICIES["mask-2"], "en", "de")

    return asyncio.run(replay())


def test_socket_and_process_agree(
    stage: simulated_replay.Stage,
    over_socket: tuple[list[Transcript], EngineUsage],
    plain: list[SegmentLog],
) -> None:
    transcripts, usage = over_socket
    logs = [log for transcript in transcripts for log in segment_logs(transcript)]
    assert finals(logs) == finals(run(stage, "mask-2")[1])
    offline = [log.prediction for log in plain]
    task = Task("own.en-de", "words", "socket", 2)
    row, _ = make_row(task, "mask-2", transcripts, usage, offline)
    assert row["chrf_offline"] == pytest.approx(100)
    assert row["updates"] == sum(len(updates) for _, updates in WORDS)
    assert row["update_ms_p95"] > 0
    assert row["final_lag_ms_p95"] > 0
    assert usage.requests > 0
