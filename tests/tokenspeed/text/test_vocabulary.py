"""What text asks of a vocabulary."""

from tokenspeed.text.vocabulary import MARKS, NAMES, Vocabulary, vocabulary_of


class Pieces:
    """A tokenizer with these pieces; what has none of them falls to single characters."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces

    def encode(self, text: str) -> list[int]:
        return [0] if text in self._pieces else [0] * len(text)

    def piece_id(self, piece: str) -> int | None:
        return self._pieces.index(piece) if piece in self._pieces else None


def test_marks_stand_in_where_a_model_was_taught_to_copy_them() -> None:
    taught = vocabulary_of(Pieces("a", *MARKS))
    assert tuple(taught.placeholders) == MARKS
    other = vocabulary_of(Pieces("a"))
    assert other.placeholders == NAMES


def test_a_sign_is_known_that_has_a_piece_or_where_nobody_can_tell() -> None:
    found = vocabulary_of(Pieces("<0xC3>", "é", "▁§", "rare"))
    assert [found.is_known(sign) for sign in "aé§ß"] == [True, True, True, False]
    assert [found.is_rare(word) for word in ("rare", "Quid", "it")] == [False, True, False]
    assert vocabulary_of(Pieces("é")).is_known("ß")
    assert Vocabulary().is_known("ß")
    assert not Vocabulary().is_rare("Duchesneau")


def test_a_script_is_read_where_all_its_common_letters_are_there() -> None:
    stray = vocabulary_of(Pieces("<0xC3>", "こ", "ん", "に", "ち", "は", "д"))
    assert not any(map(stray.reads, ("こんにちは", "да", "你好", "ἀ", "ꦲ")))
    greek = vocabulary_of(Pieces("<0xC3>", *"αβγδεζηθικλμνξοπρστυφχψως"))
    assert greek.reads("καλημέρα")
    assert Vocabulary().reads("你好")


def test_symbols_that_sentences_lack_are_copied_where_a_model_can() -> None:
    pieces = ("<0xC3>", "é", "♪", "→", "€", "…", "‱")
    taught, other = vocabulary_of(Pieces(*pieces, *MARKS)), vocabulary_of(Pieces(*pieces))
    assert [sign for sign in "é♪→€…‱~" if not taught.is_known(sign)] == ["♪", "→", "‱"]
    assert all(map(other.is_known, "é♪→€…‱~"))
