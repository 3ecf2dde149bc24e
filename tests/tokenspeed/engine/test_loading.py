"""From a model directory to a running engine, on whichever backend is asked for."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MakeModel
from tests.tokenspeed.families import change_config
from tests.tokenspeed.model.test_layouts import of_gptq
from tests.tokenspeed.vocabularies import write_vocabulary
from tokenspeed.commands.doctor import examine
from tokenspeed.engine import loading
from tokenspeed.engine.loading import BACKENDS, choose_backend, load_engine, measured_bandwidth
from tokenspeed.engine.request import Completion, Request
from tokenspeed.errors import BackendUnavailable, CheckpointError
from tokenspeed.kernels import timing


@pytest.mark.parametrize("device", ["reference", "cpu", "torch-int8"])
def test_every_backend_for_processors_loads_and_runs(tiny_translator: Path, device: str) -> None:
    model = load_engine(tiny_translator, device=device)
    try:
        assert model.engine.backend.name == device
        assert model.name == tiny_translator.name
        prompt = model.prompts.build("Good morning.", "en", "de", is_open=False)
        (done,) = model.engine.run([Request(prompt, max_new_tokens=3)])
        assert 1 <= len(done.tokens) <= 3
    finally:
        model.close()


def test_an_unknown_device_is_told_with_those_that_there_are(tiny_translator: Path) -> None:
    with pytest.raises(ValueError, match="device is 'tpu', expected auto or reference, cpu"):
        load_engine(tiny_translator, device="tpu")


def test_gpus_that_are_not_there_are_told(tiny_translator: Path) -> None:
    count = torch.cuda.device_count()
    wanted = f"GPU {count} was asked for" if count else "no CUDA GPU was found|was asked for"
    with pytest.raises(BackendUnavailable, match=wanted):
        load_engine(tiny_translator, device=f"cuda:{count},{count + 1}")
    with pytest.raises(ValueError, match="expected GPUs as in cuda:0,1"):
        load_engine(tiny_translator, device="cuda:first,second")


def test_the_bandwidth_of_a_group_is_measured_on_its_own_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    current = [0]

    @contextmanager
    def device(index: int) -> Iterator[None]:
        before, current[0] = current[0], index
        yield
        current[0] = before

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (current[0] << 30, 0))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(timing, "read_bandwidth", lambda gib, repeats: float(current[0]))

    def bandwidth(*devices: int) -> float:
        ranks = [SimpleNamespace(device=index) for index in devices]
        one: Any = SimpleNamespace(name="cuda", device=devices[0])
        group: Any = SimpleNamespace(name="cuda", ranks=ranks)
        return measured_bandwidth(one if len(devices) == 1 else group)

    assert bandwidth(5) == 5
    assert bandwidth(2, 3) == 4
    assert bandwidth(1, 3) == 0  # too little memory is free there
    assert current == [0]


def test_a_directory_without_a_vocabulary_is_told(make_model: MakeModel) -> None:
    with pytest.raises(CheckpointError, match=r"neither tokenizer.model nor tokenizer.json"):
        load_engine(make_model(), device="reference")


def test_what_is_unpacked_is_told(
    tiny_translator: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Path(shutil.copytree(tiny_translator, tmp_path / "model"))
    tensors = load_file(model / "model.safetensors")
    module = "model.layers.0.self_attn.q_proj"
    weight = tensors.pop(f"{module}.weight")
    parts, _ = of_gptq(weight, weight.shape[1], symmetric=False, act_order=False)
    tensors |= {f"{module}.{name}": part for name, part in parts.items()}
    save_file(tensors, model / "model.safetensors")
    change_config(model, quantization_config={"quant_method": "gptq", "bits": 4})
    load_engine(model).close()
    assert "matrices of GPTQ are unpacked (1)" in caplog.text
    findings = {finding.name: finding for finding in examine(model)}
    assert "and run in int8" in findings["weights"].detail


def test_auto_takes_the_native_library_where_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(loading, "native_available", lambda: (True, ""))
    assert choose_backend() == "cpu"
    monkeypatch.setattr(loading, "native_available", lambda: (False, "no compiler"))
    assert choose_backend() == "torch-int8"
    assert choose_backend() in BACKENDS


OWN = """
title = "Own"
[prompt]
message = "{{target}}: {{text}}"
[output]
stop = [{stop}]
[languages]
codes = ["de", "en"]
"""


def test_the_end_marks_of_a_profile_end_an_output(tmp_path: Path, make_model: MakeModel) -> None:
    write_vocabulary("bytes", tmp_path)
    size = json.loads((tmp_path / "config.json").read_text())["vocab_size"]
    directory = make_model(vocab_size=size)
    (directory / "tokenizer.json").write_bytes((tmp_path / "tokenizer.json").read_bytes())
    pieces = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    profile = tmp_path / "own.toml"

    def said(stop: str) -> Completion:
        profile.write_text(OWN.format(stop=stop), encoding="utf-8")
        model = load_engine(directory, device="reference", profile=profile)
        try:
            prompt = model.prompts.build("The train", "en", "de", is_open=False)
            (found,) = model.engine.run([Request(prompt, max_new_tokens=8)])
        finally:
            model.close()
        return found

    whole = said("")
    mark = whole.tokens[-1]
    ended = said(json.dumps(pieces.id_to_token(mark), ensure_ascii=False))
    assert ended.finish_reason == "stop"
    assert ended.tokens == whole.tokens[: whole.tokens.index(mark)]
