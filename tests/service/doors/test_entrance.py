"""Who gets in at `/v1/stream`, over real sockets."""

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from service.wire import protocol as p
from tests.service.asyncapi import check_frame
from tests.service.client import session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import close_code

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
    async with session(service.ws) as client:
        await client.send(p.Ping())
        assert await close_code(client) == 4401
