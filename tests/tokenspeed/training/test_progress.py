"""What a run tells about itself: rows that survive a restart, FLOPs, and a curve."""

import json
from pathlib import Path

import torch

from tokenspeed.bench.engines.shapes import SHAPES, step_weights
from tokenspeed.training.cli import CONFIGS
from tokenspeed.training.config import load_recipe
from tokenspeed.training.progress import Log, body_flops, head_flops, loss_curve

WEIGHTS = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}


def make_log(directory: Path) -> Log:
    return Log(directory, load_recipe(CONFIGS / "tiny.toml"), WEIGHTS, torch.device("cpu"))


def test_a_resumed_run_keeps_the_rows_up_to_its_checkpoint(tmp_path: Path) -> None:
    first = make_log(tmp_path)
    for step in (5, 10, 15):
        first.train(step, 4.0 - step / 10, float(step))
        first.valid(step, 3.0, float(step))
    second = make_log(tmp_path)
    second.resume(10)
    assert [row["step"] for row in second.rows] == [5, 5, 10, 10]
    second.train(15, 1.0, 20.0)
    second.finish(15, 20.0)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == second.rows
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["steps"], summary["num_parameters"]) == (15, 17)
    assert summary["final_valid"] == 3.0
    assert summary["median_mfu"] is None  # nobody says what a processor could do
    assert (tmp_path / "loss.svg").read_text().count("<polyline") == 2


def test_flops_are_six_for_each_weight() -> None:
    for config in SHAPES.values():
        assert body_flops(config) + head_flops(config) == 6 * step_weights(config)


def test_a_curve_may_be_empty_or_level() -> None:
    assert "<polyline" not in loss_curve({})
    level = loss_curve({"loss": [(0, 2.0), (10, 2.0)]})
    assert level.count("<polyline") == 1
    assert "nan" not in level
