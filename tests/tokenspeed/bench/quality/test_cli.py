"""`tokenspeed eval quality`: its translators and what it writes."""

import json
from pathlib import Path

import pytest

from tokenspeed.bench.quality.cli import make_translator
from tokenspeed.bench.quality.sets import (
    Ask,
)
from tokenspeed.cli import main


def test_the_command_writes_what_it_prints(
    folder: Path, tiny_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "quality.json"
    arguments = ["eval", "quality", "--model", str(tiny_translator), "--corpus", str(folder)]
    arguments += ["--device", "cpu", "--processes", "1", "--prefix-lines", "1"]
    assert main([*arguments, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert {"command", "date", "machine", "scores", "prefixes", "addresses"} <= result.keys()
    assert len(result["scores"]) == 6  # two directions, three variants
    assert "| trains | en-de |" in capsys.readouterr().out


def test_context_goes_through_every_translator(folder: Path, tiny_translator: Path) -> None:
    ask = Ask("It is late.", "en", "de", context=(("The train leaves.", "Der Zug fährt."),))
    alone = Ask("It is late.", "en", "de")
    for device in ("cpu", "reference"):
        found = make_translator(tiny_translator, device)([ask, alone])
        assert found[1] == make_translator(tiny_translator, device)([alone])[0]
        assert "Der Zug" not in found[0], "only what is new is the translation"


def test_a_beam_goes_through_plain_torch(
    folder: Path, tiny_translator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", "quality", "--model", str(tiny_translator), "--corpus", str(folder)]
    arguments += ["--device", "cpu", "--processes", "1", "--prefix-lines", "0", "--limit", "1"]
    assert main([*arguments, "--beam", "2"]) == 0
    assert "| trains | de-en | 1 |" in capsys.readouterr().out


def test_the_reference_translates_as_the_engine_does(folder: Path, tiny_translator: Path) -> None:
    asks = [Ask("The train leaves at noon.", "en", "de"), Ask("Der Zug hält.", "de", "en")]
    found = make_translator(tiny_translator, "reference")(asks)
    assert found == make_translator(tiny_translator, "reference", batch_size=1)(asks)
    assert len(found) == len(asks)
    assert all(found)
