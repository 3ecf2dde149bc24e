"""Opening and closing lines."""

import time

import pytest

from tests.clients.network import Network
from tests.service.conftest import Service
from tokenspeed_client.sockets import NoLine, close_line, open_line


async def test_nobody_answers_in_time(service: Service) -> None:
    async with Network(service.port).running() as network:
        network.is_deaf = True
        with pytest.raises(NoLine, match="no answer within 0.1 s"):
            await open_line(f"ws://127.0.0.1:{network.port}/v1/stream", {}, 0.1, {})
    with pytest.raises(NoLine):
        await open_line(f"ws://127.0.0.1:{network.port}/v1/stream", {}, 5, {})


async def test_something_else_answers(service: Service) -> None:
    with pytest.raises(NoLine, match="HTTP 403"):
        await open_line(f"ws://127.0.0.1:{service.port}/nothing", {}, 5, {})


async def test_a_dead_line_is_closed_soon(service: Service) -> None:
    async with Network(service.port).running() as network:
        socket = await open_line(f"ws://127.0.0.1:{network.port}/v1/stream", {}, 5, {})
        network.is_deaf = True
        began_s = time.monotonic()
        await close_line(socket)
        assert time.monotonic() - began_s < 5
