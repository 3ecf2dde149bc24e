"""Which way a piece takes into a language."""

import pytest

from service.captions.job import JobKey
from service.captions.policy import PRESETS, Source
from service.captions.routes import for_pivot, for_target, is_pivoted
from service.captions.settings import ModelInfo
from service.captions.stream import TargetStream
from service.wire.protocol import LanguageInfo
from tests.service.fakes import ids, new_detokenizer

MODEL = ModelInfo(
    "fake",
    (
        LanguageInfo("de", "German", ("en", "fr"), ("fr",)),
        LanguageInfo("en", "English", ("de", "fr")),
        LanguageInfo("fr", "French", ("en",)),
    ),
)
GERMAN = Source("Wir gehen.", 2, is_open=False, language="de")


def pivot() -> TargetStream:
    found = TargetStream("s", "a", None, "en", PRESETS["low"], new_detokenizer, is_pivot=True)
    (job,), _ = found.revise([GERMAN], 1, 10.0)
    assert job.key == JobKey("s", "a", "en", 0, is_pivot=True)
    found.complete(job, ids("We go."), is_whole=True)
    return found


@pytest.mark.parametrize(("target", "takes_two"), [("fr", True), ("en", False), ("de", False)])
def test_only_a_pair_that_is_lacking_takes_two_passes(target: str, takes_two: bool) -> None:
    assert is_pivoted([Source("OK", 1), GERMAN], target, MODEL) == takes_two
    read = for_target(GERMAN, 0, target, pivot(), None, MODEL)
    assert (read.text, read.language) == (("We go.", "en") if takes_two else ("Wir gehen.", "de"))
    first = for_pivot(GERMAN, [target], MODEL)
    assert first.language == ("de" if takes_two else "en")


def test_a_language_that_cannot_be_translated_is_taken_for_the_one_named() -> None:
    french = Source("Nous allons.", 2, language="fr")
    assert for_target(french, 0, "de", None, "en", MODEL).language == "en"
    assert for_target(french, 0, "de", None, None, MODEL).language is None
    assert for_target(french, 0, "en", None, "de", MODEL) is french


def test_a_language_that_nobody_knows_passes_through() -> None:
    italian = Source("Ciao a tutti.", 3, language="it")
    assert for_target(italian, 0, "de", None, "en", MODEL).language == "de"
    assert for_pivot(italian, ["fr"], MODEL).language == "en"
    assert not MODEL.knows("it")
    assert MODEL.knows(None)
