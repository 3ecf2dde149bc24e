"""`tokenspeed train` and `distill` as a user types them."""

from pathlib import Path

import pytest

from tokenspeed.cli import main
from tokenspeed.training.cli import CONFIGS


def test_the_command_trains_and_says_where(
    toy_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "short.toml"
    text = (CONFIGS / "tiny.toml").read_text()
    config.write_text(text.replace("max_steps = 60", "max_steps = 3"))
    code = main(
        ["train", str(config), "--corpus", str(toy_corpus), "--out", str(tmp_path / "run")],
    )
    assert code == 0
    assert "int8" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["0/4", "5/4", "1", "a/b", "1/"])
def test_a_share_that_is_none_is_told(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["distill", "--model", "m", "--corpus", "c", "--out", "o", "--part", part]
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert f"{part!r} is not I/N with I from 1 to N" in capsys.readouterr().err


def test_a_recipe_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.toml"
    assert main(["train", str(missing), "--corpus", "c", "--out", str(tmp_path / "run")]) == 2
    assert "none.toml" in capsys.readouterr().err
