"""The measuring commands: what they ask for by default, and what they refuse with its name."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from service.bench import cli
from service.bench.captions.policies import POLICIES
from tokenspeed.cli import main


def parsed(add: Callable[[argparse.ArgumentParser], None], *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add(parser)
    return parser.parse_args(arguments)


def test_all_policies_are_compared_over_a_socket_by_default(tmp_path: Path) -> None:
    options = parsed(cli.add_streaming, "--corpus", str(tmp_path))
    assert options.policies.split(",") == list(POLICIES)
    assert (options.clock, options.sets) == ("socket", cli.DEFAULT_SETS)
    assert parsed(cli.add_retention, "--corpus", "x").sets == cli.RETENTION_SETS
    assert parsed(cli.add_loadtest).sessions == [1, 4, 8, 16]
    assert parsed(cli.add_capacity).cost is None


@pytest.mark.parametrize("command", ["streaming", "retention"])
def test_a_corpus_is_needed_and_has_to_be_there(
    command: str, tmp_path: Path, tiny_translator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["eval", command])
    assert "--corpus" in capsys.readouterr().err
    absent = ["--corpus", str(tmp_path), "--sets", "talks.en-de", "--model", str(tiny_translator)]
    assert main(["eval", command, *absent, "--device", "reference"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tokenspeed: ")
    assert "talks.en-de" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", [["eval", "streaming", "--corpus", "x"], ["loadtest"]])
def test_a_page_without_a_result_file_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    assert main([*command, "--page", str(page)]) == 2
    assert "--json" in capsys.readouterr().err
    assert not page.exists()


@pytest.mark.parametrize("value", ["socket,cpu", "wall"])
def test_a_clock_is_one_of_three(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parsed(cli.add_streaming, "--corpus", "x", "--clock", value)
    assert "'socket', 'simulated', 'cpu'" in capsys.readouterr().err
