"""Sound marks have a word of their own in each language."""

import pytest

from tokenspeed.text.sounds import LANGUAGES, find_sounds, sound_in


@pytest.mark.parametrize(
    ("text", "source", "target", "expected"),
    [
        ("[applause] Thank you", "en", "de", ["[Applaus]"]),
        ("(inaudible) and then", "en", "fr", ["(inaudible)"]),
        ("(coughs)", "en", "es", ["(tose)"]),
        ("[APPLAUSE] [Laughter]", "en", "fr", ["[APPLAUDISSEMENTS]", "[Rires]"]),
        ("(Beifall)", "de", "en", ["(applause)"]),
        ("♪ music ♪ and *sighs*", None, "de", ["♪ Musik ♪", "*seufzt*"]),
        (
            "[inaudible 00:01:23] (Music, 1:05.5)",
            "en",
            "fr",
            ["[inaudible 00:01:23]", "(Musique, 1:05.5)"],
        ),
        ("[the president] (2019) (", "en", "de", []),
        ("[music) no", "en", "de", []),
        ("(music)", "en", "xx", []),
    ],
)
def test_a_mark_is_found_with_its_word(
    text: str, source: str | None, target: str, expected: list[str]
) -> None:
    assert [span.wanted for span in find_sounds(text, source, target)] == expected


def test_every_word_has_one_in_every_language_and_comes_back() -> None:
    for target in LANGUAGES[1:]:
        for sound in ("applause", "inaudible", "music", "laughs", "door opens"):
            there = sound_in(sound, "en", target)
            assert there is not None
            assert sound_in(there, target, "en") is not None


def test_a_mark_that_was_translated_on_its_way_is_translated_on() -> None:
    assert sound_in("music", "de", "fr") == "musique"
