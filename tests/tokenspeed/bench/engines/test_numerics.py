"""Errors beside float32: the same weights for all, the measures, and a peer that knows nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.engines import numerics
from tokenspeed.bench.engines.numerics import (
    compare,
    logprobs,
    main,
    make_prompts,
    make_tensors,
    own_logprobs,
    round_head,
    torch_logprobs,
    write_model,
)
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantize import dequantize, quantize_int4, quantize_int8
from tokenspeed.model.weights import HEAD, weight_shapes

TINY = replace(
    SHAPES["llama-3-8b"],
    vocab_size=256,
    hidden_size=128,
    intermediate_size=256,
    num_layers=1,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
)
# What vLLM returns of a model that finds all tokens equally likely.
VLLM = """
from types import SimpleNamespace

__version__ = "0.1"
SamplingParams = SimpleNamespace

class LLM:
    def __init__(self, **settings):
        if settings["quantization"] == "fp8":
            raise MemoryError("fp8")

    def generate(self, asked, wanted, use_tqdm):
        rows = len(asked[0]["prompt_token_ids"]) - 1
        flat = SimpleNamespace(token_ids=[0, *range(256)] * rows, logprobs=[-5.545177] * 257 * rows)
        return [SimpleNamespace(prompt_logprobs=flat) for _ in asked]
"""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "SMALL", TINY)
    monkeypatch.setattr(numerics, "PROMPTS", 2)
    monkeypatch.setattr(numerics, "TOKENS", 9)


@pytest.mark.parametrize("form", ["bf16", "int8", "int4"])
def test_all_engines_get_the_same_weights(form: str, tmp_path: Path) -> None:
    ours, theirs = map(open_checkpoint, write_model(TINY, make_tensors(TINY), form, tmp_path / "m"))
    for name in weight_shapes(TINY):
        assert torch.equal(ours.weight(name), theirs.weight(name))
    assert theirs.forms[HEAD].bits == 16
    bits = int(form[3:]) if form != "bf16" else 16
    layers = "model.layers.0.mlp.down_proj.weight"
    assert ours.forms[HEAD].bits == ours.forms[layers].bits == theirs.forms[layers].bits == bits
    if bits < 16:
        assert "lm_head" in theirs.raw_config["quantization_config"]["ignore"]
        assert theirs.tensor(f"{layers}_scale").dtype == torch.float16


@pytest.mark.parametrize("bits", [8, 4])
def test_a_rounded_head_loses_nothing_in_integers_and_floats(bits: int) -> None:
    head = make_tensors(TINY)[HEAD]
    rounded = round_head(head, bits)
    quantised = quantize_int8(rounded) if bits == 8 else quantize_int4(rounded)
    assert torch.equal(dequantize(*quantised), rounded.float())
    assert torch.equal(rounded.half().float(), rounded.float())
    assert (rounded - head).float().norm() < head.float().norm() * (0.1 if bits == 8 else 0.2)


def test_logits_spread_as_those_of_a_trained_model(tmp_path: Path) -> None:
    folder, _ = write_model(TINY, make_tensors(TINY), "bf16", tmp_path / "m")
    found = torch_logprobs(folder, make_prompts(TINY.vocab_size), torch.float32)
    assert found.shape == (2 * 8, 256)
    assert np.allclose(np.exp(found).sum(-1), 1, atol=1e-5)
    assert 2 < found.std(-1).mean() < 3


def test_a_row_after_the_other_is_what_a_wide_step_is(tmp_path: Path) -> None:
    folder, _ = write_model(TINY, make_tensors(TINY), "bf16", tmp_path / "m")
    prompts = make_prompts(TINY.vocab_size)
    config = EngineConfig(num_slots=2, max_length=16)
    backend = ReferenceBackend(open_checkpoint(folder), config)
    assert np.array_equal(logprobs(backend, prompts, 1), logprobs(backend, prompts, 8))
    assert np.array_equal(logprobs(backend, prompts, 3), logprobs(backend, prompts, 8))


def test_our_graph_is_near_float32_in_int8(tmp_path: Path) -> None:
    folder, _ = write_model(TINY, make_tensors(TINY), "int8", tmp_path / "m")
    prompts = make_prompts(TINY.vocab_size)
    exact, plain = (
        torch_logprobs(folder, prompts, dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    row, found = own_logprobs(folder, prompts, "int8")[0]
    assert row == {"engine": "tokenspeed", "path": "graph", "activations": "float16"}
    assert compare(found, exact)["rms_error"] < compare(plain, exact)["rms_error"]


def test_measures_are_those_of_the_definition() -> None:
    exact = np.log(np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]], np.float32))
    found = np.log(np.array([[0.3, 0.5, 0.2], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]], np.float32))
    measured = compare(found, exact)
    error = np.log(0.5 / 0.3)
    assert measured["largest_error"] == pytest.approx(error, rel=1e-3)
    assert measured["rms_error"] == pytest.approx((2 * error**2 / 9) ** 0.5, rel=1e-3)
    assert measured["kl"] == pytest.approx((0.5 - 0.3) * error / 3, rel=1e-3)
    # The second has two tokens that are equally likely; of the others one is the same.
    assert (measured["same_best"], measured["clear"], measured["positions"]) == (1, 2, 3)
    assert compare(exact, exact)["same_best"] == 2


def test_a_result_has_all_engines_and_names_those_that_are_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vllm.py").write_text(VLLM, encoding="utf-8")
    out = tmp_path / "result.json"
    main(["bf16", "fp8", "--peer-path", str(tmp_path), "--json", str(out)])
    result = json.loads(out.read_text())
    assert result["absent"] == {"vllm fp8": "MemoryError: fp8"}
    assert result["versions"]["vllm"] == "0.1"
    assert str(tmp_path) not in out.read_text()
    assert [(row["engine"], row["form"]) for row in result["rows"]] == [
        ("torch", "bf16"),
        ("tokenspeed", "bf16"),
        ("vllm", "bf16"),
        ("tokenspeed", "fp8"),
    ]
    plain, ours, theirs, rounded = result["rows"]
    assert ours["positions"] == 16
    assert ours["largest_error"] < 0.5
    assert plain["largest_error"] < 0.5
    assert rounded["rms_error"] > ours["rms_error"]  # weights in three bits less
    assert theirs["rms_error"] > 1
    assert "vllm fp8 is absent: MemoryError: fp8" in capsys.readouterr().out
