"""The vocabulary: marks are one piece each, any text comes back, digits stand alone."""

from pathlib import Path

import pytest
import sentencepiece

from tests.conftest import SENTENCES
from tokenspeed.training.corpus import Bitext
from tokenspeed.training.examples import MARKS
from tokenspeed.training.vocabulary import (
    extend_vocabulary,
    spell_new_pieces,
    train_vocabulary,
)


def test_a_vocabulary_has_the_marks_and_loses_nothing(tmp_path: Path) -> None:
    english, foreign = SENTENCES[:3] + ["Room 1234."], SENTENCES[3:6] + ["Zimmer 1234."]
    bitext = Bitext("de", english, foreign, ["tatoeba"] * 4)
    path = tmp_path / "tokenizer.model"
    train_vocabulary([bitext], path, 400, tatoeba_sample=1.0, seed=0)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.model"]
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert (pieces.unk_id(), pieces.bos_id(), pieces.eos_id()) == (0, 1, 2)
    assert all(pieces.is_control(pieces.piece_to_id(mark)) for mark in MARKS)
    for text in (*SENTENCES, "Łódź 東京 🙂"):
        assert pieces.decode(pieces.encode(text)) == text
    assert [
        piece.strip("\u2581") for piece in pieces.encode_as_pieces("1234") if piece != "\u2581"
    ] == ["1", "2", "3", "4"]


def test_technical_text_and_what_the_sample_leaves_out_are_not_read(tmp_path: Path) -> None:
    kept = Bitext("de", SENTENCES[:3], SENTENCES[3:6], ["europarl"] * 3)
    left_out = Bitext("de", ["qqqq xxxx"] * 2, ["jjjj"] * 2, ["python-docs", "tatoeba"])
    found = []
    for name, bitexts in (("a", [kept]), ("b", [kept, left_out])):
        path = tmp_path / f"{name}.model"
        train_vocabulary(bitexts, path, 320, tatoeba_sample=0.0, seed=0)
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        found.append([model.id_to_piece(i) for i in range(model.vocab_size())])
    assert found[0] == found[1]


def test_more_pieces_stand_behind_those_of_a_model_and_spell_what_it_spelled(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tokenizer.model"
    first = Bitext("de", SENTENCES[:3], SENTENCES[3:6], ["tatoeba"] * 3)
    train_vocabulary([first], path, 400, tatoeba_sample=1.0, seed=0)
    pieces = path.read_bytes()
    texts = ["The webinar begins.", "A webinar ends.", "Our webinar, again."]
    more = Bitext("de", texts, ["Das Webinar"] * 3, ["talks", "news", "courses"])
    old = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    with pytest.raises(ValueError, match="there is room for 3 more pieces"):
        extend_vocabulary([more], pieces, old.vocab_size() + 3, 1.0, seed=0)
    size = old.vocab_size() + 1000
    new = sentencepiece.SentencePieceProcessor(
        model_proto=extend_vocabulary([more], pieces, size, 1.0, seed=0)
    )
    count = old.vocab_size()
    assert count < new.vocab_size() < size  # there are no more words
    assert [new.id_to_piece(i) for i in range(count)] == [old.id_to_piece(i) for i in range(count)]
    assert new.encode_as_pieces("webinar") == ["\u2581webinar"]
    assert new.encode_as_pieces("Webinar") != ["\u2581Webinar"]  # one source alone says it
    for text in (*SENTENCES, "The webinar 🙂 costs 3 € \ue001."):
        assert new.decode(new.encode(text)) == text
    spellings = spell_new_pieces(old, new)
    assert len(spellings) == new.vocab_size() - count
    for i, ids in enumerate(spellings, start=count):
        if not new.is_control(i):
            assert old.decode(ids) == new.id_to_piece(i).strip("\u2581")
    with pytest.raises(ValueError, match="does not begin with"):
        spell_new_pieces(new, old)
