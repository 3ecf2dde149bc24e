"""Figures in the text on deployment are those of the committed results."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
    return found


def text_of(page: str) -> str:
    return " ".join((ROOT / page).read_text().split())


def level(served_by: str, replicas: int, sessions: int) -> dict[str, Any]:
    wanted = (served_by, replicas, sessions)
    rows = result("ray")["rows"]
    (found,) = [r for r in rows if (r["served_by"], r["replicas"], r["sessions"]) == wanted]
    return found


def test_what_one_process_holds() -> None:
    text = text_of("deploy/README.md")
    held, (overload, *_) = result("ray")["capacity"]["process"], result("overload")["rows"]
    many = next(row for row in result("room")["rows"] if row["readers"] == 1000)
    for said in (
        f"one process answers {held} speakers with {level('process', 1, held)['update_ms_p95']:.0f}"
        " ms at p95 ([`ray.json`]",
        f"it admits {overload['admitted']} before updates would be late ([`overload.json`]",
        f"1,000 readers of a room get each frame within {many['frame_ms_p95']:.0f} ms at p95"
        " ([`room.json`]",
    ):
        assert said in text, said


def test_what_replicas_cost_and_hold() -> None:
    text = text_of("deploy/ray/README.md")

    def pair(*of: Any) -> str:
        return f"{level(*of)['update_ms_p50']:.0f} and {level(*of)['update_ms_p95']:.0f}"

    one, ray, three = (("process", 1), ("ray", 1), ("ray", 3))
    added = [
        level(*ray, sessions)["update_ms_p50"] - level(*one, sessions)["update_ms_p50"]
        for sessions in (8, 24)
    ]
    capacity = result("ray")["capacity"]
    (lost,) = result("replicas")["rows"]
    assert lost["lines_lost"] == lost["resumed"]
    assert not any(lost[name] for name in ("forgotten", "finals_lost", "finals_twice", "gaps"))
    assert not any(lost[name] for name in ("reader_finals_lost", "reader_finals_twice"))
    for said in (
        f"one process {pair(*one, 8)} with 8 speakers, {pair(*one, 24)} with 24",
        f"one replica {pair(*ray, 8)}, {pair(*ray, 24)}",
        f"three replicas on the same cores {pair(*three, 8)}, {pair(*three, 24)}",
        f"Serve adds {min(added):.0f} to {max(added):.0f} ms at the median",
        f"Within 200 ms at p95 one process holds {capacity['process']} speakers, one replica"
        f" {capacity['ray 1']}, two and three {capacity['ray 2']}",
        f"all {lost['lines_lost']} lost lines found their session again, after"
        f" {lost['recovery_ms_p95'] / 1e3:.1f} s at p95",
    ):
        assert said in text, said
    assert capacity["ray 2"] == capacity["ray 3"]
