"""The vocabulary: marks are one piece each, any text comes back, digits stand alone."""

from pathlib import Path

import sentencepiece

from tests.conftest import SENTENCES
from tokenspeed.training.corpus import Bitext
from tokenspeed.training.examples import MARKS
from tokenspeed.training.vocabulary import train_vocabulary


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
