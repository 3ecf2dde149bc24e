"""Errors carry what a caller needs, and a user reads one line."""

from pathlib import Path

import pytest

from tokenspeed import errors
from tokenspeed.errors import CheckpointError, CommandError, RequestTooLong, TokenSpeedError, told


def test_fields_and_text_agree() -> None:
    found = CheckpointError("dir/model.safetensors", "is missing", "lm_head.weight")
    assert (found.path, found.tensor) == (Path("dir/model.safetensors"), "lm_head.weight")
    assert str(found) == "dir/model.safetensors: tensor 'lm_head.weight': is missing"
    assert str(CheckpointError("dir", "is empty")) == "dir: is empty"
    long = RequestTooLong(5120, 4096)
    assert (long.tokens, long.limit) == (5120, 4096)
    assert str(long) == "request needs 5120 positions, a slot holds 4096"


def test_the_tree_of_the_docstring_is_the_tree_of_the_classes() -> None:
    said = errors.__doc__ or ""
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, TokenSpeedError):
            assert name in said


def test_what_a_user_causes_becomes_a_command_error_and_nothing_else_does() -> None:
    with pytest.raises(CommandError, match="no such file") as caught, told(OSError):
        raise FileNotFoundError("no such file")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(KeyError), told(OSError):
        raise KeyError("ours")
