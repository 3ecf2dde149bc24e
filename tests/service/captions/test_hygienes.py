"""What is done to texts follows the settings, and is compiled again only where words changed."""

from dataclasses import replace

import pytest

from service.captions.hygienes import Hygienes
from service.captions.settings import Settings
from service.wire.protocol import (
    GlossaryEntry,
    LanguageInfo,
    SessionParams,
    SourceParams,
    TargetParams,
)
from tests.service.captions.test_settings import MODEL
from tokenspeed.text.glossary_files import HouseGlossary, Row

BASE = Settings().merged(
    SessionParams(
        source=SourceParams("en"),
        targets=(TargetParams("de"), TargetParams("fr")),
        glossary=(GlossaryEntry("cable", "KABEL"),),
    ),
    MODEL,
    3,
)


def changed(**params: object) -> Settings:
    return BASE.merged(SessionParams(**params), MODEL, 3)  # type: ignore[arg-type]


@pytest.fixture
def hygienes() -> Hygienes:
    found = Hygienes(MODEL)
    found.follow(BASE, BASE.targets)
    return found


def test_there_is_one_for_each_target_that_is_wanted(hygienes: Hygienes) -> None:
    assert set(hygienes.by_target) == {"de", "fr"}
    german, french = hygienes.by_target["de"], hygienes.by_target["fr"]
    assert german.glossary is french.glossary  # no entry is of one language alone
    hygienes.follow(BASE, ("de",))
    assert hygienes.by_target == {"de": german}


@pytest.mark.parametrize("params", [{"stability": "high"}, {"timing": True}, {"context": 1}])
def test_other_settings_compile_nothing(hygienes: Hygienes, params: dict[str, object]) -> None:
    before, pivot = dict(hygienes.by_target), hygienes.pivot
    hygienes.follow(changed(**params), ("de", "fr", "en"))
    assert all(hygienes.by_target[target] is before[target] for target in before)
    assert hygienes.pivot is pivot


@pytest.mark.parametrize(
    "params",
    [
        {"glossary": (GlossaryEntry("cable", "Leitung"),)},
        {"do_not_translate": ("Quid",)},
        {"source": SourceParams("auto")},
    ],
)
def test_other_words_compile_all_of_them(hygienes: Hygienes, params: dict[str, object]) -> None:
    before, pivot = dict(hygienes.by_target), hygienes.pivot
    hygienes.follow(changed(**params), ("de", "fr"))
    assert all(hygienes.by_target[target] is not before[target] for target in before)
    assert hygienes.pivot is not pivot


def test_an_entry_of_one_language_is_in_no_other(hygienes: Hygienes) -> None:
    entries = (GlossaryEntry("cable", "KABEL", language="de"),)
    hygienes.follow(changed(glossary=entries), ("de", "fr"))
    german, french = hygienes.by_target["de"], hygienes.by_target["fr"]
    assert german.glossary is not french.glossary
    assert [found.wanted for found in german.glossary.find("a cable")] == ["KABEL"]
    assert list(french.glossary.find("a cable")) == []


def test_texts_can_be_cut_before_anybody_wants_them() -> None:
    assert list(Hygienes(MODEL).cutting.cut("We go. We rest.")) != []


def test_what_was_made_ahead_is_used_when_the_settings_come(hygienes: Hygienes) -> None:
    entries = tuple(GlossaryEntry(f"word {i}", f"Wort {i}") for i in range(100))
    before = dict(hygienes.by_target)
    coming = changed(glossary=entries)
    assert hygienes.takes_long(coming, ("de", "fr"))
    hygienes.prepare(coming, ("de", "fr"))
    assert hygienes.by_target == before  # not yet
    hygienes.follow(coming, ("de", "fr", "en"))
    assert set(hygienes.by_target) == {"de", "fr", "en"}
    for hygiene in hygienes.by_target.values():
        assert not hygiene.glossary.takes_long
        assert [found.wanted for found in hygiene.glossary.find("the word 7")] == ["Wort 7"]
    assert not hygienes.takes_long(coming, ("de", "fr"))


def test_what_was_made_for_other_settings_is_not_used(hygienes: Hygienes) -> None:
    many = tuple(GlossaryEntry(f"word {i}", f"Wort {i}") for i in range(100))
    hygienes.prepare(changed(glossary=many), ("de", "fr"))
    hygienes.follow(changed(glossary=(*many, GlossaryEntry("word 100", "other"))), ("de",))
    (found,) = hygienes.by_target["de"].glossary.find("word 100")
    assert found.wanted == "other"


@pytest.mark.parametrize("params", [{"stability": "high"}, {"do_not_translate": ("Quid",)}])
def test_a_few_words_are_not_made_ahead(hygienes: Hygienes, params: dict[str, object]) -> None:
    assert not hygienes.takes_long(changed(**params), ("de", "fr"))


def test_the_first_of_two_passes_is_made_ahead_where_there_is_one() -> None:
    german = LanguageInfo("de", "German", ("en", "fr"), pivot_targets=("fr",))
    model = replace(MODEL, languages=(MODEL.languages[0], german))
    entries = tuple(GlossaryEntry(f"Wort {i}", f"mot {i}") for i in range(100))
    params = SessionParams(
        source=SourceParams("de"), targets=(TargetParams("fr"),), glossary=entries
    )
    coming = Settings().merged(params, model, 3)
    hygienes = Hygienes(model)
    hygienes.prepare(coming, ("fr",))
    hygienes.follow(coming, ("fr",))
    assert not hygienes.pivot.glossary.takes_long


def test_a_language_that_comes_later_is_made_ahead_if_it_has_terms_of_its_own() -> None:
    both = ("de", "fr")
    entries = tuple(GlossaryEntry(f"word {i}", f"mot {i}", language="fr") for i in range(100))
    settings = changed(glossary=entries)
    hygienes = Hygienes(MODEL)
    hygienes.follow(settings, ("de",))
    german = hygienes.by_target["de"]
    assert not hygienes.takes_long(settings, ("de",))
    assert hygienes.takes_long(settings, both)
    hygienes.prepare(settings, both)
    hygienes.follow(settings, both)
    assert hygienes.by_target["de"] is german
    french = hygienes.by_target["fr"].glossary
    assert not french.takes_long
    assert [found.wanted for found in french.find("a word 7")] == ["mot 7"]
    assert not hygienes.takes_long(settings, both)


def test_terms_of_the_house_for_one_language_are_in_no_other() -> None:
    rows = (Row("tower", "TURM", None, "de"), Row("bridge", "PONT", None, "fr"))
    hygienes = Hygienes(replace(MODEL, house=HouseGlossary(rows)))
    hygienes.follow(BASE, ("de", "fr"))
    french = hygienes.by_target["fr"].glossary
    assert [found.wanted for found in french.find("a tower, a bridge, a cable")] == [
        "PONT",
        "KABEL",
    ]
