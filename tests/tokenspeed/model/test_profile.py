"""Profiles: those that ship hold together, and what a user gets wrong in his own is told."""

from pathlib import Path

import pytest

from tokenspeed.errors import ProfileError
from tokenspeed.model.profile import PROFILES, Profile, Sign, read_profile, shipped_profiles

WHOLE = """
title = "Mine"

[[recognise]]
name = "mine"

[prompt]
message = "To {target}: {text}"

[languages]
codes = ["en", "pt-BR", "zh-Hant"]
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_file_that_ships_is_read_and_says_where_it_is_from() -> None:
    found = shipped_profiles()
    assert {profile.name for profile in found} == {path.stem for path in PROFILES.glob("*.toml")}
    for profile in found:
        assert profile.licence
        assert profile.models
        assert profile.sources
        assert profile.layout == "marks" or {"en", "de"} <= set(profile.names)


def test_names_are_those_of_cldr_where_a_profile_has_no_other(tmp_path: Path) -> None:
    text = WHOLE + '\n[languages.names]\nzh-Hant = "Chinese (Traditional)"\n'
    profile = read_profile(write(tmp_path, text))
    assert profile.names == {
        "en": "English",
        "pt-BR": "Brazilian Portuguese",
        "zh-Hant": "Chinese (Traditional)",
    }
    assert ("pt-BR", "zh-Hant") in profile.pairs
    assert profile.wording("en", "pt-BR") == "To Brazilian Portuguese: {text}"


def test_pairs_may_all_have_one_language_or_be_listed(tmp_path: Path) -> None:
    through = WHOLE.replace("[languages]", '[languages]\nthrough = "en"')
    assert ("pt-BR", "zh-Hant") not in read_profile(write(tmp_path, through)).pairs
    listed = WHOLE.replace("[languages]", '[languages]\npairs = [["en", "pt-BR"]]')
    assert read_profile(write(tmp_path, listed)).pairs == {("en", "pt-BR")}


def test_what_a_wording_names_is_filled_in_and_nothing_else() -> None:
    profile = Profile(
        "mine",
        "Mine",
        message="{source} ({source_code}) to {target} ({target_code}){address}{open}:\n{text} {x}",
        message_auto="to {target}: {text}",
        open=" [open]",
        addresses={"formal": " politely"},
        names={"en": "{target}", "de": "German"},
    )
    said = profile.wording("en", "de", is_open=True, formality="formal", text="A")
    assert said == "{target} (en) to German (de) politely [open]:\nA {x}"
    assert profile.wording(None, "de") == "to German: {text}"


def test_terms_count_more_than_context_and_both_more_than_the_pair() -> None:
    profile = Profile(
        "mine",
        "Mine",
        message="{source}-{target}: {text}",
        message_auto="{target}: {text}",
        message_with_chinese="{target_chinese}: {text}",
        message_terms="{source}, {terms}: {text}",
        message_context="{context}: {text}",
        names={"en": "English", "de": "German", "zh-Hant": "Chinese"},
        chinese={"en": "英语", "de": "德语", "zh-Hant": "繁体中文"},
    )
    assert profile.wording("en", "de") == "English-German: {text}"
    assert profile.wording("en", "zh-Hant") == "繁体中文: {text}"
    assert profile.wording("zh-Hant", "en", context="A") == "A: {text}"
    assert profile.wording("zh-Hant", "en", terms="B", context="A") == "Chinese, B: {text}"
    # Nobody says which language the text is in, and the wording of terms names it.
    assert profile.wording(None, "de", terms="B") == "German: {text}"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('title = "Mine"', "", "'title' is missing"),
        ('title = "Mine"', "title = 5", "title is 5, expected a string"),
        ('title = "Mine"', 'titel = "Mine"', "titel is unknown, known: title"),
        ("{text}", "", "prompt.message has no {text}"),
        ("{text}", "{text} {text}", "prompt.message has no {text}, or several"),
        ("{target}", "{traget}", "prompt.message has {traget}, known: "),
        ("{target}", "{source}", "prompt.message_auto is needed"),
        ('"To {target}: {text}"', '""', "prompt.message has no {text}, or several"),
        ("[prompt]", "[prompt]\nmessage_terms = '{text}'", "prompt.message_terms has no {terms}"),
        ("[prompt]", "[prompt]\nmessage_terms = '{terms}{text}'", "prompt.term is needed with"),
        (
            "[prompt]",
            "[prompt]\nmessage_context = '{text}'",
            "prompt.message_context has no {context}",
        ),
        (
            "[prompt]",
            "[prompt]\nmessage_context = '{context}'",
            "prompt.message_context has no {text}",
        ),
        ("{text}", "{text}{context}", "prompt.message has {context}, known: "),
        ("{target}", "{target_chinese}", "languages.chinese does not name en, pt-BR, zh-Hant"),
        ("[prompt]", "[prompt]\nturns = 'x'", "prompt.turns has no {message}"),
        ("[prompt]", "[prompt]\nfallback_turns = ['x']", "prompt.fallback_turns has no {message}"),
        ("[prompt]", "[prompt]\nbos = 1", "prompt.bos is 1, expected true or false"),
        (
            "[prompt]",
            "[prompt]\ncontext = -1",
            "prompt.context is -1, expected a number, at least 0",
        ),
        ('"en",', "5,", "languages.codes is .*, expected a list of strings"),
        ('"en",', '"EN",', "languages: 'EN' is not a BCP 47 tag"),
        ("[languages]", '[languages]\nthrough = "fr"', "languages.through is 'fr'"),
        ("[languages]", '[languages]\npairs = [["en", "fr"]]', "languages.pairs: .* are not two"),
        ("[[recognise]]", "[recognise]", r"recognise is a table, expected \[\[recognise\]\]"),
        ('name = "mine"', "names = 5", r"recognise\[0\].names is unknown"),
        ('title = "Mine"', 'title = "Mine"\nlayout = "xml"', "layout is 'xml', expected frame or"),
        ('title = "Mine"', 'title = "Mine"\nsizes = [["1B", "1"]]', "sizes has"),
        ("[languages]", "[prompt.addresses]\nrude = 'x'\n[languages]", "prompt.addresses.rude is"),
        ('title = "Mine"', "title = ", "not readable as TOML: "),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, problem: str, tmp_path: Path) -> None:
    assert old in WHOLE
    with pytest.raises(ProfileError, match=rf"mine.toml: {problem}"):
        read_profile(write(tmp_path, WHOLE.replace(old, new)))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="none.toml: not found"):
        read_profile(tmp_path / "none.toml")
    with pytest.raises(ProfileError, match="cannot be read: "):
        read_profile(tmp_path)


def test_a_sign_holds_where_all_that_it_names_does() -> None:
    sign = Sign(("llama",), "(?i)euro", ("<|im_start|>",), ("<a>",))
    given = ("llama", ["", "EuroLLM"], "x<|im_start|>", {"<a>": 1})
    assert sign.fits(*given)
    for i, other in enumerate(("gemma", ["x"], "", {})):
        changed = [*given[:i], other, *given[i + 1 :]]
        assert not sign.fits(*changed)  # type: ignore[arg-type]
