"""Recipes: the shipped ones can be read, a wrong one names the field."""

from pathlib import Path

import pytest

from tokenspeed.training.cli import CONFIGS
from tokenspeed.training.config import load_recipe


def test_the_shipped_recipes_can_be_read() -> None:
    default = load_recipe(CONFIGS / "default.toml")
    assert default.languages == ("de", "fr", "es")
    assert default.model.vocab_size == 17024


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("languages = []", "languages is empty"),
        ("languages = ['de']\nspeed = 3", "unknown fields: speed"),
        ("languages = ['de']\noptimizer = 'sgd'", "optimizer is 'sgd'"),
    ],
)
def test_a_wrong_recipe_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    tiny = (CONFIGS / "tiny.toml").read_text().replace('languages = ["de"]', text)
    path = tmp_path / "wrong.toml"
    path.write_text(tiny)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)
