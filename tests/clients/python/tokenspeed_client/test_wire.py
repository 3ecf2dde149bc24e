"""Frames against the service's own reader and writer."""

from dataclasses import asdict
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from service.wire import protocol
from tests.service.wire.protocol.test_frames import JSON, messages_of
from tokenspeed_client import events
from tokenspeed_client.wire import FrameError, UnknownEvent, parse, serialise

SERVER = st.sampled_from(sorted(protocol.SERVER_EVENTS)).flatmap(
    lambda name: messages_of(protocol.SERVER_EVENTS[name])
)
CLIENT = st.sampled_from(sorted(protocol.CLIENT_EVENTS)).flatmap(
    lambda name: messages_of(getattr(events, protocol.CLIENT_EVENTS[name].__name__))
)


@given(SERVER)
def test_what_the_service_writes_is_read(event: Any) -> None:
    read = parse(protocol.serialise(event))
    assert type(read).__name__ == type(event).__name__
    assert asdict(read) == asdict(event)


@given(CLIENT)
def test_what_is_written_the_service_reads(event: Any) -> None:
    read = protocol.parse_client(serialise(event))
    assert type(read).__name__ == type(event).__name__
    assert asdict(read) == asdict(event)


def test_what_a_newer_service_adds_is_no_error() -> None:
    assert parse('{"type":"weather","wind":3}') == UnknownEvent(
        "weather", {"type": "weather", "wind": 3}
    )
    pong = parse('{"type":"pong","server_time":1.5,"seq":3,"colour":"blue"}')
    assert pong == events.Pong(1.5, seq=3)
    notice = parse('{"type":"session.notice","code":"not_known_yet","message":"m"}')
    assert isinstance(notice, events.SessionNotice)
    assert str(notice.code) == "not_known_yet"


@given(
    st.binary(max_size=60)
    | st.text(max_size=200)
    | JSON.map(orjson.dumps)
    | st.builds(
        lambda kind, raw: orjson.dumps({**raw, "type": kind}),
        st.sampled_from(sorted(protocol.SERVER_EVENTS)),
        st.dictionaries(st.sampled_from(["session", "segments", "error", "append"]), JSON),
    )
)
def test_nothing_that_comes_raises(frame: str | bytes) -> None:
    assert parse(frame).type


def test_what_is_no_event_is_told_with_its_beginning() -> None:
    assert parse(b"<html>" + b"x" * 200) == FrameError(
        "not an event of tokenspeed.v1: <html>" + "x" * 74
    )
    assert isinstance(parse('{"type":"translation.delta","segment_id":"1"}'), FrameError)
