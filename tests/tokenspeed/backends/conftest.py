"""A small model for the backends."""

from pathlib import Path

import pytest

from tests.conftest import MakeModel


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Path:
    return make_model(hidden_size=128, intermediate_size=128, head_dim=32, seed=3)
