"""Words of scripts with and without spaces."""

from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text import words as words_module
from tokenspeed.text.words import (
    are_apart,
    count_words,
    ends_spaceless,
    erased_words,
    has_words,
    normalise,
    skip_words,
    word_ends,
)


def words(text: str) -> list[str]:
    ends = word_ends(text)
    return [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", ["Hello,", " world!"]),
        ("It's 3.14 o'clock.", ["It's", " 3.14", " o'clock."]),
        ("He said: “Go on.” Then", ["He", " said:", " “Go", " on.”", " Then"]),
        ("我们今天去。", ["我", "们", "今", "天", "去。"]),
        ("مرحبا بالعالم", ["مرحبا", " بالعالم"]),
        ("cafe\u0301 👩\u200d👩\u200d👧 ok", ["cafe\u0301", " 👩\u200d👩\u200d👧", " ok"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("  two  ", ["  two  "]),
        ("...", ["..."]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_are_the_whole_text(text: str) -> None:
    assert "".join(words(text)) == text
    assert all(words(text))
    assert skip_words(text, 10**6) == len(text)


def test_small_differences_are_not_worth_a_translation() -> None:
    assert normalise("Good  Morning. ") == normalise("good morning")
    assert normalise("cafe\u0301") == normalise("CAFÉ!")
    assert normalise("good morning you") != normalise("good morning")
    assert count_words(" ... ") == 0


@pytest.mark.parametrize(
    ("before", "after", "erased"),
    [
        ("a b c", "a b c d", 0),
        ("a b c", "a x c", 2),
        ("a b c", "a b", 1),
        ("a bc", "a b", 1),
        ("", "a", 0),
        ("a", "", 1),
    ],
)
def test_erased_words(before: str, after: str, erased: int) -> None:
    assert erased_words(before, after) == erased


def test_a_run_of_flags_is_cut_between_flags_and_in_linear_time() -> None:
    for flags in (1, 2, 3, 50):
        text = "ok " + "🇩🇪" * flags + " end"
        assert [text[a:b] for a, b in pairwise([0, *word_ends(text)])] == [
            "ok",
            " 🇩🇪",
            *["🇩🇪"] * (flags - 1),
            " end",
        ]
    assert len(word_ends("🇩🇪" * 100_000)) == 100_000  # minutes, if it were quadratic
    odd = "🇩🇪🇫🇷🇪\u200d\ufe0f!"
    assert word_ends(odd) == [2, 4, len(odd)]


@given(
    st.text(alphabet="ab .,«»'🇩🇪你é\u0301\n", max_size=30),
    st.text(alphabet="ab .,«»'🇩🇪你é\u0301\n", max_size=10),
    st.integers(0, 30),
)
def test_erased_words_are_those_that_end_behind_what_stands(
    before: str, tail: str, kept: int
) -> None:
    after = before[:kept] + tail
    common = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    assert erased_words(before, after) == sum(end > common for end in word_ends(before))


@given(st.text(max_size=20))
def test_there_are_words_where_some_are_counted(text: str) -> None:
    assert has_words(text) == (count_words(text) > 0)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [("a.", " b", True), ("a. ", "b", True), ("a.\n", "b", True), ("a.<br>", "b", False)],
)
def test_a_space_on_either_side_keeps_texts_apart(before: str, after: str, expected: bool) -> None:
    assert are_apart(before, after) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好。", True),
        ("はい", True),
        ("सड़क।", True),
        ("สวัสดี", True),
        ("Hi.", False),
        ("你好<br>", False),
    ],
)
def test_some_scripts_go_on_without_a_space(text: str, expected: bool) -> None:
    assert ends_spaceless(text) == expected


@given(st.text(alphabet="aZ\u00e95 '\u2019.,;:!?-\u201c", max_size=16))
def test_plain_text_ends_its_words_as_any_other(text: str) -> None:
    found = word_ends(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_module, "_PLAIN", regex.compile("(?!)"))
        assert word_ends(text) == found
