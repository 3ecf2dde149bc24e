"""Forms of chats, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.chat import _FORMS, WITH_DIGITS, _table, written_out


@pytest.mark.parametrize(
    ("text", "language", "written"),
    [
        ("Thx 4 ur help, c u l8r", "en", "Thanks for your help, see you later"),
        ("Im late. im sorry, cant talk rn", "en", "I'm late. I'm sorry, can't talk right now"),
        ("how r u? r u home", "en", "how are you? are you home"),
        ("BTW, OMG, he left btw", "en", "By the way, oh my God, he left by the way"),
        ("text 2 me, y'all", "en", "text to me, you all"),
        ("Kommst du vllt?", "de", "Kommst du vielleicht?"),
        ("Dsl, jsp pk", "fr", "Désolé, je ne sais pas pourquoi"),
        ("xq no? q tal", "es", "porque no? qué tal"),
    ],
)
def test_forms_become_words(text: str, language: str, written: str) -> None:
    assert written_out(text, language) == written


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the IM system, RN Smith, PPL, U", "en"),
        ("We have 4 you can use, 2 cats, a 2 and a 4", "en"),
        ("Q&A, a u-boat, u.com, @u, #u, u/x, x_u", "en"),
        ("You won't; it's ill, well, its lets", "en"),
        ("I u I do, a more u user friendly u, so u u it", "en"),  # a speaker breaks words off
        ("Rainbach im Innkreis, Jony Ive, the IMO, u Brna", "en"),
        ("im Haus, am u", "de"),
        ("im late, thx", None),
        ("im late, thx", "it"),
    ],
)
def test_what_is_a_word_stays(text: str, language: str | None) -> None:
    assert written_out(text, language) == text


def test_a_word_that_may_grow_stays() -> None:
    assert written_out("I saw u", "en", is_open=True) == "I saw u"
    assert written_out("I saw u ", "en", is_open=True) == "I saw you "


@given(st.sampled_from(sorted(_FORMS)), st.text("aimu 4lr8c'.,", max_size=40))
def test_twice_is_as_once(language: str, text: str) -> None:
    once = written_out(text, language)
    assert written_out(once, language) == once


def test_all_forms_with_digits_are_known() -> None:
    forms = {form for language in _FORMS for form in _table(language)[0]}
    assert {form for form in forms if any(map(str.isdigit, form))} == WITH_DIGITS
