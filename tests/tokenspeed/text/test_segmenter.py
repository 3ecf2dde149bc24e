"""Cuts: at sentences and clauses, not at abbreviations or numbers, and never moved by growth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.segmenter import (
    MAX_CHARS,
    MAX_WORDS,
    WINDOW_CHARS,
    cut,
    cutting_at,
    is_sentence,
    pieces,
)
from tokenspeed.text.steps import at_once
from tokenspeed.text.words import count_words, word_ends


def cut_at(text: str, max_chars: int) -> int:
    return at_once(cutting_at(text, max_chars))


WORDS = st.lists(
    st.sampled_from(
        [
            "we",
            "saw",
            "Dr.",
            "Smith.",
            "And",
            "3.",
            "3.14",
            "and",
            "so,",
            "你好。",
            "👍🏽",
            "Really?",
            "U.S.",
            "No.",
            "p.m.",
            "The",
            "Open",
            "il ?",
        ]
    ),
    max_size=90,
)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello there. How are", ["Hello there.", " How are"]),
        ("Hello there. ", ["Hello there. "]),
        ('"Are you?" "Yes." Fine.', ['"Are you?" "Yes."', " Fine."]),
        ("“Why?” – “For fun.” He left", ["“Why?” – “For fun.”", " He left"]),
        ("« Où est-il ? » « Ici. » Elle", ["« Où est-il ? » « Ici. »", " Elle"]),
        ("I saw Dr. Smith at 3.14 p.m. today", ["I saw Dr. Smith at 3.14 p.m. today"]),
        ("Am 3. Mai kam J. Braun. Er", ["Am 3. Mai kam J. Braun.", " Er"]),
        ("It was in 1990. Then", ["It was in 1990.", " Then"]),
        ("Well... maybe so", ["Well... maybe so"]),
        ("No. 5 is alive. No. I am not.", ["No. 5 is alive.", " No.", " I am not."]),
        ("We met near the U.S. Embassy.", ["We met near the U.S. Embassy."]),
        ("the No. 2 player in the U.S. Open", ["the No. 2 player in the U.S. Open"]),
        ("in the U.K. & the U.S. He is", ["in the U.K. & the U.S.", " He is"]),
        ("He lives in the U.S. He is", ["He lives in the U.S.", " He is"]),
        ("THE U.S. AND THE EU", ["THE U.S. AND THE EU"]),
        ("viven en EE. UU. desde", ["viven en EE. UU. desde"]),
        ("at 7 p.m. and then", ["at 7 p.m. and then"]),
        ("at 7 p.m. We", ["at 7 p.m. We"]),  # it may still become "Wednesday"
        ("at 7 p.m. We left", ["at 7 p.m.", " We left"]),
        ("It costs approx. 5 euros. Birds", ["It costs approx. 5 euros.", " Birds"]),
        ("Siehe z. B. Seite 5. Das ist", ["Siehe z. B. Seite 5.", " Das ist"]),
        ("Plan B. The next one", ["Plan B.", " The next one"]),
        ("1. Open it. 2. Go in", ["1. Open it.", " 2. Go in"]),
        (
            "Es kostet 5 Mio. Euro. Der Preis steigt",
            ["Es kostet 5 Mio. Euro.", " Der Preis steigt"],
        ),
        (
            "El Sr. García vive en la Av. Libertad. Es",
            ["El Sr. García vive en la Av. Libertad.", " Es"],
        ),
        ("Give it to me. Birds sing", ["Give it to me.", " Birds sing"]),
        ("Ask Max. Tom knows", ["Ask Max.", " Tom knows"]),
        ("Où est-il ? Elle vient", ["Où est-il ?", " Elle vient"]),
        ("« Où ? » Elle vient", ["« Où ? »", " Elle vient"]),
        ("He came on Jan. 5. It", ["He came on Jan. 5. It"]),
        ("see pp. 3 and 4. It rained", ["see pp. 3 and 4.", " It rained"]),
        ("“Go.” He left", ["“Go.”", " He left"]),
        ("你好。我们走吧", ["你好。", "我们走吧"]),
        ("¿Qué tal? ¡Muy bien! Gracias", ["¿Qué tal?", " ¡Muy bien!", " Gracias"]),
        ("", [""]),
    ],
)
def test_sentences(text: str, pieces: list[str]) -> None:
    assert cut(text) == pieces


def test_long_text_is_cut_at_a_clause_a_conjunction_or_by_length() -> None:
    clause = "one " * 30 + "two, three"
    assert cut(clause) == ["one " * 30 + "two,", " three"]
    conjunction = "one " * 36 + "and three"
    assert [count_words(piece) for piece in cut(conjunction)] == [36, 2]
    assert [is_sentence(piece) for piece in ("Go on.", "“Go on!”", "go on,", "你好。", "go")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert [count_words(piece) for piece in cut("one " * 100)] == [40, 40, 20]
    assert [len(piece) for piece in cut("x" * 700)] == [300, 300, 100]


def test_no_cut_inside_what_is_already_translated() -> None:
    assert cut("One two. Three four. Five", min_words=3) == ["One two. Three four.", " Five"]


@given(WORDS, st.integers(0, 50))
def test_pieces_are_the_text_and_short(words: list[str], min_words: int) -> None:
    text = " ".join(words)
    pieces = cut(text, min_words)
    assert "".join(pieces) == text
    assert all(count_words(piece) <= MAX_WORDS for piece in pieces)
    assert all(len(piece) <= MAX_CHARS for piece in pieces)


@given(st.text(max_size=700))
def test_any_text_is_cut_into_itself(text: str) -> None:
    assert "".join(cut(text)) == text
    if text:
        assert 0 < cut_at(text, 50) <= 50 or len(text) <= 50


def test_a_long_text_is_cut_after_a_late_sentence_else_clause_else_word() -> None:
    sentences = "We went home. Then we slept. And so on and on and on"
    assert sentences[: cut_at(sentences, 40)] == "We went home. Then we slept."
    assert cut_at("one. " + "two " * 30, 80) == 76  # that sentence ends too early
    clause = "one " * 30 + "two, " + "three " * 20
    assert clause[: cut_at(clause, 160)] == "one " * 30 + "two,"


@given(WORDS)
def test_text_that_grows_by_characters_keeps_its_cuts(words: list[str]) -> None:
    text = " ".join(words[-12:])
    before: list[str] = []
    for end in range(len(text) + 1):
        pieces = cut(text[:end])
        assert pieces[: len(before)] == before
        before = pieces[:-1]


@given(WORDS)
def test_growing_text_keeps_its_cuts(words: list[str]) -> None:
    text = " ".join(words)
    before: list[str] = []
    for end in word_ends(text):
        pieces = cut(text[:end])
        assert pieces[: len(before)] == before
        before = pieces[:-1]


LONG_PARTS = st.sampled_from(
    [
        "We go home. ",
        "und ",
        "你好。",
        "ein Wort, ",
        "🇩🇪",
        "x" * 700,
        "e\u0301" * 200,
        "3. ",
        "... ",
    ]
)


@given(st.lists(st.tuples(LONG_PARTS, st.integers(1, 40)), max_size=12))
def test_a_whole_text_is_cut_alike_however_far_one_looks(parts: list[tuple[str, int]]) -> None:
    text = "".join(part * count for part, count in parts)
    assert list(pieces(text)) == cut(text)


def test_no_more_of_a_whole_text_is_looked_at_than_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[int] = []

    def noted(text: str) -> list[str]:
        looked_at.append(len(text))
        return cut(text)

    monkeypatch.setattr("tokenspeed.text.segmenter.cut", noted)
    found = pieces("We go home. " * 10_000)
    assert next(found) == "We go home."
    assert looked_at == [WINDOW_CHARS]


def test_an_endless_word_is_cut_also_where_others_follow() -> None:
    assert max(map(len, cut("x" * 1000 + " and more"))) <= MAX_CHARS


@pytest.mark.parametrize("text", ["\U0001f1e9", "😀", ". ", "-", "`", "a-"])
def test_no_text_is_cut_more_than_a_few_times(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    num_read = 0

    def counted(window: str, *args: int) -> list[str]:
        nonlocal num_read
        num_read += len(window)
        return cut(window, *args)

    monkeypatch.setattr("tokenspeed.text.segmenter.cut", counted)
    whole = text * (10 * WINDOW_CHARS)
    assert "".join(pieces(whole)) == whole
    assert num_read < 4 * len(whole)


def test_a_text_without_sentences_is_cut_as_late_as_may_be_and_in_no_character() -> None:
    words = "word " * 50
    assert [cut_at(words, most) for most in (97, 98, 99, 100)] == [94, 94, 94, 99]
    assert cut_at("a" * 500, 100) == 100
    assert cut_at("e\u0301" * 200, 101) == 100
    assert cut_at("e" + "\u0301" * 500, 100) == 100  # a pile that is longer than the limit
