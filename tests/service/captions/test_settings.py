"""Settings of a session: merged whole or not at all, and told as they are applied."""

import pytest

from service.captions.policy import PRESETS
from service.captions.settings import MAX_TERMS, ModelInfo, Settings
from service.errors import ProtocolError
from service.wire.protocol import (
    GlossaryEntry,
    LanguageInfo,
    SessionParams,
    SourceParams,
    TargetParams,
)

MODEL = ModelInfo(
    "tiny",
    (LanguageInfo("en", "English", ("de", "fr")), LanguageInfo("de", "German", ("en",))),
    max_context=1,
)
GERMAN = (TargetParams("de"),)


def merged(**params: object) -> Settings:
    return Settings().merged(SessionParams(**params), MODEL, 2)  # type: ignore[arg-type]


def test_what_is_absent_stays_as_it_is() -> None:
    first = merged(source=SourceParams("en-GB"), targets=GERMAN, stability="high", timing=True)
    second = first.merged(SessionParams(mode="append_only"), MODEL, 2)
    assert (second.source, second.targets, second.timing) == ("en", ("de",), True)
    assert first.preset(PRESETS) == PRESETS["high"]
    assert second.preset(PRESETS) == PRESETS["append_only"]
    assert second.applied().targets == GERMAN


def test_no_more_context_is_applied_than_the_model_was_trained_with() -> None:
    assert merged(context=2).applied().context == 1


def test_languages_are_named_once_and_without_their_region() -> None:
    found = merged(targets=(TargetParams("de-AT"), TargetParams("de_CH"), TargetParams("FR")))
    assert found.targets == ("de", "fr")


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"context": 3}, "invalid_event", "session.context"),
        ({"source": SourceParams("ja")}, "unsupported_language", "session.source.language"),
        ({"targets": (TargetParams("ja"),)}, "unsupported_language", "session.targets[0].language"),
        ({"targets": (TargetParams("auto"),)}, "unsupported_language",
         "session.targets[0].language"),
        ({"targets": tuple(map(TargetParams, ("de", "fr", "en")))}, "invalid_event",
         "session.targets"),
        ({"do_not_translate": (" x",)}, "glossary_invalid", "session.do_not_translate[0]"),
        ({"do_not_translate": ("x" * 101,)}, "glossary_invalid", "session.do_not_translate[0]"),
        ({"do_not_translate": ("x",) * (MAX_TERMS + 1)}, "glossary_invalid",
         "session.do_not_translate"),
        ({"glossary": (GlossaryEntry("a", "b"), GlossaryEntry("A", "c"))}, "glossary_invalid",
         "session.glossary[1].target"),
        ({"glossary": (GlossaryEntry("a", "b", language="ja"),)}, "glossary_invalid",
         "session.glossary[0].language"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_named(
    params: dict[str, object], code: str, param: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        merged(**params)
    assert (caught.value.code, caught.value.param) == (code, param)
