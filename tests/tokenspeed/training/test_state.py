"""A run on disk comes back bit for bit, and an unfinished one is seen."""

from pathlib import Path

import pytest
import torch

from tokenspeed.training import state
from tokenspeed.training.state import has_state, load_state, save_state

CPU = torch.device("cpu")


def test_tensors_come_back_also_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_SHARD_BYTES", 64)  # two rows of the matrix a piece
    tensors = {
        "matrix": torch.arange(30, dtype=torch.float32).view(10, 3),
        "step": torch.tensor(7),
        "half": torch.randn(5).bfloat16(),
    }
    save_state(tmp_path, tensors, {"step": 7})
    found, meta = load_state(tmp_path, CPU)
    assert meta == {"step": 7}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_a_state_without_its_last_file_is_unfinished(tmp_path: Path) -> None:
    assert not has_state(tmp_path)
    save_state(tmp_path, {"a": torch.zeros(1)}, {})
    assert has_state(tmp_path)
    (tmp_path / "state.json").unlink()
    assert not has_state(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path, CPU)
