"""What stands in for our own lines where somebody else holds the sockets."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from service.config import Config
from service.doors.relayed import Relayed
from service.doors.socket import LINE, Line
from service.load.limits import Limits

BOUND = 16


class App:
    """Takes frames until the client is gone, and tries to answer each of them."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.taken: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] != "websocket":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        while True:
            message = await receive()
            self.taken.append(message)
            if message["type"] == "websocket.disconnect":
                with pytest.raises(OSError, match="closed"):
                    await send({"type": "websocket.send", "text": "too late"})
                return
            await send({"type": "websocket.send", "text": "taken"})


def asked(app: App, scope: Scope, messages: list[Message], **settings: Any) -> list[Message]:
    """Hand a request or a socket over; return what is sent back."""
    sent: list[Message] = []
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    config = Config(limits=Limits(frame_bytes=BOUND), **settings)
    asyncio.run(Relayed(app, config)(scope, receive, send))
    return sent


def socket_from(client: str) -> Scope:
    return {"type": "websocket", "client": (client, 1), "path": "/v1/stream", "headers": []}


@given(
    st.lists(st.one_of(st.text(max_size=BOUND + 2), st.binary(max_size=BOUND + 2)), max_size=6),
    st.one_of(st.text(min_size=BOUND + 1), st.binary(min_size=BOUND + 1)),
)
def test_frames_come_through_up_to_the_one_that_is_too_long(
    frames: list[str | bytes], last: str | bytes
) -> None:
    def size(frame: str | bytes) -> int:
        return len(frame.encode() if isinstance(frame, str) else frame)

    def message(frame: str | bytes) -> Message:
        kind = "text" if isinstance(frame, str) else "bytes"
        return {"type": "websocket.receive", kind: frame}

    app = App()
    everything = [*frames, last, "behind it"]
    sent = asked(app, socket_from("127.0.0.1"), [message(frame) for frame in everything])
    bad = next(number for number, frame in enumerate(everything) if size(frame) > BOUND)
    assert app.taken[:-1] == [message(frame) for frame in everything[:bad]]
    assert app.taken[-1]["code"] == 1009
    assert [each["type"] for each in sent] == ["websocket.send"] * bad + ["websocket.close"]
    assert sent[-1]["code"] == 1009


@pytest.mark.parametrize("is_stuck_in", ["receive", "send"])
async def test_a_line_that_does_not_end_by_itself_can_be_cut(is_stuck_in: str) -> None:
    never = asyncio.Event()
    ends: list[Message] = []
    lines: list[Line] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        lines.append(scope["extensions"][LINE])
        if is_stuck_in == "send":
            with pytest.raises(OSError, match="cut"):
                await send({"type": "websocket.send", "text": "hello"})
        ends.append(await receive())
        ends.append(await receive())  # however often it asks

    async def wait() -> Message:
        await never.wait()
        raise AssertionError

    async def take(message: Message) -> None:
        await never.wait()

    serving = asyncio.create_task(Relayed(app, Config())(socket_from("127.0.0.1"), wait, take))
    await asyncio.sleep(0)
    assert not serving.done()
    lines[0].abort()
    async with asyncio.timeout(10):
        await serving
    assert [(end["type"], end["code"]) for end in ends] == [("websocket.disconnect", 1006)] * 2


class Died(Exception):
    """Whoever holds the sockets is gone."""


@pytest.mark.parametrize(("kind", "code"), [("websocket", 1006), ("http", None)])
async def test_whoever_holds_the_sockets_may_die(kind: str, code: int | None) -> None:
    ends: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        ends.extend([await receive(), await receive()])
        if kind == "websocket":
            with pytest.raises(OSError, match="cut"):
                await send({"type": "websocket.send", "text": "too late"})

    async def receive() -> Message:
        raise Died

    async def send(message: Message) -> None:
        raise AssertionError

    scope: Scope = {**socket_from("127.0.0.1"), "type": kind}
    await Relayed(app, Config(), failures=(Died,))(scope, receive, send)
    assert [(end["type"], end.get("code")) for end in ends] == [(f"{kind}.disconnect", code)] * 2
    with pytest.raises(Died):  # a failure that nobody named is a bug
        await Relayed(app, Config())(scope, receive, send)


@pytest.mark.parametrize(
    ("client", "settings", "is_let_in"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("10.0.0.9", {}, False),
        ("", {}, False),
        ("10.0.0.9", {"host": "0.0.0.0", "is_insecure": True}, True),
        ("10.0.0.9", {"api_keys": ("k" * 16,)}, True),
    ],
)
def test_who_is_elsewhere_needs_a_service_that_is_meant_for_others(
    client: str, settings: dict[str, Any], is_let_in: bool
) -> None:
    app = App()
    http: Scope = {"type": "http", "client": (client, 1), "path": "/", "headers": []}
    (start, _) = asked(app, http, [], **settings)
    assert start["status"] == (200 if is_let_in else 403)
    assert len(app.scopes) == is_let_in
    gone: list[Message] = [{"type": "websocket.receive", "text": "x" * (BOUND + 1)}]
    sent = asked(app, socket_from(client), gone, **settings)
    assert sent[-1]["code"] == (1009 if is_let_in else 1008)


def test_a_proxy_that_is_trusted_says_where_a_client_is() -> None:
    app = App()
    forwarded = [(b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https")]
    http: Scope = {
        "type": "http",
        "scheme": "http",
        "client": ("10.0.0.9", 1),
        "path": "/",
        "headers": forwarded,
    }
    keys = ("k" * 16,)
    asked(app, dict(http), [], api_keys=keys)
    asked(app, dict(http), [], api_keys=keys, proxies=("10.0.0.0/8",))
    plain, trusted = app.scopes
    assert (plain["client"][0], plain["scheme"]) == ("10.0.0.9", "http")
    assert (trusted["client"][0], trusted["scheme"]) == ("198.51.100.7", "https")
    assert trusted["extensions"] == {}


def test_the_beginning_and_the_end_of_the_application_come_through() -> None:
    app = App()
    asked(app, {"type": "lifespan"}, [])
    assert app.scopes == [{"type": "lifespan"}]
