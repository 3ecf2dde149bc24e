"""What is the translation in what a model says, whole and while it is still being said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.answer import Answer

CHATTY = Answer(("\n",), has_chatter=True)


@pytest.mark.parametrize(
    ("output", "translation"),
    [
        ("Guten Morgen.", "Guten Morgen."),
        ("Here is the translation:\n\nGuten Morgen.", "Guten Morgen."),
        ("Here's the German translation of the caption: Guten Morgen.", "Guten Morgen."),
        ("Sure! Here is the translated text:\nGuten Morgen.\n\nNote: ...", "Guten Morgen."),
        ("Certainly, here is a translation into German:\nGuten Morgen.", "Guten Morgen."),
        ("Translation: Guten Morgen.", "Guten Morgen."),
        ("The translation is:\nGuten Morgen.", "Guten Morgen."),
        ("\n\nGuten Morgen.\nEnglish: Good evening.", "Guten Morgen."),
        ("Here is the station.", "Here is the station."),
        ("Sure, we can.", "Sure, we can."),
        ("Of course: here it is.", "Of course: here it is."),
        ("Here is the translation:", "Here is the translation:"),
        ("", ""),
    ],
)
def test_the_translation_alone_is_taken(output: str, translation: str) -> None:
    assert CHATTY.text(output) == translation


def test_a_model_that_does_not_chat_may_say_such_words() -> None:
    quiet = Answer(("\n",))
    assert quiet.text("Translation: Guten Morgen.\nEnglish: x") == "Translation: Guten Morgen."
    assert quiet.is_ended("Guten Morgen.\nEnglish:")
    assert not quiet.is_ended("\nGuten Morgen.")


@given(st.text())
def test_without_rules_nothing_is_changed(output: str) -> None:
    assert Answer().text(output) == output
    assert not Answer().is_ended(output)


PARTS = ["Here is ", "the ", "translation", ":", "\n", "Guten", " Tag", ".", "Sure, ", "x"]


@given(st.lists(st.sampled_from(PARTS)))
def test_each_id_completes_what_it_did_of_the_translation(parts: list[str]) -> None:
    def token_text(tokens: object) -> tuple[str, list[int]]:
        return "".join(parts), [len("".join(parts[:i])) for i in range(len(parts) + 1)]

    text, offsets = CHATTY.token_text(token_text)(range(len(parts)))
    assert text == CHATTY.text("".join(parts))
    assert offsets[0] == 0
    assert offsets[-1] == len(text)
    assert offsets == sorted(offsets)
