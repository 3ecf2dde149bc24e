"""From transcripts to tables and plots."""

from xml.etree import ElementTree

from service.bench.captions import simulated_replay
from service.bench.captions.rows import Task, make_row, policy_plot, policy_tables
from tests.service.bench.captions.replays import run
from tokenspeed.bench.result import Row


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
