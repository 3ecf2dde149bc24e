"""Tensors in bounded files, which replace what was there at once or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tokenspeed.model.shards import write_model_shards


@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=8))
def test_all_come_back_from_files_of_bounded_size(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("shards")
    tensors = {f"t{i}": torch.full((size,), float(i)) for i, size in enumerate(sizes)}
    write_model_shards(directory, tensors.items(), 2**16 + 12_000)
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * sum(sizes)
    assert list(index["weight_map"]) == sorted(tensors)
    files = {path.name: load_file(path) for path in directory.glob("*.safetensors")}
    assert set(index["weight_map"].values()) == set(files)
    for name, tensor in tensors.items():
        assert torch.equal(files[index["weight_map"][name]][name], tensor)
    assert all(sum(t.nbytes for t in file.values()) <= 12_000 for file in files.values())


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"before")

    def broken() -> Iterator[tuple[str, torch.Tensor]]:
        yield "a", torch.zeros(2000)
        yield "b", torch.zeros(2000)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_model_shards(tmp_path, broken(), 2**16 + 8_000)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    write_model_shards(tmp_path, {"a": torch.zeros(1)}.items())
    assert not (tmp_path / "model.safetensors").exists()
