"""Replays of the service by every policy: in process, and over a real socket to a real server."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from service.bench.captions.streaming import find_set
from tests.service.bench.lines import LINES
from tokenspeed.cli import main


def test_the_command_writes_rows_plot_and_logs(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(f"{line.source}\t{line.reference}" for line in LINES)
    (tmp_path / "own.en-de.tsv").write_text(text, encoding="utf-8")
    command = [
        "eval", "streaming", "--corpus", str(tmp_path), "--sets", "own.de-en",
        "--traces", "recogniser", "--limit", "2",
        "--clock", "simulated", "--model", str(brief_translator), "--device", "cpu",
        "--json", str(tmp_path / "rows.json"), "--plot", str(tmp_path / "plot.svg"),
        "--logs", str(tmp_path / "logs"), "--page", str(tmp_path / "page.md"),
    ]  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- rows.json -->\nold\n<!-- end rows.json -->\nEnd\n")
    assert main([*command, "--policies", "finals,append_only"]) == 0
    assert "finals only" in capsys.readouterr().out
    written = page.read_text(encoding="utf-8")
    assert written.startswith("# Title\n<!-- rows.json -->\n\n### own.de-en")
    assert written.endswith("<!-- end rows.json -->\nEnd\n")
    assert "old" not in written
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["policy"] for row in found["rows"]] == ["offline", "finals", "append_only"]
    wanted = {
        "policy", "set", "bleu", "chrf", "laal_words", "laal_ms", "erasure", "update_ms_p95",
        "final_lag_ms_p95", "within_200", "steps_per_update", "steps_unverified", "al_words",
        "al_ms",
    }  # fmt: skip
    assert {"machine", "versions", "date", "command", "model", "settings"} <= set(found)
    assert all(wanted <= set(row) for row in found["rows"])
    assert found["rows"][2]["erasure"] == 0
    ElementTree.parse(tmp_path / "plot.svg")
    logs = tmp_path / "logs" / "own.de-en.recogniser.finals" / "ms" / "instances.log"
    assert len(logs.read_text(encoding="utf-8").splitlines()) == 2
    command += ["--keep", "--policies"]
    assert main([*command, "append_only,low"]) == 0
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["policy"] for row in found["rows"][1:]] == ["finals", "low", "append_only"]
    (earlier,) = found["earlier"]
    assert earlier["settings"]["policies"] == "finals,append_only"
    assert found["settings"]["policies"] == "append_only,low"
    page.write_text("nothing here", encoding="utf-8")
    assert main([*command, "append_only,low"]) == 2
    assert "has no <!-- rows.json -->" in capsys.readouterr().err
    assert main([*command, "magic"]) == 2
    assert "'magic' is not known" in capsys.readouterr().err


def test_a_set_is_found_in_both_directions(tmp_path: Path) -> None:
    (tmp_path / "talk.en-de.tsv").touch()
    assert find_set(tmp_path, "talk.de-en") == (tmp_path / "talk.en-de.tsv", "de", "en")
    for name in ("talk", "talk.en-fr"):
        with pytest.raises(ValueError, match="talk"):
            find_set(tmp_path, name)
