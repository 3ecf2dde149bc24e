"""Whole texts: cut into sentences, translated side by side, joined."""

from pathlib import Path

from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.translate import split_sentences, translate


def test_sentences_are_translated_side_by_side_and_joined(tiny_translator: Path) -> None:
    model = load_engine(tiny_translator, device="reference")
    text = "The train leaves. Please tell me!  Where?"
    (whole,) = translate(model, [text], "en", "de")
    parts = translate(model, ["The train leaves.", "Please tell me!", "Where?"], "en", "de")
    (blank,) = translate(model, ["  "], "en", "de")
    model.close()
    assert whole.text.split() == " ".join(part.text for part in parts).split()
    assert whole.tokens == sum(part.tokens for part in parts)
    assert (blank.text, blank.tokens) == ("  ", 0)
    assert (parts[0].text, parts[0].untranslated) == ("The train leaves.", 1)  # it is nonsense


def test_splitting_keeps_every_word() -> None:
    assert split_sentences(" One. Two?  Three… four ") == ["One.", "Two?", "Three…", "four"]
