"""Replays of the service by every policy: in process, and over a real socket to a real server."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from service.bench.captions import simulated_replay, socket_replay
from service.bench.captions.documents import as_recogniser, deal, word_by_word
from service.bench.captions.policies import POLICIES
from service.bench.captions.rows import Task, make_row, policy_plot, policy_tables
from service.bench.captions.scores import SegmentLog, normalised_erasure
from service.bench.captions.streaming import find_set
from service.bench.captions.transcript import EngineUsage, Transcript, segment_logs, update_times
from service.captions.words import word_ends
from tests.service.bench.lines import LINES
from tokenspeed.bench.result import Row
from tokenspeed.cli import main

HANDS = deal(LINES[:4], 2)
WORDS = [(hand, word_by_word(hand, words_per_minute=900, pause_ms=100)) for hand in HANDS]
REWRITTEN = [(hand, as_recogniser(hand, words_per_minute=900, seed=2)) for hand in HANDS]


@pytest.fixture(scope="module")
def stage(tiny_translator: Path) -> Iterator[simulated_replay.Stage]:
    found = simulated_replay.open_stage(tiny_translator, "reference")
    yield found
    found.close()


def run(
    stage: simulated_replay.Stage, name: str, spoken: simulated_replay.Spoken = WORDS
) -> tuple[list[Transcript], list[SegmentLog], EngineUsage]:
    transcripts, usage = simulated_replay.replay(stage, spoken, POLICIES[name], "en", "de")
    return transcripts, [log for t in transcripts for log in segment_logs(t)], usage


def finals(logs: list[SegmentLog]) -> list[str]:
    return [log.prediction for log in logs]


@pytest.fixture(scope="module")
def plain(stage: simulated_replay.Stage) -> list[SegmentLog]:
    return run(stage, "retranslation")[1]


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_ends_every_line(stage: simulated_replay.Stage, name: str) -> None:
    transcripts, logs, usage = run(stage, name)
    assert [log.source for log in logs] == [line.source for line in LINES[:4]]
    policy = POLICIES[name]
    for transcript in transcripts:
        times = update_times(
            transcript, policy.preset.min_source_words, has_partials=policy.has_partials
        )
        assert len(times.finals) == len(transcript.lines)
        updates = len(transcript.sent) - len(transcript.lines)
        assert len(times.partials) + times.skipped == updates
    assert usage.requests >= len(LINES[:4])
    is_append_only = not policy.preset.shows_unstable or not policy.has_partials
    assert not is_append_only or normalised_erasure(logs) == 0


@pytest.mark.parametrize("name", ["finals", "mask-2", "mask-4", "ssbd"])
def test_what_settles_nothing_early_ends_like_plain_retranslation(
    stage: simulated_replay.Stage, plain: list[SegmentLog], name: str
) -> None:
    assert finals(run(stage, name)[1]) == finals(plain)


def test_verification_without_a_bias_changes_no_answer(stage: simulated_replay.Stage) -> None:
    # Slow speech, so that no revision is overtaken and every display is comparable.
    slow = [(LINES[3:4], word_by_word(LINES[3:4], words_per_minute=12, pause_ms=5000))]
    _, plain, plain_usage = run(stage, "retranslation", slow)
    preset = replace(POLICIES["retranslation"].preset, verifies=True)
    policy = replace(POLICIES["retranslation"], preset=preset)
    transcripts, usage = simulated_replay.replay(stage, slow, policy, "en", "de")
    found = [log for t in transcripts for log in segment_logs(t)]
    assert [answers(log) for log in found] == [answers(log) for log in plain]
    assert usage.superseded == plain_usage.superseded == 0
    assert usage.draft_tokens > plain_usage.draft_tokens == 0


def answers(log: SegmentLog) -> list[str]:
    """What stood there after each revision; what was shown on the way depends on the pace."""
    last = [a.text for a, b in pairwise(log.displays) if a.source_words != b.source_words]
    return [*last, log.prediction]


def test_wait_k_waits(stage: simulated_replay.Stage) -> None:
    for k in (1, 5):
        for log in run(stage, f"wait-{k}")[1]:
            for display in log.displays[:-1]:
                assert len(word_ends(display.text)) <= max(display.source_words - k + 1, 0)


def test_a_recogniser_s_mistakes_do_not_reach_the_finals(
    stage: simulated_replay.Stage, plain: list[SegmentLog]
) -> None:
    assert finals(run(stage, "retranslation", REWRITTEN)[1]) == finals(plain)
    assert len(run(stage, "balanced", REWRITTEN)[1]) == len(plain)


@pytest.fixture(scope="module")
def over_socket(tiny_translator: Path) -> tuple[list[Transcript], EngineUsage]:
    async def replay() -> tuple[list[Transcript], EngineUsage]:
        async with socket_replay.running_server("mask-2", tiny_translator, "reference") as address:
            return await socket_replay.replay(address, WORDS, POLICIES["mask-2"], "en", "de")

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


def test_a_server_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    async def start() -> None:
        async with socket_replay.running_server("balanced", tmp_path, "reference"):
            pass

    with pytest.raises(socket_replay.ReplayFailed, match="ended before it was ready"):
        asyncio.run(start())


def test_a_table_and_a_plot_of_rows(stage: simulated_replay.Stage) -> None:
    rows: list[Row] = []
    for name in ("finals", "balanced"):
        transcripts, logs, usage = run(stage, name)
        offline = [log.prediction for log in logs]
        task = Task("own.en-de", "words", "simulated", 2)
        rows.append(make_row(task, name, transcripts, usage, offline)[0])
    table = policy_tables(rows)
    assert "### own.en-de, word by word" in table
    assert "| **ours, balanced** |" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    assert "ours, balanced" in "".join(ElementTree.fromstring(policy_plot(rows)).itertext())


def test_the_command_writes_rows_plot_and_logs(
    tiny_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(f"{line.source}\t{line.reference}" for line in LINES)
    (tmp_path / "own.en-de.tsv").write_text(text, encoding="utf-8")
    command = [
        "eval", "streaming", "--corpus", str(tmp_path), "--sets", "own.de-en",
        "--traces", "recogniser", "--limit", "2",
        "--clock", "simulated", "--model", str(tiny_translator), "--device", "reference",
        "--json", str(tmp_path / "rows.json"), "--plot", str(tmp_path / "plot.svg"),
        "--logs", str(tmp_path / "logs"), "--page", str(tmp_path / "page.md"),
    ]  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- rows.json -->\nold\n<!-- end rows.json -->\nEnd\n")
    assert main([*command, "--policies", "finals,append_only"]) == 0
    assert "finals only" in capsys.readouterr().out
    written = page.read_text(encoding="utf-8")
    assert written.startswith("# Title\n<!-- rows.json -->\n\n### own.de-en")
    assert written.endswith("<!-- end rows.json -->\nEnd\n")
    assert "old" not in written
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["policy"] for row in found["rows"]] == ["offline", "finals", "append_only"]
    wanted = {
        "policy", "set", "bleu", "chrf", "laal_words", "laal_ms", "erasure", "update_ms_p95",
        "final_lag_ms_p95", "within_200", "steps_per_update", "steps_unverified", "al_words",
        "al_ms",
    }  # fmt: skip
    assert {"machine", "versions", "date", "command", "model", "settings"} <= set(found)
    assert all(wanted <= set(row) for row in found["rows"])
    assert found["rows"][2]["erasure"] == 0
    ElementTree.parse(tmp_path / "plot.svg")
    logs = tmp_path / "logs" / "own.de-en.recogniser.finals" / "ms" / "instances.log"
    assert len(logs.read_text(encoding="utf-8").splitlines()) == 2
    command += ["--keep", "--policies"]
    assert main([*command, "append_only,low"]) == 0
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["policy"] for row in found["rows"][1:]] == ["finals", "low", "append_only"]
    (earlier,) = found["earlier"]
    assert earlier["settings"]["policies"] == "finals,append_only"
    assert found["settings"]["policies"] == "append_only,low"
    page.write_text("nothing here", encoding="utf-8")
    assert main([*command, "append_only,low"]) == 2
    assert "has no <!-- rows.json -->" in capsys.readouterr().err
    assert main([*command, "magic"]) == 2
    assert "'magic' is not known" in capsys.readouterr().err


def test_a_set_is_found_in_both_directions(tmp_path: Path) -> None:
    (tmp_path / "talk.en-de.tsv").touch()
    assert find_set(tmp_path, "talk.de-en") == (tmp_path / "talk.en-de.tsv", "de", "en")
    for name in ("talk", "talk.en-fr"):
        with pytest.raises(ValueError, match="talk"):
            find_set(tmp_path, name)
