"""Which languages an instruction names, and what fences its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.doors.instruction import (
    Languages,
    UnclearInstruction,
    instruction_of,
    languages_of,
    without_fence,
)

OURS = ("de", "en", "es", "fr")


@pytest.mark.parametrize(
    ("instruction", "source", "target"),
    [
        ("Translate into German.", None, "de"),
        ("You translate from French to English", "fr", "en"),
        ("Translate the English text to Spanish", "en", "es"),
        ("to german, from the english original", "en", "de"),
        ("Translate this German news article into French", "de", "fr"),
        ("You are a professional English to French translator.", "en", "fr"),
        ("I speak English. Translate what I say for a French audience.", "en", "fr"),
        ("German, please", None, "de"),
        ("Speak German", None, "de"),
        ("Turn each line of English into natural-sounding Spanish", "en", "es"),
        ("Give the German version of each sentence. English is the input.", "en", "de"),
        ("Translate to German. If the text is in German already, leave it.", None, "de"),
        ("If the user writes English, answer in Spanish", None, "es"),
        ("When it is French translate to German", None, "de"),
        # In other languages than English
        ("Übersetze ins Deutsche", None, "de"),
        ("Übersetze auf Deutsch", None, "de"),
        ("Übersetze vom Englischen ins Französische", "en", "fr"),
        ("Übersetze den folgenden englischen Text ins Spanische", "en", "es"),
        ("Traduce del inglés al alemán", "en", "de"),
        ("traduis de l'anglais vers l’espagnol", "en", "es"),
        ("Traduis en allemand", None, "de"),
        # What is ruled out
        ("Render this into French, never into Spanish.", None, "fr"),
        ("From Spanish into German, please. Do not use English words.", "es", "de"),
        ("into German, not English", None, "de"),
        ("not English but German", None, "de"),
        ("Answer in German instead of English", None, "de"),
        ("No English, French or Spanish: only German", None, "de"),
        ("Respond in Spanish. Never answer in English or French.", None, "es"),
        ("Bitte nicht auf Englisch, sondern auf Deutsch antworten.", None, "de"),
        ("Traduce al español, no al inglés.", None, "es"),
        ("Traduire en français, sans anglais", None, "fr"),
        ("Output must be French; Spanish is not allowed", None, "fr"),
        ("Do not explain or comment and translate to German", None, "de"),
        ("Réponds uniquement en espagnol; le texte est en anglais", "en", "es"),
        ("Anything but German: French", None, "fr"),
        ("I want this in French and under no circumstances in German", None, "fr"),
        # By code
        ('{"from": "en", "to": "de"}', "en", "de"),
        ("translate it to de-DE, keep it short", None, "de"),
        ("EN to DE", "en", "de"),
        ("Translate from en to de", "en", "de"),
        ("translate to fr", None, "fr"),
        ("en-de", "en", "de"),
        ("fr/en", "fr", "en"),
        ("en->it", "en", "it"),
        ("target: de", None, "de"),
        ("source_language=en target_language=fr", "en", "fr"),
        ("Source: English. Target: German.", "en", "de"),
        # What else is named is not wanted
        ("You are fluent in English and German. Translate to German.", None, "de"),
        ("Translate English subtitles. The target language is German.", None, "de"),
        ("Listen to the English speaker and translate into German", None, "de"),
        # Languages that only CLDR knows are named, and refused by who asks the model
        ("English to Italian", "en", "it"),
        ("Translate everything the user says from Japanese into English", "ja", "en"),
        ("Germanic studies", None, None),
        ("Be kind.", None, None),
        ("", None, None),
    ],
)
def test_the_instruction_names_the_languages(
    instruction: str, source: str | None, target: str | None
) -> None:
    assert languages_of(instruction, OURS) == Languages(source, target)


@pytest.mark.parametrize(
    ("instruction", "names"),
    [
        ("Translate into German and French", "German and French"),
        ("Translate into Spanish, German or Italian", "Spanish, German and Italian"),
    ],
)
def test_of_two_targets_none_wins(instruction: str, names: str) -> None:
    with pytest.raises(UnclearInstruction, match=f"not {names}"):
        languages_of(instruction, OURS)


@given(st.text(max_size=80))
def test_any_instruction_is_read_or_unclear(instruction: str) -> None:
    try:
        found = languages_of(instruction, OURS)
    except UnclearInstruction:
        return
    assert found.target is None or len(found.target) >= 2


@pytest.mark.parametrize("part", ["word ", "not French, ", "en to de\n", "to ", "if French "])
def test_long_instructions_are_read_at_their_ends(part: str) -> None:
    filler = part * 5000
    assert languages_of(f"Translate into Spanish! {filler}", ("es",)).target == "es"
    assert languages_of(f"{filler}.\nTranslate into Spanish!", ("es",)).target == "es"


def test_a_user_message_may_begin_with_its_instruction() -> None:
    assert instruction_of("Translate into German: Good morning: all", OURS) == (
        Languages(None, "de"),
        "Good morning: all",
    )
    assert instruction_of("Translate the following text to French:\n\nHi there", OURS) == (
        Languages(None, "fr"),
        "Hi there",
    )
    form = "Translate the source text to German. Output the translation alone.\nSource Text: Hi\n"
    fenced = 'Translate into German:\n"""\nHi\n"""'
    for text in (f"{form}Translated Text:", fenced, "translate from en to de:\nHi =>"):
        asked = instruction_of(text, OURS)
        assert asked is not None
        assert (asked[0].target, asked[1]) == ("de", "Hi")
    for text in ("Hello: world", "I translate books: this one", "Translate into German"):
        assert instruction_of(text, OURS) is None


@pytest.mark.parametrize(
    ("text", "instruction", "bare"),
    [
        ("🔤 Good morning, everyone. 🔤", "between the 🔤 marks", "Good morning, everyone."),
        ("🔤Hi🔤", "🔤", "Hi"),
        ("###\nHi\n###", "The text is between ###.", "Hi"),
        ('"""Hi "you"."""', 'Translate what """ encloses', 'Hi "you".'),
        ("<text>Hi</text>", "Translate what is inside <text> tags", "Hi"),
        ("🔤<t>Hi</t>🔤", "🔤 and <t>", "Hi"),
        # Not spoken of, or no fence at all
        ("🎉 Hi 🎉", "Translate into German", "🎉 Hi 🎉"),
        ('"Hi."', "Translate into German. Be exact.", '"Hi."'),
        ("...Hi...", "Wait... then translate into German", "...Hi..."),
        ("---\nHi\n---", "The text is between --- lines.", "Hi"),
        ("🔤 Hi", "between the 🔤 marks", "🔤 Hi"),
        ("🔤🔤", "between the 🔤 marks", "🔤🔤"),
        ("", "🔤", ""),
    ],
)
def test_a_fence_that_is_spoken_of_is_taken_off(text: str, instruction: str, bare: str) -> None:
    assert without_fence(text, instruction) == bare


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_text_without_its_fence_has_none(text: str, instruction: str) -> None:
    bare = without_fence(text, instruction)
    assert bare in text
    assert without_fence(bare, instruction) == bare


@pytest.mark.parametrize(
    "text",
    [
        "a:" + " " * 200_000 + "b", "Translate to German:" + " " * 200_000 + "x", " " * 200_000,
        "Translate to German:\n" + "x" + " " * 200_000 + "=",
        "Translate to German: " + "#" * 200_000,
        "Translate to German: x" + "\n" * 200_000 + "=", "Translate to German: " + "->" * 100_000,
    ],
    ids=lambda text: ascii(text[:25]),
)  # fmt: skip
def test_no_message_takes_more_than_its_length(text: str) -> None:
    """With the square of its length one of these would take minutes, and the test's time end."""
    asked = instruction_of(text, OURS)
    assert asked is None or asked[1] in text


@pytest.mark.parametrize("text", ["#" * 100_000, "#*" * 50_000, "<a>" * 30_000 + "</a>" * 30_000])
def test_no_fence_takes_more_than_its_length(text: str) -> None:
    bare = without_fence(text, "between # and #* and ## in <a>")
    assert bare in text


@pytest.mark.parametrize("space", [" ", "\t", "\u3000"])
def test_space_in_an_instruction_takes_no_more_than_its_length(space: str) -> None:
    said = f"Translate from{space * 3000}English x into{space * 800}German"
    try:
        assert languages_of(said, OURS).target == "de"
    except UnclearInstruction:
        pytest.fail("space is no language")
