"""`tokenspeed bench`: what its commands refuse, and reports from files."""

import json
import shutil
from argparse import ArgumentParser
from pathlib import Path

import pytest

from tokenspeed.bench.cli import add_engine, gpus_of
from tokenspeed.bench.pages.readme import ROOT
from tokenspeed.cli import main

RESULTS = ROOT / "benchmarks" / "results"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said in one line where a command stops with code 2."""
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tokenspeed: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_engines_that_cannot_be_compared_are_named(
    tiny_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["compare", "--model", str(tiny_translator)]
    said = refusal(capsys, *model, "--peers", "llama.cpp,nobody", "--device", "cpu")
    assert "peers are nobody, expected some of" in said
    assert "llama.cpp" in said
    said = refusal(capsys, *model, "--device", "reference")
    assert "compare measures cpu and cuda, not reference" in said
    said = refusal(capsys, *model, "--shape", "llama-9", "--dtype", "bf16")
    assert "shape is 'llama-9'" in said
    page = tmp_path / "page.md"
    assert "--json" in refusal(capsys, *model, "--device", "cpu", "--page", str(page))


def test_gpus_are_those_that_are_named_or_counted(capsys: pytest.CaptureFixture[str]) -> None:
    def gpus(*arguments: str) -> list[int]:
        parser = ArgumentParser()
        add_engine(parser)
        return gpus_of(parser.parse_args(arguments))

    assert gpus() == gpus("--device", "cuda") == [0]
    assert gpus("--tensor-parallel", "2") == [0, 1]
    assert gpus("--device", "cuda:2,3") == gpus("--device", "cuda:2,3", "--tensor-parallel", "2")
    assert gpus("--device", "cuda:2,3") == [2, 3]
    said = refusal(capsys, "engine", "--device", "cuda:0,1", "--tensor-parallel", "4")
    assert "--device names 2 GPUs, --tensor-parallel is 4" in said
    for command in ("engine", "compare"):
        said = refusal(capsys, command, "--device", "cpu", "--tensor-parallel", "2")
        assert "--tensor-parallel is for GPUs, this measures cpu" in said
    said = refusal(capsys, "compare", "--device", "cuda:2,3", "--shape", "llama-3-8b")
    assert "CUDA_VISIBLE_DEVICES=2,3 and --tensor-parallel 2" in said
    for wrong in ("0", "two"):
        with pytest.raises(SystemExit, match="2"):
            main(["bench", "engine", "--tensor-parallel", wrong])
        assert "expected a whole number, at least 1" in capsys.readouterr().err


def test_a_shape_has_to_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "kernels", "--shape", "llama-9")
    assert "shape is 'llama-9', known: llama-3-8b" in said
    said = refusal(capsys, "kernels", "--shape", "llama-3-8b", "--tensor-parallel", "3")
    assert "num_heads is 32, which 3 GPUs cannot share evenly" in said


def test_streams_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "engine", "--streams", "few"])
    assert "expected numbers such as 1,4,8" in capsys.readouterr().err


def test_the_committed_results_make_the_committed_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("h200.json", "h200-compare.json"):
        shutil.copy(RESULTS / name, tmp_path)
    files = [str(tmp_path / name) for name in ("h200.json", "h200-compare.json")]
    assert main(["bench", "report", *files, "--into", str(tmp_path / "out")]) == 0
    made = tmp_path / "out" / "tables.md"
    assert capsys.readouterr().out.strip() == str(made)
    assert made.read_text() == (ROOT / "benchmarks" / "tables.md").read_text()
    assert json.loads((tmp_path / "h200.json").read_text())["rows"]
    assert "no-such" in refusal(capsys, "report", str(tmp_path / "no-such.json"))
