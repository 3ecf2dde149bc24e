"""`tokenspeed quantize` as a user types it."""

import re
from pathlib import Path

import pytest

from tests.conftest import MakeModel
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.cli import main
from tokenspeed.engine.loading import BACKENDS
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


def test_the_command_writes_and_says_what_it_cost(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_model(hidden_size=128, intermediate_size=128, head_dim=32)
    for bits, low, high in ((8, 0.3, 1.0), (4, 8.0, 14.0)):
        out = tmp_path / str(bits)
        assert main(["quantize", "--bits", str(bits), str(source), str(out), "--loss"]) == 0
        said = capsys.readouterr().out
        worst = re.search(r"worst ([\d.]+)%", said)
        assert worst is not None
        assert low < float(worst[1]) < high
        assert "perplexity not measured" in said  # this model has no tokenizer
        assert open_checkpoint(out).is_int4 == (bits == 4)
    assert main(["quantize", "--bits", "8", str(tmp_path / "8"), str(tmp_path / "x")]) == 2
    assert "quantised already" in capsys.readouterr().err


def test_what_it_writes_runs_on_a_cpu_as_it_is_stored(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_model(hidden_size=64, intermediate_size=192, head_dim=16)
    for bits in (8, 4):
        assert main(["quantize", "--bits", str(bits), str(source), str(tmp_path / "out")]) == 0
        said = capsys.readouterr().out
        assert re.fullmatch(r"[\d.]+ MiB -> [\d.]+ MiB\n", said)  # what it costs was not asked
        backend = BACKENDS["cpu"](open_checkpoint(tmp_path / "out"), EngineConfig(num_slots=1))
        assert isinstance(backend, CpuBackend)
        assert backend.bits == bits
        backend.close()
