"""Commands that measure live translations: their defaults, and what they refuse with its name."""

from pathlib import Path

import pytest

from service.bench.captions import cli
from service.bench.captions.policies import POLICIES
from tests.service.bench.parsed import parsed
from tokenspeed.cli import main


def test_all_policies_are_compared_over_a_socket_by_default(tmp_path: Path) -> None:
    options = parsed(cli.add_streaming, "--corpus", str(tmp_path))
    assert options.policies.split(",") == list(POLICIES)
    assert (options.clock, options.sets) == ("socket", cli.DEFAULT_SETS)
    assert parsed(cli.add_retention, "--corpus", "x").sets == cli.RETENTION_SETS


@pytest.mark.parametrize("command", ["streaming", "retention"])
def test_a_corpus_is_needed_and_has_to_be_there(
    command: str, tmp_path: Path, brief_translator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["eval", command])
    assert "--corpus" in capsys.readouterr().err
    absent = ["--corpus", str(tmp_path), "--sets", "talks.en-de", "--model", str(brief_translator)]
    assert main(["eval", command, *absent, "--device", "reference"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tokenspeed: ")
    assert "talks.en-de" in said
    assert said.count("\n") == 1


def test_a_page_without_a_result_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    assert main(["eval", "streaming", "--corpus", "x", "--page", str(page)]) == 2
    assert "--json" in capsys.readouterr().err
    assert not page.exists()


@pytest.mark.parametrize("value", ["socket,cpu", "wall"])
def test_a_clock_is_one_of_three(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parsed(cli.add_streaming, "--corpus", "x", "--clock", value)
    assert "'socket', 'simulated', 'cpu'" in capsys.readouterr().err
