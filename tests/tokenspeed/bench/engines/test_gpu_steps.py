"""Which backend is measured on a GPU: a checkpoint as it is stored, or a named shape."""

from pathlib import Path

import pytest

from tests.conftest import MakeModel
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.bench.engines import gpu_steps
from tokenspeed.bench.engines.gpu_steps import measure_on_gpu, open_backend
from tokenspeed.errors import BackendUnavailable, CheckpointError
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.quantized import write_int8

CONFIG = EngineConfig(num_slots=1, max_length=32, max_step_tokens=16)


def test_a_checkpoint_keeps_the_form_that_it_is_stored_in(
    make_model: MakeModel, tmp_path: Path
) -> None:
    stored = make_model(hidden_size=128, intermediate_size=128, head_dim=32)
    write_int8(stored, tmp_path / "int8")
    for directory, form, wanted in (
        (stored, "auto", "bf16"),
        (tmp_path / "int8", "auto", "int8"),
        (stored, "int4", "int4"),
    ):
        backend = open_backend(directory, "", form, CONFIG)
        assert isinstance(backend, CudaBackend)
        assert backend.weights.form == wanted
        backend.close()


def test_the_prompts_of_all_streams_fit_a_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[EngineConfig, list[int]]] = []

    class Enough(Exception): ...

    def opened(model: Path, shape: str, form: str, config: EngineConfig, gpus: list[int]) -> None:
        asked.append((config, gpus))
        raise Enough

    monkeypatch.setattr(gpu_steps, "open_backend", opened)
    for streams in ([1], [1, 16]):
        with pytest.raises(Enough):
            measure_on_gpu(tmp_path, "llama-3-8b", "int4", streams, 1, [2, 3])
    (few, _), (many, gpus) = asked
    assert (few.max_step_tokens, many.max_step_tokens) == (512, 16 * 64)
    assert gpus == [2, 3]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="shape is 'llama-9'"):
        open_backend(tmp_path, "llama-9", "auto", CONFIG)
    with pytest.raises(CheckpointError):
        open_backend(tmp_path / "nothing", "", "auto", CONFIG)
