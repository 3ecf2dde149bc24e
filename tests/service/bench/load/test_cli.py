"""Commands that measure load: what they ask for by default, and what they refuse."""

from pathlib import Path

import pytest

from service.bench.load import cli
from tests.service.bench.parsed import parsed
from tokenspeed.cli import main


def test_numbers_are_taken_in_a_row() -> None:
    assert parsed(cli.add_loadtest).sessions == [1, 4, 8, 16]
    assert parsed(cli.add_room, "--readers", "5,50").readers == [5, 50]
    assert parsed(cli.add_capacity).cost is None


def test_languages_and_strikes_are_taken_apart() -> None:
    options = parsed(cli.add_replicas, "--to", "de,fr", "--strikes", "kill,pause,")
    assert (options.targets, options.strikes) == (["de", "fr"], ["kill", "pause"])


def test_a_page_without_a_result_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    assert main(["loadtest", "--page", str(page)]) == 2
    assert "--json" in capsys.readouterr().err
    assert not page.exists()
