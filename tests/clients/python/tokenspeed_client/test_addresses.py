"""Addresses that users give, and where they lead."""

import pytest

from tokenspeed_client.addresses import listen_url, rooms_url, stream_url, with_query


def test_addresses_lead_to_the_stream() -> None:
    assert stream_url("http://a.example") == "ws://a.example/v1/stream"
    assert stream_url("https://a.example/base/") == "wss://a.example/base/v1/stream"
    assert stream_url("wss://a.example/v1/stream") == "wss://a.example/v1/stream"


def test_addresses_lead_to_the_rooms() -> None:
    assert rooms_url("wss://a.example/base/v1/stream") == "https://a.example/base/v1/rooms"
    with pytest.raises(ValueError, match="expected http"):
        rooms_url("a.example")


def test_addresses_lead_to_the_readers() -> None:
    wanted = "wss://a.example/base/v1/rooms/x/listen"
    for path in ("r/x", "v1/rooms/x", "v1/rooms/x/listen"):
        assert listen_url(f"https://a.example/base/{path}") == wanted
    for url in ("https://a.example/", "a.example/r/x", "http://a.example/r/"):
        with pytest.raises(ValueError, match="expected a URL such as"):
            listen_url(url)


def test_parameters_replace_those_of_the_same_names() -> None:
    assert with_query("ws://a.example/x?a=1&b=2", {"b": "3", "c": "4 5"}) == (
        "ws://a.example/x?a=1&b=3&c=4+5"
    )
