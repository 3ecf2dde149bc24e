"""`tokenspeed bench fleet`: what it writes, what it refuses, and the committed page."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.bench.fleet.report import add_prices, fleet_tables, read_host
from service.bench.load.costs import RESULTS
from tests.service.process import ROOT
from tokenspeed.cli import main

PAGE = ROOT / "benchmarks" / "fleet.md"

MEASURED: dict[str, Any] = {
    "seconds": 2.0,
    "words_per_minute": 300.0,
    "cost": {"base_ms": 5.0, "row_ms": 0.1, "context_ms": 0.0},
    "rows": [
        {"sessions": 2, "update_ms_p50": 9.0, "update_ms_p95": 19.0, "final_lag_ms_p95": 12.0}
    ],
}


def write(path: Path, value: object) -> str:
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def test_a_load_test_is_simulated_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, made = write(tmp_path / "measured.json", MEASURED), tmp_path / "beside.json"
    page = tmp_path / "page.md"
    page.write_text("<!-- beside.json --><!-- end beside.json -->", encoding="utf-8")
    command = ["bench", "fleet", "--beside", measured, "--replicas", "2", "--slower", "2"]
    command += ["--host", str(RESULTS / "host.json"), "--json", str(made), "--page", str(page)]
    assert main(command) == 0
    result = json.loads(made.read_text(encoding="utf-8"))
    assert result["cost"]["base_ms"] == 10.0
    assert result["rows"][0]["replicas"] == 2
    assert "| sessions | replicas |" in page.read_text(encoding="utf-8")
    assert "simulated update ms p95" in capsys.readouterr().out


def test_what_cannot_be_used_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = ["--host", str(RESULTS / "host.json")]
    assert main(["bench", "fleet", "--cards", "abacus", *host]) == 2
    assert "abacus" in capsys.readouterr().err
    costless = write(tmp_path / "costless.json", MEASURED | {"cost": None})
    assert main(["bench", "fleet", "--beside", costless, *host]) == 2
    assert "--cost" in capsys.readouterr().err
    empty = write(tmp_path / "empty.json", {"rows": []})
    assert main(["bench", "fleet", "--host", empty]) == 2
    assert "bench host" in capsys.readouterr().err


def test_the_dearest_update_is_taken() -> None:
    rows = json.loads((RESULTS / "host.json").read_text(encoding="utf-8"))["rows"]
    host = read_host(RESULTS / "host.json")
    assert host.loop_ms == pytest.approx(max(row.get("ms_of_update", 0) for row in rows), abs=1e-3)
    assert host.step_ms > 0


def test_a_price_is_that_of_the_card_hours() -> None:
    row: dict[str, Any] = {
        "card_s_per_1000_updates": 3.6,
        "card_hours_per_1000_speaker_hours": 20.0,
        "card_hours": 1000,
    }
    add_prices(row, 2.5)
    assert row["price_per_million_updates"] == pytest.approx(2.5)
    assert row["price_per_speaker_hour"] == pytest.approx(0.05)
    assert row["price_of_the_day"] == pytest.approx(2500)


@pytest.mark.parametrize("name", ["fleet", "fleet-beside", "fleet-beside-ray"])
def test_the_committed_page_says_what_the_results_say(name: str) -> None:
    text, path = PAGE.read_text(encoding="utf-8"), RESULTS / f"{name}.json"
    _, _, rest = text.partition(f"<!-- {name}.json -->")
    said, end, _ = rest.partition(f"<!-- end {name}.json -->")
    assert end
    tables = fleet_tables(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else ""
    assert said.strip() == tables.strip()


def test_what_is_still_to_come_is_said_as_long_as_it_is() -> None:
    is_there = (RESULTS / "fleet.json").is_file()
    deploy = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert ("is not committed yet" in PAGE.read_text(encoding="utf-8")) == (not is_there)
    assert ("still to come" in deploy) == (not is_there)
    pictures = [(PAGE.parent / name).is_file() for name in ("fleet-day.svg", "fleet-zone.svg")]
    assert pictures == [is_there] * 2
