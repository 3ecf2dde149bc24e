"""A load test of a real server, its numbers, and what it refuses."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.bench.load.loadtest import EDGES_MS, Level, check_address, describe, histogram, script
from service.bench.served import serving
from tokenspeed.cli import main


def test_speakers_load_a_real_server(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "levels.json"

    async def load(arguments: Sequence[str]) -> int:
        async with serving(brief_translator, "cpu") as server:
            command = ["loadtest", "--url", f"ws://{server.address}", *arguments]
            return await asyncio.to_thread(main, command)

    arguments = ["--sessions", "1,2", "--seconds", "1", "--words-per-minute", "900"]
    page = tmp_path / "page.md"
    page.write_text("<!-- levels.json --><!-- end levels.json -->", encoding="utf-8")
    arguments += ["--cost", "1,0.1", "--json", str(path), "--page", str(page)]
    assert asyncio.run(load(arguments)) == 0
    assert "2 sessions, ms from an update to its translation:" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert {"machine", "versions", "date", "command", "rows", "budget_ms", "cost"} <= set(found)
    levels = found["rows"]
    assert "| sessions | updates |" in page.read_text(encoding="utf-8")
    # The simulated speakers say the same at the same times; at this cost nobody waits long.
    assert all(0 < level["predicted_update_ms_p95"] < 200 for level in levels)
    assert [level["sessions"] for level in levels] == [1, 2]
    assert all(level["updates"] > 0 and level["final_lag_ms_p95"] > 0 for level in levels)
    assert all(level["failed_sessions"] == 0 for level in levels)


def test_a_service_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["loadtest", "--url", "ws://127.0.0.1:9", "--sessions", "1", "--seconds", "0.2"]) == 2
    )
    assert "no session of 1 went well" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["ws://192.0.2.7:8000", "ws://example.org", "http://127.0.0.1"])
def test_other_machines_are_refused_unless_allowed(url: str) -> None:
    with pytest.raises(ValueError, match="not this machine|expected ws"):
        check_address(url, allow_remote=False)
    if url.startswith("ws"):
        check_address(url, allow_remote=True)
    check_address("ws://localhost:8000", allow_remote=False)
    check_address("ws://[::1]:8000", allow_remote=False)


@pytest.mark.parametrize("sessions", ["", "0", "many", "1,,2"])
def test_bad_numbers_of_sessions_are_refused(
    sessions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["loadtest", "--sessions", sessions])
    assert "expected numbers such as 1,4,8" in capsys.readouterr().err
    assert main(["loadtest", "--seconds", "0"]) == 2
    assert "seconds are 0.0" in capsys.readouterr().err


def test_a_script_fits_its_time_with_whole_sentences() -> None:
    for seed in range(5):
        lines, updates = script(20, 180, seed)
        assert updates[-1].is_commit
        assert updates[-1].at_ms <= 20_000
        assert len({line.source for line in lines}) == len(lines)
    assert len(script(0.1, 180, 0)[0]) == 1


def test_a_histogram_counts_everything_once() -> None:
    values = [0.0, 10.0, 10.1, 200.0, 5000.0]
    lines = histogram(values)
    assert len(lines) == len(EDGES_MS) + 1
    assert sum(int(line.replace("<=", "").replace(">", "").split()[1]) for line in lines) == 5
    level = Level(3, [100.0, 300.0], [150.0], coalesced=1)
    assert level.numbers(200.0)["within_budget"] == pytest.approx(2 / 3, abs=1e-3)
    assert "| sessions | updates |" in describe([level, Level(4)], 200.0)


def test_capacity_is_predicted_from_a_cost(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "capacity.json"
    arguments = ["--seconds", "3", "--max-sessions", "8", "--json", str(path)]
    assert main(["eval", "capacity", "--cost", "4,0.4,0.001", *arguments]) == 0
    assert "speakers at p95 <= 200 ms" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["sessions"] >= found["sessions_without_verification"]
    model = ["--model", str(brief_translator), "--device", "cpu"]
    assert main(["eval", "capacity", *model, *arguments]) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["cost"]["base_ms"] >= 0
    assert main(["eval", "capacity", "--cost", "cheap"]) == 2
    assert "expected BASE,ROW" in capsys.readouterr().err
