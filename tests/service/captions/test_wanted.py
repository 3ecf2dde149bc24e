"""What a client and its readers want, and translations made and brought up to date by it."""

from dataclasses import replace

import pytest

from service.captions.policy import PRESETS
from service.captions.settings import PIVOT, Settings
from service.captions.wanted import Wanted
from service.wire.protocol import GlossaryEntry
from tests.service.captions.desk import MODEL
from tests.service.fakes import new_detokenizer
from tokenspeed.text.glossary import FEW_TERMS

BASE = Settings("en", ("de",), {"de": "formal"})
NOBODY = frozenset[str]()


@pytest.fixture
def wanted() -> Wanted:
    found = Wanted("s", MODEL, new_detokenizer, PRESETS)
    found.follow(BASE, NOBODY)
    return found


def test_readers_add_languages_that_can_be_had(wanted: Wanted) -> None:
    assert list(wanted.targets) == ["de"]
    wanted.follow(BASE, frozenset({"fr", "de", "es", "xx"}))
    assert list(wanted.targets) == ["de", "es", "fr"]
    assert [each for each in ("de", "es", "fr", "xx") if wanted.is_told(each)] == ["de"]
    assert wanted.is_told("pt")  # begun for the client, who no longer wants it


def test_a_new_translation_is_as_the_settings_have_it(wanted: Wanted) -> None:
    stream = wanted.stream("a", "de")
    assert (stream.target, stream.is_pivot, stream.preset) == ("de", False, PRESETS["balanced"])
    assert wanted.stream("a", "de").hygiene is stream.hygiene
    first_pass = wanted.pivot("a")
    assert (first_pass.target, first_pass.is_pivot) == (PIVOT, True)
    assert first_pass.hygiene.target == PIVOT


def test_one_under_way_is_brought_up_to_date(wanted: Wanted) -> None:
    stream, first_pass = wanted.stream("a", "de"), wanted.pivot("a")
    before = stream.hygiene
    wanted.renew(stream)
    assert (stream.hygiene, stream.formality) == (before, None)
    wanted.address(stream)
    assert stream.formality == "formal"
    words = (GlossaryEntry("cable", "KABEL"),)
    wanted.follow(replace(BASE, glossary=words, stability="low", formality={}), NOBODY)
    for each in (stream, first_pass):
        wanted.address(each)
        assert each.preset is PRESETS["low"]
    assert stream.hygiene is not before
    assert stream.formality is None
    assert first_pass.hygiene.target == PIVOT


def test_a_long_glossary_can_be_made_ready_ahead(wanted: Wanted) -> None:
    assert wanted.preparation(BASE) is None
    words = tuple(GlossaryEntry(f"word {i}", f"Wort {i}") for i in range(FEW_TERMS + 1))
    settings = replace(BASE, glossary=words)
    prepare = wanted.preparation(settings)
    assert prepare is not None
    prepare()
    wanted.follow(settings, NOBODY)
    assert wanted.preparation(settings) is None
    assert wanted.cutting is wanted.stream("a", "de").hygiene
