"""A server process, and what is read of it."""

from pathlib import Path

import pytest

from service.bench.served import Served, ServerFailed, serving
from tests.service.conftest import Service


async def test_a_server_is_started_with_settings_and_ended(brief_translator: Path) -> None:
    async with serving(brief_translator, "cpu", MAX_SESSIONS="3") as server:
        assert server.url.startswith("ws://127.0.0.1:")
        assert '"ok"' in await server.get("/readyz")
        assert (await server.metrics())["tokenspeed_sessions"] == 0
        assert server.memory_mb() > 50
        assert server.num_files() > 3
        assert server.cpu_s() > 0
    with pytest.raises(ServerFailed, match="does not answer"):
        await server.get("/readyz")


async def test_a_server_that_does_not_come_up_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="before it was ready"):
        async with serving(tmp_path):
            pass


async def test_an_answer_that_is_none_is_told(service: Service) -> None:
    with pytest.raises(ServerFailed, match="answers"):
        await Served(f"127.0.0.1:{service.port}", 0).get("/v1/nothing")
