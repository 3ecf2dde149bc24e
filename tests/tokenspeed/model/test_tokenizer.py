"""Incremental decoding never shows half a character and loses none."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from tokenspeed.errors import CheckpointError
from tokenspeed.model.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def sentencepiece_tokenizer(tiny_translator: Path) -> Tokenizer:
    return Tokenizer.load(tiny_translator)


@pytest.fixture(scope="module")
def bytes_tokenizer(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Tokenizer:
    """A byte-level BPE tokenizer.json, as LLaMA-3 has."""
    directory = tmp_path_factory.mktemp("bytes")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    config = (
        (tiny_model / "config.json").read_text().replace('"vocab_size": 96', '"vocab_size": 512')
    )
    (directory / "config.json").write_text(config)
    return Tokenizer.load(directory)


@pytest.fixture(scope="module", params=["sentencepiece", "bytes"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.getfixturevalue(f"{request.param}_tokenizer")
    return found


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]) | st.just(" ")))
def test_text_comes_back_in_whole_characters(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    decoder = tokenizer.decoder()
    parts = [decoder.push([i]) for i in ids]
    if "\ufffd" not in text:
        assert not any("\ufffd" in part for part in parts)
    assert "".join(parts) + decoder.flush() == tokenizer.decode(ids)


@given(data=st.data())
def test_any_ids_give_the_text_of_decode(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    decoder = tokenizer.decoder()
    whole = "".join(decoder.push([i]) for i in ids) + decoder.flush()
    assert whole == tokenizer.decode(ids)


def test_bytes_of_a_character_are_held_back(sentencepiece_tokenizer: Tokenizer) -> None:
    ids = sentencepiece_tokenizer.encode("né 😀")
    decoder = sentencepiece_tokenizer.decoder()
    parts = [decoder.push([i]) for i in ids]
    assert "".join(parts) == "né 😀"
    assert parts[-4:] == ["", "", "", "😀"]


def test_marks_decode_to_nothing(sentencepiece_tokenizer: Tokenizer) -> None:
    mark = sentencepiece_tokenizer.piece_id("<de>")
    assert mark is not None
    assert sentencepiece_tokenizer.decode([mark]) == ""
    assert sentencepiece_tokenizer.piece_id("<xx>") is None


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, tiny_model: Path, name: str) -> None:
    (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (tmp_path / name).write_text("not a tokenizer")
    with pytest.raises(CheckpointError, match=name):
        Tokenizer.load(tmp_path)


def test_a_directory_without_tokenizer_is_refused(tiny_model: Path) -> None:
    with pytest.raises(CheckpointError, match="neither tokenizer.model nor tokenizer.json"):
        Tokenizer.load(tiny_model)


def test_a_tokenizer_that_may_not_be_read_is_told(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (tmp_path / "tokenizer.model").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        Tokenizer.load(tmp_path)
