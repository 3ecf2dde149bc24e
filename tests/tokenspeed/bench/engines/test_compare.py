"""`tokenspeed bench compare` on a tiny model: engines in turns, absent ones named, ratios."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tokenspeed.bench.engines.compare import ratios, write_float
from tokenspeed.bench.result import Row
from tokenspeed.cli import main
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.quantized import write_int8


def test_absent_peers_are_named_and_the_others_measured(
    tiny_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # This Python has transformers; where llama.cpp is asked for, it has no libraries.
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$2" in */llama.py) bare="-S -I" ;; esac\n'
        f'exec {sys.executable} $bare "$@"\n'
    )
    python.chmod(0o755)
    out = tmp_path / "result.json"
    arguments = ["bench", "compare", "--device", "cpu", "--model", str(tiny_translator)]
    arguments += ["--peers", "transformers,llama.cpp", "--peer-python", str(python)]
    page = tmp_path / "page.md"
    page.write_text("Ours:\n<!-- result.json -->\nold\n<!-- end result.json -->\nThe end.\n")
    arguments += ["--streams", "1", "--rounds", "2", "--json", str(out), "--page", str(page)]
    assert main(arguments) == 0
    result = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == result
    assert sorted(result["absent"]) == [
        f"llama.cpp {d}, 1 streams" for d in ("f16", "q4_0", "q8_0")
    ]
    assert all("ModuleNotFoundError" in reason for reason in result["absent"].values())
    assert "token_int8_to_llama_q8" not in result["ratios"]
    assert "transformers" in result["versions"]
    engines = [(row["engine"], row["dtype"]) for row in result["rows"]]
    assert engines == [("tokenspeed", "int8"), ("tokenspeed", "int4"), ("transformers", "float32")]
    for row in result["rows"]:
        for name in ("first_token", "inter_token", "verify_24"):
            assert 0 < row[f"{name}_ms_p10"] <= row[f"{name}_ms_p50"] <= row[f"{name}_ms_p90"]
        assert row["rounds"] == 2
    assert result["floor_ms"]["int4"]["512 MiB"] < result["floor_ms"]["int8"]["512 MiB"]
    shown = page.read_text()
    assert shown.startswith("Ours:")
    assert shown.endswith("The end.\n")
    assert "old" not in shown
    assert f"| **tokenspeed** int8 | {result['rows'][0]['first_token_ms_p50']:.2f} <sub>" in shown
    assert "| first token, int8, to the best peer | 0.65 |" in shown
    assert result["ratios"].keys() >= {"first_token_int8_to_best", "verify_24_int8_to_best"}


def test_float_copy_holds_the_values_of_the_stored_weights(
    tiny_model: Path, tmp_path: Path
) -> None:
    write_int8(tiny_model, tmp_path / "int8")
    stored = open_checkpoint(tmp_path / "int8")
    source = write_float(stored, tmp_path / "float")
    written = load_file(source / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    assert torch.equal(written[name], stored.weight(name))
    assert "quantization_config" not in json.loads((source / "config.json").read_text())
    assert open_checkpoint(source).config == stored.config


def test_ratios_are_against_the_fastest_peer() -> None:
    def row(engine: str, dtype: str, first: float, token: float) -> Row:
        times = {"first_token_ms_p50": first, "inter_token_ms_p50": token}
        shape = {"engine": engine, "dtype": dtype, "streams": 1}
        return {**shape, **times, "verify_24_ms_p50": first, "memory_mib": 10.0}

    rows = [
        row("tokenspeed", "int8", 6.0, 1.0),
        row("llama.cpp", "q8_0", 20.0, 2.5),
        row("ctranslate2", "int8", 12.0, 9.0),
    ]
    found = ratios(rows)
    assert found["token_int8_to_llama_q8"] == 0.4
    assert found["first_token_int8_to_best"] == 0.5
    assert "token_int4_to_best_int4" not in found
