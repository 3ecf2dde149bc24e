"""The table of commands: each can be reached, and nothing but the chosen one is imported."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenspeed.arguments import DEVICES
from tokenspeed.cli import COMMANDS, Table, main
from tokenspeed.engine.loading import BACKENDS


def names(table: Table = COMMANDS) -> Iterator[list[str]]:
    """Every command with the groups that it is in."""
    for name, (_, place) in table.items():
        if isinstance(place, str):
            yield [name]
        else:
            yield from ([name, *rest] for rest in names(place))


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str]:
    """The exit code of argparse, and what was printed."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    captured = capsys.readouterr()
    return caught.value.code, captured.out + captured.err


@pytest.mark.parametrize("command", list(names()), ids=" ".join)
def test_every_command_has_its_arguments(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = said([*command, "--help"], capsys)
    assert code == 0
    assert out.startswith(f"usage: tokenspeed {' '.join(command)} ")


def test_a_client_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("tokenspeed_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tokenspeed_client", None)
    assert main(["captions", "--to", "de"]) == 2
    assert "pip install tokenspeed-client" in capsys.readouterr().err


@pytest.mark.parametrize("group", [[], ["bench"], ["eval"]])
def test_a_group_says_its_commands(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out = said([*group, "--help"], capsys)
    assert code == 0
    for command in names():
        if command[: len(group)] == group:
            assert f"\n    {command[len(group)]}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["bench"], "the following arguments are required: COMMAND"),
        (["bench", "nothing"], "invalid choice: 'nothing'"),
        (["--", "bench", "report"], "tokenspeed: error: "),
        (["eval", "capacity", "--speed"], "unrecognized arguments: --speed"),
    ],
)
def test_a_wrong_call_is_told(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = said(arguments, capsys)
    assert code == 2
    assert message in out


@pytest.mark.parametrize(
    "command",
    [
        "bench report nowhere.json",
        "bench compare --peers nothing",
        "eval quality --corpus nowhere --device reference",
        "eval streaming --corpus nowhere",
        "eval retention --corpus nowhere",
        "eval capacity --cost cheap",
        "loadtest --url http://127.0.0.1",
        "train nowhere.toml --corpus nowhere --out nowhere",
        "quantize --bits 8 nowhere out",
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("tokenspeed: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_devices_are_the_backends() -> None:
    assert DEVICES == ("auto", *BACKENDS)


def imported(code: str) -> list[str]:
    """The modules that a fresh Python has after running this code."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    asked = [sys.executable, "-c", script]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()[-1].split()


def weighs(module: str) -> bool:
    """Whether a module is of training or of what measures."""
    return module.startswith("tokenspeed.training") or "bench" in module.split(".")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["bench", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    found = imported(f"from tokenspeed.cli import main; main({arguments})")
    assert "tokenspeed.cli" in found
    assert not {"torch", "numpy", "service"} & set(found)
    assert not [module for module in found if weighs(module)]


def test_serving_imports_neither_training_nor_what_measures() -> None:
    found = imported("import service.cli, service.doors.server, service.translator")
    assert "service.doors.connection" in found
    assert not [module for module in found if weighs(module)]
