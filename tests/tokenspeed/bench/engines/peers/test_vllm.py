"""What vLLM is asked for, with a double in its place: forms of weights, GPUs, token counts."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import MakeModel
from tokenspeed.bench.engines import peers
from tokenspeed.bench.engines.compare_gpu import write_shape
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.model.quantized import write_quantized


class Llm:
    """Keeps its settings and what it is asked for; generates as many tokens as are wanted."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        # Prompts, new tokens, whether they may not read the prefix cache.
        self.asked: list[tuple[list[list[int]], int, bool]] = []

    def generate(self, asked: list[dict[str, Any]], wanted: Any, use_tqdm: bool) -> list[Any]:
        prompts = [each["prompt_token_ids"] for each in asked]
        self.asked.append((prompts, wanted.max_tokens, wanted.skip_reading_prefix_cache))
        one = SimpleNamespace(outputs=[SimpleNamespace(token_ids=[7] * wanted.max_tokens)])
        return [one for _ in asked]


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    double = SimpleNamespace(__version__="0", LLM=Llm, SamplingParams=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "vllm", double)
    path = Path(peers.__file__).with_name("vllm.py")
    spec = importlib.util.spec_from_file_location("peer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "NCCL_NVLS_ENABLE"):
        monkeypatch.setenv(name, "0")  # what it sets itself does not outlive the test
    for name in ("FLASHINFER_SAMPLER", "DEEP_GEMM"):
        monkeypatch.setenv(f"VLLM_USE_{name}", "0")
    monkeypatch.setenv("VLLM_ALLREDUCE_USE_SYMM_MEM", "0")
    spec.loader.exec_module(module)
    return module


def test_random_weights_are_quantised_where_that_is_asked_for(
    peer: ModuleType, tmp_path: Path
) -> None:
    source = write_shape(SHAPES["llama-3-70b"], tmp_path)
    assert peer.prepare(source, tmp_path, "bfloat16") == source
    for dtype, bits in (("int8", 8), ("int4", 4)):
        folder = peer.prepare(source, tmp_path, dtype)
        config = json.loads((folder / "config.json").read_text())
        method = config.pop("quantization_config")
        assert config == json.loads((source / "config.json").read_text())
        assert (method["quant_method"], method["bits"]) == ("gptq", bits)
        (named,) = method["modules_in_block_to_quantize"]
        assert len(named) == 7
        assert peer.Peer(folder, dtype, 2, 16).llm.settings["dtype"] == "float16"


def test_settings_are_those_of_the_comparison(
    peer: ModuleType, make_model: MakeModel, tmp_path: Path
) -> None:
    model = make_model()
    with pytest.raises(ValueError, match="int4 of random weights only"):
        peer.prepare(model, model, "int4")
    stored = tmp_path / "stored"
    write_quantized(make_model(hidden_size=128), stored, 4)
    assert peer.prepare(stored, model, "int4") == stored
    it = peer.Peer(model, "bfloat16", 2, 1)
    wanted = {"load_format": "auto", "tensor_parallel_size": 2, "max_num_seqs": 2}
    assert wanted.items() <= it.llm.settings.items()
    it.generate([[1, 2], [3, 4]], 5)
    assert it.memory_mib() == 0
    assert peer.version() == "0"


def test_only_caption_updates_read_what_is_cached(peer: ModuleType, tmp_path: Path) -> None:
    it = peer.Peer(write_shape(SHAPES["llama-3-8b"], tmp_path), "bfloat16", 1, 2)
    assert it.llm.settings["enable_prefix_caching"]
    it.generate([[1, 2], [3, 4]], 5)
    times = it.update([1, 2, 3, 4], [5, 6, 7, 8], [9, 9], grown=1, new_tokens=6)
    assert set(times) == {"update_ms", "update_told_which_hold_ms"}
    assert it.llm.asked == [
        ([[1, 2], [3, 4]], 5, True),
        ([[1, 2, 3]], 4, False),
        ([[1, 2, 3, 4]], 6, False),
        ([[5, 6, 7]], 4, False),
        ([[5, 6, 7, 8, 9, 9]], 4, False),
    ]


def test_logprobs_are_put_in_the_order_of_tokens(
    peer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What vLLM returns of a position: the prompt's next token, then all, the likeliest first."""
    it = peer.Peer(write_shape(SHAPES["llama-3-8b"], tmp_path), "bfloat16", 1, 2)
    given = np.log(np.random.default_rng(0).dirichlet(np.ones(5), (2, 3))).astype(np.float32)
    prompts = [[1, 2, 3, 4], [4, 3, 2, 1]]

    def generate(asked: list[dict[str, Any]], wanted: Any, use_tqdm: bool) -> list[Any]:
        assert (wanted.prompt_logprobs, wanted.flat_logprobs, wanted.max_tokens) == (-1, True, 1)
        found = []
        for each, values in zip(asked, given, strict=True):
            ids = [
                [following, *np.argsort(-row).tolist()]
                for following, row in zip(each["prompt_token_ids"][1:], values, strict=True)
            ]
            flat = [float(values[i, token]) for i, row in enumerate(ids) for token in row]
            one = SimpleNamespace(token_ids=[t for row in ids for t in row], logprobs=flat)
            found.append(SimpleNamespace(prompt_logprobs=one))
        return found

    monkeypatch.setattr(it.llm, "generate", generate)
    it.logprobs(prompts, str(tmp_path / "found.npy"))
    assert np.array_equal(np.load(tmp_path / "found.npy"), given.reshape(6, 5))
