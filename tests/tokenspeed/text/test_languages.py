import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text import languages
from tokenspeed.text.languages import (
    code_of,
    matched,
    mentions,
    name_of,
    normalise,
    primary,
    script_of,
)

OURS = ("de", "en", "es", "fr")


def codes(text: str) -> list[str]:
    return [mention.code for mention in mentions(text, OURS)]


@pytest.mark.parametrize(
    ("tag", "normal", "language"),
    [
        ("EN_us", "en-US", "en"),
        ("deu", "de", "de"),
        ("ger", "de", "de"),
        ("iw", "he", "he"),
        ("zh-hans-cn", "zh-Hans-CN", "zh"),
        ("es-419", "es-419", "es"),
        ("ca-valencia", "ca-valencia", "ca"),
        (" fr ", "fr", "fr"),
        ("x-house", None, "x"),
        ("", None, None),
        ("e", None, "e"),
        ("français", None, "français"),
    ],
)
def test_tags_are_written_as_bcp_47_does(tag: str, normal: str | None, language: str) -> None:
    assert normalise(tag) == normal
    assert primary(tag) == language


def test_no_language_and_auto_are_none() -> None:
    assert primary(None) is None
    assert primary("auto") is primary("AUTO") is None


@given(st.text(max_size=12))
def test_a_normal_tag_stays_as_it_is(tag: str) -> None:
    normal = normalise(tag)
    assert normal is None or normalise(normal) == normal


def test_languages_have_names_in_every_language() -> None:
    assert [name_of("de", language) for language in OURS] == [
        "Deutsch",
        "German",
        "alemán",
        "allemand",
    ]
    assert name_of("it") == "Italian"
    assert name_of("pt-br") == "Brazilian Portuguese"
    assert name_of("en-QQ") == "English"
    assert name_of("qqq") == name_of("qqq", "qqq") == "qqq"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("German", "de"),
        ("allemand", "de"),
        ("ALEMÁN", "de"),
        ("aleman", "de"),
        ("Deutsch", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("ger", "de"),
        ("Italienisch", "it"),
        ("Brazilian Portuguese", "pt"),
        ("nobody's", None),
        ("", None),
        ("auto", None),
    ],
)
def test_a_language_is_found_by_code_and_by_name(name: str, code: str | None) -> None:
    assert code_of(name, OURS) == code


@given(st.sampled_from(OURS), st.sampled_from(OURS))
def test_each_name_leads_back_to_its_code(code: str, language: str) -> None:
    assert code_of(name_of(code, language), OURS) == code


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Render this into French, never into Spanish.", ["fr", "es"]),
        ("English to Italian", ["en", "it"]),
        ("Übersetze ins Deutsche, aus dem Englischen", ["de", "en"]),
        ("traduis en langue allemande", ["de"]),
        ("de l'anglais vers l’espagnol", ["en", "es"]),
        ("de la prensa inglesa, al ALEMAN", ["en", "de"]),
        ("EN to DE. DO IT NOW", ["en", "de"]),
        ("en->it", ["en", "it"]),
        ("translate `en` to `it`", ["en", "it"]),
        ("to pt-BR, de-AT or fr_CA", ["pt", "de", "fr"]),
        ("Brazilian Portuguese even if it is hard", ["pt"]),
        ("es de noche, has ido a la spa, el en so to-do", []),
        ("", []),
    ],
)
def test_mentions_are_names_and_codes_meant_as_such(text: str, named: list[str]) -> None:
    assert codes(text) == named


@given(st.text(max_size=60))
def test_mentions_stand_in_order_and_do_not_overlap(text: str) -> None:
    found = mentions(text, OURS)
    ends = [0, *(mention.end for mention in found)]
    assert all(
        end <= mention.start < mention.end for end, mention in zip(ends, found, strict=False)
    )


@pytest.mark.parametrize(
    ("tag", "languages", "code"),
    [
        ("en-US", ["de", "en"], "en"),
        ("pt", ["pt-BR"], "pt-BR"),
        ("pt-BR", ["pt"], "pt"),
        ("PT_br", ["pt", "pt-BR"], "pt-BR"),
        ("pt-PT", ["pt", "pt-BR"], "pt"),
        ("zh", ["zh-Hans", "zh-Hant"], "zh-Hans"),
        ("zh-TW", ["zh-Hans", "zh-Hant"], "zh-Hant"),
        ("zh-HK", ["zh", "zh-Hant"], "zh-Hant"),
        ("zh-CN", ["zh", "zh-Hant"], "zh"),
        ("zh-Hant", ["zh"], "zh"),
        ("sr-Latn", ["sr", "sr-Latn"], "sr-Latn"),
        ("nb", ["no"], "no"),
        ("no", ["nb", "nn"], "nb"),
        ("tl", ["fil"], "fil"),
        ("iw", ["he"], "he"),
        ("it-CH", ["de"], "it"),
        ("auto", ["de"], None),
        (None, ["de"], None),
    ],
)
def test_a_tag_asks_for_the_language_that_fits_it(
    tag: str | None, languages: list[str], code: str | None
) -> None:
    assert matched(tag, languages) == code


def test_names_may_say_the_region_or_the_script_of_what_is_there() -> None:
    ours = ["en", "pt", "pt-BR", "zh-Hans", "zh-Hant"]
    assert code_of("Brazilian Portuguese", ours) == "pt-BR"
    assert code_of("traditional chinese", ours) == "zh-Hant"
    assert code_of("Chinese", ours) == "zh-Hans"
    assert code_of("zh-TW", ours) == "zh-Hant"
    assert name_of("zh-Hant") == "Traditional Chinese"
    assert [script_of(tag) for tag in ("ar", "he", "th", "uz-Arab", "sr")] == [
        *("Arab", "Hebr", "Thai", "Arab", "Cyrl"),
    ]


def test_what_is_too_long_for_a_tag_is_none_and_is_not_kept() -> None:
    before = languages._normalised.cache_info().currsize, languages._script_of.cache_info().currsize
    for i in range(10):
        assert normalise(f"{i}" + "x" * 10_000) is None
        assert script_of(f"{i}" + "x" * 10_000) is None
        assert primary("DE" + "x" * 10_000) == "de" + "x" * 10_000
    after = languages._normalised.cache_info().currsize, languages._script_of.cache_info().currsize
    assert after == before
