"""What is done to texts follows the settings, and is compiled again only where words changed."""

import pytest

from service.captions.hygienes import Hygienes
from service.captions.settings import Settings
from service.wire.protocol import GlossaryEntry, SessionParams, SourceParams, TargetParams
from tests.service.captions.test_settings import MODEL

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
