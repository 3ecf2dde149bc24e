"""The wire: round trips, refusals that name the field, and the published document."""

from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import ProtocolError
from service.wire import protocol
from service.wire.protocol import parse_client
from service.wire.protocol.frames import MAX_ITEMS
from tests.service.asyncapi import check_frame

IDS = st.text(min_size=1, max_size=20)
TEXT = st.text(max_size=40)
ALL_EVENTS: dict[str, Any] = {**protocol.CLIENT_EVENTS, **protocol.SERVER_EVENTS}


def strategy_of(hint: Any, name: str) -> st.SearchStrategy[Any]:
    """Values that the wire carries for a field."""
    origin = get_origin(hint)
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        return st.lists(strategy_of(get_args(hint)[0], ""), max_size=3).map(tuple)
    if is_dataclass(hint):
        return messages_of(hint)
    if origin is not None:  # X | None
        kind = next(kind for kind in get_args(hint) if kind is not type(None))
        return st.none() | strategy_of(kind, name)
    if hint is str:
        return IDS if name in protocol.ID_FIELDS else TEXT
    if hint is float:
        return st.floats(0, 1e9)
    return st.booleans() if hint is bool else st.integers(0, protocol.MAX_INT)


def messages_of(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    parts = {f.name: strategy_of(hints[f.name], f.name) for f in fields(kind)}
    return st.builds(kind, **parts)


@given(st.sampled_from(sorted(ALL_EVENTS)).flatmap(lambda name: messages_of(ALL_EVENTS[name])))
def test_parse_undoes_serialise_and_the_document_agrees(event: Any) -> None:
    frame = protocol.serialise(event)
    is_client = event.type in protocol.CLIENT_EVENTS
    parse = protocol.parse_client if is_client else protocol.parse_server
    assert parse(frame) == event
    check_frame(frame)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELD_NAMES = sorted({f.name for kind in ALL_EVENTS.values() for f in fields(kind)})


@example(frame=b'{"type":"ping","event_id":"","id":null}')  # a name that cannot be echoed
@given(
    st.binary(max_size=60)
    | JSON.map(orjson.dumps)
    | st.builds(
        lambda kind, raw: orjson.dumps({**raw, "type": kind}),
        st.sampled_from(sorted(protocol.CLIENT_EVENTS)),
        st.dictionaries(st.sampled_from(FIELD_NAMES), JSON, max_size=6),
    )
)
def test_arbitrary_frames_raise_nothing_but_protocol_errors(frame: bytes) -> None:
    try:
        event = protocol.parse_client(frame)
    except ProtocolError as exc:
        check_frame(protocol.serialise(protocol.error_event(exc)))
    else:
        check_frame(protocol.serialise(event))


@pytest.mark.parametrize(
    ("frame", "param", "code"),
    [
        ('{"type": "source.update"}', "rev", "invalid_event"),
        ('{"type": "source.update", "rev": "1"}', "rev", "invalid_event"),
        ('{"type": "source.update", "rev": true}', "rev", "invalid_event"),
        ('{"type": "source.update", "rev": -1}', "rev", "invalid_event"),
        ('{"type": "source.update", "rev": 1, "segment_id": ""}', "segment_id", "invalid_event"),
        ('{"type": "source.append", "text": 5}', "text", "invalid_event"),
        ('{"type": "session.update", "session": []}', "session", "invalid_event"),
        ('{"type": "session.update", "session": {"mode": "x"}}', "session.mode", "invalid_event"),
        (
            '{"type": "session.update", "session": {"targets": [{"language": 3}]}}',
            "session.targets[0].language",
            "invalid_event",
        ),
        (
            '{"type": "session.update", "session": {"glossary": [{"source": "a"}]}}',
            "session.glossary[0].target",
            "glossary_invalid",
        ),
        ('{"type": "nothing"}', "type", "invalid_event"),
        ('{"type": ["ping"]}', "type", "invalid_event"),
        ("{}", "type", "invalid_event"),
        ("[1]", None, "invalid_event"),
        ("{", None, "invalid_event"),
    ],
)
def test_a_refusal_names_the_field(frame: str, param: str | None, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.parse_client(frame)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_an_error_echoes_the_event_id_and_unknown_fields_are_ignored() -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.parse_client('{"type": "source.append", "event_id": "e7"}')
    error = protocol.error_event(caught.value).error
    assert (error.event_id, error.type, error.retryable) == ("e7", "invalid_request", False)
    assert protocol.parse_client('{"type": "ping", "id": "a", "new": {}}') == protocol.Ping("a")


def test_a_list_of_settings_is_bounded_before_it_is_read() -> None:
    for name in ("targets", "do_not_translate", "glossary"):
        event = {"type": "session.update", "session": {name: [None] * (MAX_ITEMS + 1)}}
        with pytest.raises(ProtocolError, match="at most") as caught:
            parse_client(orjson.dumps(event))
        assert caught.value.param == f"session.{name}"


def test_a_deep_value_is_not_repeated() -> None:
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ProtocolError, match="unknown type an array"):
        parse_client(orjson.dumps({"type": deep}))
    with pytest.raises(ProtocolError, match="is an array, expected one of"):
        parse_client(orjson.dumps({"type": "session.update", "session": {"mode": deep}}))
