"""SimulEval drives our agent in its own loop, and writes what the service commits."""

import json
import subprocess
import sys
from pathlib import Path

import service.bench.captions
from service.bench.captions import simulated_replay
from service.bench.captions.documents import word_by_word
from service.bench.captions.policies import POLICIES
from service.bench.captions.transcript import segment_logs
from tests.service.bench.lines import LINES

AGENT = Path(service.bench.captions.__file__).parent / "agent.py"


def test_simuleval_runs_the_agent(brief_translator: Path, tmp_path: Path) -> None:
    lines = LINES[:2]
    for name in ("source", "reference"):
        text = "\n".join(getattr(line, name) for line in lines)
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    command = [
        sys.executable, "-c", "from simuleval.cli import main; main()",
        "--agent", AGENT, "--source", tmp_path / "source", "--target", tmp_path / "reference",
        "--source-type", "text", "--target-type", "text", "--output", tmp_path / "out",
        "--latency-metrics", "AL", "LAAL", "--quality-metrics", "BLEU", "--no-progress-bar",
        "--model", brief_translator, "--engine-device", "cpu", "--policy", "wait-3",
    ]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "out" / "instances.log").read_text(encoding="utf-8")
    instances = [json.loads(line) for line in log.splitlines()]

    stage = simulated_replay.open_stage(brief_translator, "cpu")
    # SimulEval says with the last word that it is the last.
    updates = [
        update
        for update in word_by_word(lines, words_per_minute=12, pause_ms=5000)
        if update.is_commit or update.words < len(lines[update.line].source.split())
    ]
    transcripts, _ = simulated_replay.replay(
        stage, [(lines, updates)], POLICIES["wait-3"], "en", "de"
    )
    stage.close()
    for found, ours in zip(instances, segment_logs(transcripts[0]), strict=True):
        assert found["prediction"] == " ".join(ours.prediction.split())
        assert found["source_length"] == ours.source_words
        delays = found["delays"]
        assert delays == sorted(delays)
        assert len(delays) == ours.prediction_words
        assert delays[0] >= 3
