"""The command that simulates a fleet: what it asks for by default, and what it refuses."""

from pathlib import Path

import pytest

from service.bench.fleet.cli import add_fleet
from tests.service.bench.parsed import parsed
from tokenspeed.cli import main


def test_all_cards_are_simulated_once_by_default() -> None:
    options = parsed(add_fleet)
    assert (options.cards, options.seeds, options.seed) == (None, 1, 0)
    assert parsed(add_fleet, "--cards", "llama-3-8b int4,default-38m").cards == [
        "llama-3-8b int4",
        "default-38m",
    ]


def test_a_host_that_was_not_measured_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "host.json"
    assert main(["bench", "fleet", "--host", str(absent)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tokenspeed: ")
    assert str(absent) in said
    assert said.count("\n") == 1
