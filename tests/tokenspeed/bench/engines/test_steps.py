"""`tokenspeed bench engine` on a tiny model: the shape of what it reports, not the times."""

import json
from pathlib import Path

import pytest

from tokenspeed.cli import main


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_result_says_what_was_measured_where(
    tiny_translator: Path, tmp_path: Path, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    arguments = ["bench", "engine", "--model", str(tiny_translator), "--device", device]
    assert main([*arguments, "--streams", "1,3", "--rounds", "2", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert {"machine", "versions", "date", "command", "rows"} <= result.keys()
    assert result["machine"]["read_gb_per_s_512_mib_size"] > 0
    assert [row["streams"] for row in result["rows"]] == [1, 3]
    for row in result["rows"]:
        assert row["backend"] == device
        assert 0 < row["inter_token_ms_min"] <= row["inter_token_ms_p50"]
        assert row["first_token_ms_p50"] > 0
        assert row["verify_24_ms_p50"] > 0
        assert row["bandwidth_share"] is not None
    assert json.loads(capsys.readouterr().out) == result


def test_threads_belong_to_the_cpu_backend(
    tiny_translator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "engine", "--model", str(tiny_translator), "--device", "reference"]
    assert main([*arguments, "--threads", "1"]) == 2
    assert "belong to the CPU backend" in capsys.readouterr().err
