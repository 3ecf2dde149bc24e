"""Reports say what the files say, and refuse other files."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tokenspeed.bench.report import result_table, write_report

RESULT = {
    "machine": {"gpu": "NVIDIA X", "read_tb_per_s": 4.5},
    "versions": {"torch": "2.11"},
    "date": "2026-01-02",
    "command": "tokenspeed bench engine",
    "rows": [
        {
            "engine": "tokenspeed",
            "shape": "a <b>",
            "dtype": "int8",
            "streams": 1,
            "first_token_ms_p50": 8.126,
            "inter_token_ms_p50": 3.04215,
            "bandwidth_share": 0.526,
        },
        {"engine": "tokenspeed", "shape": "a <b>", "dtype": "int8", "update_ms_p50": 26.0},
    ],
}


def test_a_table_has_only_columns_that_were_measured() -> None:
    lines = result_table(RESULT).splitlines()
    assert lines[0] == "NVIDIA X, reads 4.5 TB/s measured; 2026-01-02; torch 2.11"
    titles = "engine | model | weights | streams | first token ms | token p50 ms"
    assert lines[4] == f"| {titles} | share of bandwidth |"
    assert lines[6:] == ["| tokenspeed | a <b> | int8 | 1 | 8.13 | 3.042 | 53% |"]


def test_files_become_tables_and_a_plot(tmp_path: Path) -> None:
    newer = RESULT | {"date": "2026-03-04"}
    for name, result in (("b", newer), ("a", RESULT)):
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    tables = write_report(sorted(tmp_path.glob("*.json")), tmp_path / "out")
    text = tables.read_text(encoding="utf-8")
    assert text.index("2026-01-02") < text.index("2026-03-04")
    plot = ET.parse(tmp_path / "out" / "tokens.svg").getroot()
    labels = [node.text for node in plot.iter("{http://www.w3.org/2000/svg}text")]
    assert labels[1:] == ["a <b> int8", "3.04"]


@pytest.mark.parametrize(("text", "problem"), [("{", "not JSON"), ("[]", "object with rows")])
def test_another_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=problem):
        write_report([path], tmp_path)


def test_a_report_needs_a_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no result files"):
        write_report([], tmp_path)
