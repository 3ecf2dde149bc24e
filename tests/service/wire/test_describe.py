"""What is read of dataclasses and docstrings, and that nothing undescribed gets through."""

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

import pytest

from service.wire import protocol
from service.wire.describe import description_of, fields_of, objects


@dataclass(frozen=True, slots=True)
class Weather(protocol.ClientEvent):
    """What it is like outside.

    Asked for by nobody.

    Attributes:
        sky: `clear`, or `grey` where
            clouds hang.
        wind_ms: of the last gust.
    """

    type: ClassVar[str] = "weather"
    sky: Literal["clear", "grey"]
    wind_ms: float | None = None


def test_a_docstring_is_split_into_its_text_and_its_fields() -> None:
    text, described = description_of(Weather)
    assert text == "What it is like outside.\n\nAsked for by nobody."
    assert described == {
        "sky": "`clear`, or `grey` where clouds hang",
        "wind_ms": "of the last gust",
    }


def test_fields_know_their_types_and_who_declares_them() -> None:
    event_id, sky, wind = fields_of(Weather)
    assert (event_id.name, event_id.owner) == ("event_id", protocol.ClientEvent)
    assert (sky.hint, sky.is_required, sky.owner) == (Literal["clear", "grey"], True, Weather)
    assert (wind.hint, wind.is_required, wind.default) == (float, False, MISSING)


def test_what_the_server_always_sends_is_required_and_a_client_may_leave_out() -> None:
    stats = {field.name: field for field in fields_of(protocol.FinalStats)}
    assert stats["violations"].is_required
    entry = {field.name: field for field in fields_of(protocol.GlossaryEntry)}
    assert not entry["case_sensitive"].is_required
    assert entry["case_sensitive"].default is False


@pytest.mark.parametrize(
    ("docstring", "problem"),
    [
        ("Sky.\n\nAttributes:\n    sky: `clear` or `grey`.", "only described: wind_ms"),
        (
            "Sky.\n\nAttributes:\n    sky: `clear` or `grey`.\n    wind_ms: fast.\n    rain: wet.",
            "only described: rain",
        ),
        ("Sky.\n\nAttributes:\n    sky: `clear`.\n    wind_ms: fast.", "not explain \\['grey'\\]"),
    ],
)
def test_a_field_without_a_description_is_an_error(
    monkeypatch: pytest.MonkeyPatch, docstring: str, problem: str
) -> None:
    monkeypatch.setattr(Weather, "__doc__", docstring)
    with pytest.raises(ValueError, match=problem):
        fields_of(Weather)


def test_objects_come_once_in_the_order_in_which_they_are_met() -> None:
    found = objects()
    assert len(found) == len(set(found))
    assert found[:3] == [protocol.SessionParams, protocol.SourceParams, protocol.TargetParams]
    assert protocol.SessionUpdate not in found
