"""`tokenspeed translate` as a user types it, on a small random model."""

import io
import json
from pathlib import Path

import pytest

from tokenspeed.cli import main


def test_translate_prints_one_line_a_text(
    tiny_translator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", "--model", str(tiny_translator), "--to", "de", "Good morning"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_translate_reads_standard_input_by_lines(
    tiny_translator: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_in = io.TextIOWrapper(io.BytesIO(b"The train.\r\n\n\xff\xfe bad\nThe city.\n"))
    monkeypatch.setattr("sys.stdin", lines_in)
    code = main(["translate", "--model", str(tiny_translator), "--to", "fr", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    # What is no UTF-8 is shown as such, and ends nothing.
    sources = ["The train.", "", "\ufffd\ufffd bad", "The city."]
    assert [line["source"] for line in lines] == sources
    assert [line["to"] for line in lines] == ["fr"] * 4
    assert lines[1]["text"] == ""
    assert lines[0]["tokens"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere", "--to", "de"], "nowhere: not found"),
        (["--to", "xx"], "translation from auto to xx is not supported"),
        (["--to", "de", "--from", "ja"], "translation from ja to de is not supported"),
        (["--to", "de", "--formality", "formal"], "form of address in de"),
        (["--to", "de", "--glossary", "none.csv"], "none.csv"),
    ],
)
def test_a_wrong_call_gives_one_clear_line(
    tiny_translator: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    model = [] if "--model" in arguments else ["--model", str(tiny_translator)]
    assert main(["translate", *arguments, *model, "Hello"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
