"""`tokenspeed import` as a user types it."""

from pathlib import Path

import gguf
import pytest

from tests.tokenspeed.families import make_family
from tests.tokenspeed.model.test_gguf_import import write_gguf
from tokenspeed.cli import main
from tokenspeed.model.tokenizer import Tokenizer


def test_a_file_becomes_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_family("llama", tmp_path / "source")
    file, out = tmp_path / "model.gguf", tmp_path / "out"
    write_gguf(file, tmp_path / "source", gguf.GGMLQuantizationType.Q8_0, {})
    assert main(["import", str(file), str(out)]) == 0
    assert "use it as --model" in capsys.readouterr().out
    tokenizer = Tokenizer.load(out)
    assert tokenizer.eos_ids == (2,)
    assert tokenizer.piece_id("<110>") == 110
    assert main(["import", str(tmp_path / "source"), str(out)]) == 2
    assert "is not a readable GGUF file" in capsys.readouterr().err
