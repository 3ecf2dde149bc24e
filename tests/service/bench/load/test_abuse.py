"""Rows of `bench abuse`: what they say, and what they come to."""

import argparse
from pathlib import Path

import pytest

from service.bench.load.abuse import abuse_table, attack, run_abuse, summary
from service.bench.served import Served


async def test_an_attack_is_a_row(server: Served) -> None:
    row = (await attack(server, "paste", 1.0)).numbers()
    assert row["attack"] == "paste"
    assert (row["victim_lost"], row["attacker_closed"], row["sent"]) == (0, None, 3)
    assert row["victim_finals"] >= 1
    assert row["longest_stall_ms"] > 0
    assert row["memory_mb"] > 50
    alone = (await attack(server, "nothing", 0.1)).numbers()
    assert alone["sent"] == 0
    table = abuse_table([alone, row])
    assert table.count("\n") == 5
    assert f"{row['victim_final_ms_p95']:.0f} ms at the worst, 0 lost" in table


def test_the_speaker_alone_is_no_attack() -> None:
    rows = [
        {"attack": name, "longest_stall_ms": stall, "victim_final_ms_p95": p95, "victim_lost": 1}
        for name, stall, p95 in (("nothing", 90.0, 900.0), ("a", 10.0, 50.0), ("b", 30.0, None))
    ]
    assert summary(rows) == {
        "longest_stall_ms": 30.0,
        "median_longest_stall_ms": 20.0,
        "worst_victim_final_ms_p95": 50.0,
        "victim_lost": 2,
    }


def test_an_attack_that_is_not_known_is_refused() -> None:
    options = argparse.Namespace(attacks="paste,nonsense", model=Path(), device="auto", seconds=1.0)
    with pytest.raises(ValueError, match="'nonsense' is none of paste, "):
        run_abuse(options)
