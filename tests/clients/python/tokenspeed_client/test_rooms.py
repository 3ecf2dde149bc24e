"""Opening rooms."""

import pytest

from tests.service.conftest import Run, Service
from tokenspeed_client import NotConnected, Refused, open_room


async def test_a_room_is_opened(service: Service) -> None:
    room = await open_room(service.ws, "Board meeting")
    assert room.name == "Board meeting"
    assert room.view_url == f"{service.http}/r/{room.id}"
    assert room.host_token


async def test_a_service_with_keys_wants_one(run: Run) -> None:
    service = run(api_keys=("a-key-of-somebody",))
    with pytest.raises(Refused, match="an API key is needed") as caught:
        await open_room(service.http)
    assert caught.value.code == 401
    assert (await open_room(service.http, api_key="a-key-of-somebody")).id


async def test_nobody_there_is_told() -> None:
    with pytest.raises(NotConnected):
        await open_room("http://127.0.0.1:1")
