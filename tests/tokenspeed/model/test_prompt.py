"""Prompts: the order that lets targets and growing sources share keys and values."""

import json
from pathlib import Path

import pytest

from tokenspeed.errors import CheckpointError
from tokenspeed.model.prompt import FORMALITIES, load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer


def test_marks_stand_around_the_source(tiny_translator: Path) -> None:
    tokenizer = Tokenizer.load(tiny_translator)
    prompts = load_prompt_format(tiny_translator, tokenizer)
    source = tokenizer.encode("The train")
    marks = {name: tokenizer.piece_id(f"<{name}>") for name in ("en", "de", "auto", "open")}
    assert prompts.build("The train", "en", "de", is_open=False) == (
        tokenizer.bos_id,
        marks["en"],
        *source,
        marks["de"],
    )
    assert prompts.build("The train", None, "de", is_open=True) == (
        tokenizer.bos_id,
        marks["auto"],
        *source,
        marks["open"],
        marks["de"],
    )


def test_a_growing_source_keeps_its_beginning(tiny_translator: Path) -> None:
    prompts = load_prompt_format(tiny_translator, Tokenizer.load(tiny_translator))
    short = prompts.build("The train to", "en", "de", is_open=True)
    longer = prompts.build("The train to the city", "en", "fr", is_open=True)
    assert longer[: len(short) - 2] == short[:-2]


@pytest.mark.parametrize("pair", [("de", "fr"), ("en", "en"), ("en", "xx"), (None, "xx")])
def test_an_unknown_pair_is_refused(tiny_translator: Path, pair: tuple[str | None, str]) -> None:
    prompts = load_prompt_format(tiny_translator, Tokenizer.load(tiny_translator))
    with pytest.raises(ValueError, match="is not supported"):
        prompts.build("x", *pair, is_open=False)


def test_formality_stands_by_the_target_where_the_model_knows_it(
    tiny_translator: Path, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.load(tiny_translator)
    plain = load_prompt_format(tiny_translator, tokenizer)
    assert not plain.formalities
    with pytest.raises(ValueError, match="cannot be asked for formal address in de"):
        plain.build("x", "en", "de", is_open=False, formality="formal")
    config = json.loads((tiny_translator / "config.json").read_text())
    config["tokenspeed"]["formality"] = ["de"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    prompts = load_prompt_format(tmp_path, tokenizer)
    assert prompts.formalities == {"de"}
    whole = prompts.build("The train", "en", "de", is_open=True)
    for formality in FORMALITIES:
        mark = tokenizer.piece_id(f"<{formality}>")
        asked = prompts.build("The train", "en", "de", is_open=True, formality=formality)
        assert asked == (*whole[:-1], mark, whole[-1])
    with pytest.raises(ValueError, match="informal address in en"):
        prompts.build("x", "de", "en", is_open=False, formality="informal")


def test_a_vocabulary_without_marks_is_refused(tiny_translator: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_translator / "config.json").read_text())
    config["tokenspeed"]["pairs"] = [["en", "pt"]]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="no piece <pt>"):
        load_prompt_format(tmp_path, Tokenizer.load(tiny_translator))


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (5, "tokenspeed is 5, expected an object"),
        ({"prompt": ["marks"]}, r"prompt is \['marks'\], supported: "),
        ({"prompt": "marks", "pairs": 5}, "tokenspeed.pairs is 5, expected a list of pairs"),
        ({"prompt": "marks", "pairs": [["en"]]}, "expected a list of pairs of languages"),
        ({"prompt": "marks", "pairs": [["en", 5]]}, "expected a list of pairs of languages"),
        ({"context": "two"}, "tokenspeed.context is 'two', expected a whole number"),
        ({"context": -1}, "tokenspeed.context is -1, expected a whole number"),
        ({"formality": "de"}, "tokenspeed.formality is 'de', expected a list of languages"),
    ],
)
def test_wrong_types_are_named(
    tiny_translator: Path, tmp_path: Path, section: object, problem: str
) -> None:
    config = json.loads((tiny_translator / "config.json").read_text()) | {"tokenspeed": section}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=problem):
        load_prompt_format(tmp_path, Tokenizer.load(tiny_translator))
