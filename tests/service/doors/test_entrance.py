"""Who gets in at `/v1/stream`, over real sockets."""

from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service.load.limits import Limits
from service.wire import protocol as p
from tests.service.asyncapi import check_frame
from tests.service.client import Client, session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import close_code, eventually
from tests.service.doors.test_lines import answer, connected
from tests.service.doors.test_socket_line import HANDSHAKE

KEY = "a-key-of-more-than-16"


async def test_too_many_sessions_are_turned_away(run: Run) -> None:
    service = run(max_sessions=1)
    async with session(service.ws) as client:
        await client.receive()
        async with session(service.ws) as late:
            frame = check_frame(await late.socket.recv())
            assert frame["error"]["code"] == "too_many_sessions"
            assert frame["error"]["retryable"]
            assert await close_code(late) == 1013


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("http://127.0.0.1:{port}", True),
        ("http://127.0.0.1:1", False),
        ("https://evil.example", False),
        ("https://friend.example", True),
        ("null", False),
    ],
)
async def test_pages_of_other_sites_stay_outside(run: Run, origin: str, is_allowed: bool) -> None:
    service = run(origins=("https://friend.example",))
    origin = origin.format(port=service.port)
    if is_allowed:
        async with session(service.ws, origin=origin) as client:
            assert isinstance(await client.receive(), p.SessionCreated)
        return
    with pytest.raises(InvalidStatus) as caught:
        async with session(service.ws, origin=origin):
            pass
    assert caught.value.response.status_code == 403


async def test_another_subprotocol_is_refused(service: Service) -> None:
    async with session(service.ws, subprotocols=["tokenspeed.v9"]) as client:
        assert await close_code(client) == 4400
    async with session(service.ws, subprotocols=None) as client:
        assert isinstance(await client.receive(), p.SessionCreated)


async def test_credentials(run: Run) -> None:
    service = run(api_keys=(KEY,))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await http.post("/v1/sessions")).status_code == 401
        reply = await http.post("/v1/sessions", headers={"authorization": f"Bearer {KEY}"})
        ticket = reply.json()
    assert ticket["url"] == service.ws
    headers = {"authorization": f"Bearer {KEY}"}
    async with session(service.ws, additional_headers=headers) as client:
        assert isinstance(await client.receive(), p.SessionCreated)
    async with session(f"{service.ws}?token={ticket['token']}") as client:
        created = await client.receive()
        assert isinstance(created, p.SessionCreated)
        assert created.session.id == ticket["session_id"]
    for url in (f"{service.ws}?token={ticket['token']}", f"{service.ws}?token=x"):  # used up, wrong
        async with session(url) as client:
            (event,) = await client.until(p.Error)
            assert isinstance(event, p.Error)
            assert event.error.code == "unauthorized"
            assert await close_code(client) == 4401
    async with session(service.ws) as client:  # in the first message
        await client.send(p.SessionUpdate(p.SessionParams(), token=KEY))
        assert [
            e.type for e in await client.until(p.SessionCreated, p.SessionUpdated, count=2)
        ] == [
            "session.created",
            "session.updated",
        ]
    for wrong in (p.Ping(), p.SessionUpdate(p.SessionParams())):
        async with session(service.ws) as client:
            await client.send(wrong)
            assert await close_code(client) == 4401
    assert service.state.connections == set()


async def test_who_shows_no_credentials_takes_no_place(run: Run) -> None:
    service = run(api_keys=(KEY,), max_sessions=2)
    token, _ = await service.state.auth.issue("mine", service.state.now_s())
    headers = {"authorization": f"Bearer {KEY}"}
    async with AsyncExitStack() as stack:

        async def enter(url: str = "", **options: Any) -> Client:
            return await stack.enter_async_context(session(url or service.ws, **options))

        silent = [await enter() for _ in range(40)]
        with pytest.raises(ConnectionClosed):
            await silent[0].receive()  # there is room for 16 of them, and the oldest go
        for _ in range(2):
            served = await enter(additional_headers=headers)
            assert isinstance(await served.receive(), p.SessionCreated)
        late = await enter(f"{service.ws}?token={token}")
        (error,) = await late.until(p.Error)
        assert isinstance(error, p.Error)
        assert error.error.code == "too_many_sessions"
        await served.socket.close()
        await eventually(lambda: len(service.state.connections) == 1)
        again = await enter()  # the token was not used up
        await again.send(p.SessionUpdate(p.SessionParams(), token=token))
        created = await again.receive()
        assert isinstance(created, p.SessionCreated)
        assert created.session.id == "mine"


async def test_credentials_are_not_waited_for_long(run: Run) -> None:
    service = run(api_keys=(KEY,), limits=Limits(first_event_s=0.1))
    async with session(service.ws) as client:
        (event,) = await client.until(p.Error)
        assert isinstance(event, p.Error)
        assert event.error.message == "no credentials were sent"
        assert await close_code(client) == 4401


async def test_who_is_turned_away_and_does_not_go_is_cut_off(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.doors.socket.FAREWELL_S", 0.1)
    service = run(api_keys=(KEY,))
    with connected(service) as line:  # which never answers the close
        head = b"GET /v1/stream?token=x HTTP/1.1\r\n" + HANDSHAKE + b"\r\n"
        assert b"unauthorized" in answer(line, head)
