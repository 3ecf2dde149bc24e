"""The MTP layer: its file, whole or refused, and what its outputs depend on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tokenspeed.errors import CheckpointError
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.llama import Attend, reach
from tokenspeed.model.mtp import (
    GUESSED,
    MTP_FILE,
    Mtp,
    mtp_config,
    mtp_name,
    mtp_shapes,
    read_mtp,
    write_mtp,
)
from tokenspeed.model.weights import layer_weight

MODEL = ModelConfig(96, 32, 64, 3, 4, 2, 8)


def layer_of(model: ModelConfig = MODEL, seed: int = 0) -> Mtp:
    torch.manual_seed(seed)
    return Mtp(model).eval()


def causal(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = torch.ones(len(q), len(q), dtype=torch.bool).tril()
    key, value = (x.transpose(0, 1).repeat_interleave(2, 0) for x in (k, v))
    return reach(q.transpose(0, 1), key, value, mask, 0.0).transpose(0, 1)


def cached() -> Attend:
    """Return attention of one token at a time, to all that came before."""
    keys: list[Tensor] = []
    values: list[Tensor] = []

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys.append(k)
        values.append(v)
        key, value = (torch.cat(x).transpose(0, 1).repeat_interleave(2, 0) for x in (keys, values))
        mask = torch.ones(1, len(keys), dtype=torch.bool)
        return reach(q.transpose(0, 1), key, value, mask, 0.0).transpose(0, 1)

    return attend


def inputs(count: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    states, embedded = (torch.randn(count, 32, generator=generator) for _ in range(2))
    return states, embedded, torch.arange(count)


def test_a_layer_is_read_as_it_was_written(tmp_path: Path) -> None:
    layer = layer_of()
    write_mtp(tmp_path / MTP_FILE, layer, torch.float32)
    tensors = read_mtp(tmp_path, MODEL)
    assert tensors is not None
    assert {name: tuple(t.shape) for name, t in tensors.items()} == mtp_shapes(MODEL)
    assert all(torch.equal(tensors[name], t) for name, t in layer.state_dict().items())
    assert mtp_name(layer_weight(0, "mlp.up_proj")) in tensors


def test_it_is_written_in_bfloat16(tmp_path: Path) -> None:
    write_mtp(tmp_path / MTP_FILE, layer_of())
    tensors = read_mtp(tmp_path, MODEL)
    assert tensors is not None
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}


def test_a_model_without_the_file_has_no_layer(tmp_path: Path) -> None:
    assert read_mtp(tmp_path, MODEL) is None


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be written"):
        write_mtp(tmp_path / "missing" / MTP_FILE, layer_of())


def test_a_layer_may_name_the_tokens_that_it_guesses(tmp_path: Path) -> None:
    write_mtp(tmp_path / MTP_FILE, layer_of(), guessed=[0, 7, 95])
    tensors = read_mtp(tmp_path, MODEL)
    assert tensors is not None
    assert tensors.pop(GUESSED).tolist() == [0, 7, 95]
    assert tensors.keys() == mtp_shapes(MODEL).keys()


@pytest.mark.parametrize("guessed", [[], [3, 3], [5, 4], [-1, 4], [4, 96]])
def test_a_list_of_tokens_that_cannot_be_one_is_refused(tmp_path: Path, guessed: list[int]) -> None:
    write_mtp(tmp_path / MTP_FILE, layer_of(), guessed=guessed)
    with pytest.raises(CheckpointError, match="is no ascending list of tokens below 96") as found:
        read_mtp(tmp_path, MODEL)
    assert found.value.tensor == GUESSED


def without(tensors: dict[str, Tensor]) -> None:
    del tensors["eh_proj.weight"]


def with_more(tensors: dict[str, Tensor]) -> None:
    tensors["layer.self_attn.q_proj.bias"] = torch.zeros(32)


def reshaped(tensors: dict[str, Tensor]) -> None:
    tensors["eh_proj.weight"] = tensors["eh_proj.weight"][:, :32].contiguous()


def as_integers(tensors: dict[str, Tensor]) -> None:
    tensors["hnorm.weight"] = torch.ones(32, dtype=torch.int8)


def not_a_number(tensors: dict[str, Tensor]) -> None:
    tensors["norm.weight"][3] = torch.nan


def infinite(tensors: dict[str, Tensor]) -> None:
    tensors["layer.mlp.up_proj.weight"][0, 0] = torch.inf


@pytest.mark.parametrize(
    ("damage", "tensor", "problem"),
    [
        (without, "eh_proj.weight", "is missing"),
        (with_more, "layer.self_attn.q_proj.bias", "is unknown"),
        (reshaped, "eh_proj.weight", r"has shape \(32, 32\), expected \(32, 64\)"),
        (as_integers, "hnorm.weight", "has dtype torch.int8, expected floating point"),
        (not_a_number, "norm.weight", "holds NaN or infinity"),
        (infinite, "layer.mlp.up_proj.weight", "holds NaN or infinity"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    damage: Callable[[dict[str, Tensor]], None], tensor: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / MTP_FILE
    write_mtp(path, layer_of())
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=problem) as told:
        read_mtp(tmp_path, MODEL)
    assert told.value.path == path
    assert told.value.tensor == tensor


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_file_that_was_cut_is_refused(left: int, tmp_path: Path) -> None:
    path = tmp_path / MTP_FILE
    write_mtp(path, layer_of())
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_mtp(tmp_path, MODEL)


def test_later_tokens_change_nothing_earlier() -> None:
    layer, (states, embedded, positions) = layer_of(), inputs()
    whole = layer(states, embedded, positions, causal)
    states, embedded = states.clone(), embedded.clone()
    states[6], embedded[6] = 3.0, -3.0
    changed = layer(states, embedded, positions, causal)
    assert torch.equal(whole[:6], changed[:6])
    assert all(not torch.allclose(whole[at], changed[at], atol=1e-3) for at in (6, 7, 8))


def test_one_token_at_a_time_is_as_all_at_once() -> None:
    layer, (states, embedded, positions) = layer_of(), inputs()
    whole, attend = layer(states, embedded, positions, causal), cached()
    one_by_one = [
        layer(states[at : at + 1], embedded[at : at + 1], positions[at : at + 1], attend)
        for at in range(len(positions))
    ]
    assert torch.allclose(whole, torch.cat(one_by_one), atol=1e-5)


def test_positions_count() -> None:
    layer, (states, embedded, positions) = layer_of(), inputs()
    near = layer(states, embedded, positions, causal)
    assert torch.allclose(near, layer(states, embedded, positions + 5, causal), atol=1e-4)
    assert not torch.allclose(near, layer(states, embedded, positions * 3, causal), atol=1e-3)


def test_the_layer_is_a_plain_one_whatever_the_model_is() -> None:
    varied = ModelConfig(
        *(96, 32, 64, 3, 4, 2, 8),
        biases=("qkv",),
        qk_norm="head",
        activation="gelu_tanh",
        norms="both",
        attention_softcap=20.0,
        logit_softcap=30.0,
        embedding_scale=5.7,
        attention_scale=0.1,
    )
    assert mtp_config(varied) == mtp_config(MODEL)
    assert mtp_config(varied).switches == ()
    assert mtp_shapes(varied) == mtp_shapes(MODEL)
    shapes = {name: tuple(t.shape) for name, t in layer_of(varied).state_dict().items()}
    assert shapes == mtp_shapes(varied)
