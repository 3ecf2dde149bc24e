"""Probes, metrics and tokens, over real connections."""

from urllib.parse import urlsplit

import httpx
import pytest

from tests.service.conftest import Run

KEY = {"authorization": "Bearer a-key-of-more-than-16"}


async def test_health_tells_what_the_engine_is_like(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.doors.state.HANGING_STEP_S", 1000.0)
    service = run()
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:

        async def codes() -> tuple[int, int]:
            return (await http.get("/livez")).status_code, (await http.get("/readyz")).status_code

        assert await codes() == (200, 200)
        service.engine.step_s = 5.0
        assert await codes() == (200, 503)
        assert (await http.get("/readyz")).json() == {"status": "a step of the engine hangs"}
        service.engine.step_s = 0.0
        assert await codes() == (200, 200)


async def test_metrics_ask_for_a_key_where_there_are_keys(run: Run) -> None:
    service = run(api_keys=("a-key-of-more-than-16",))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        refused = await http.get("/metrics")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "key" in refused.json()["error"]
        assert "tokenspeed_sessions" in (await http.get("/metrics", headers=KEY)).text
        assert (await http.get("/livez")).status_code == 200


async def test_metrics_may_have_a_port_of_their_own(run: Run) -> None:
    service = run(api_keys=("a-key-of-more-than-16",), metrics_port=1)
    async with httpx.AsyncClient(trust_env=False) as http:
        own = f"http://127.0.0.1:{service.state.config.metrics_port}"
        assert "tokenspeed_sessions" in (await http.get(f"{own}/metrics")).text
        assert (await http.get(f"{own}/readyz")).status_code == 200
        for url in (f"{service.http}/metrics", f"{own}/languages", f"{own}/"):
            assert (await http.get(url, headers=KEY)).status_code == 404
        stream = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        stream["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ=="
        assert (await http.get(f"{own}/v1/stream", headers=stream)).status_code == 403


@pytest.mark.parametrize(
    ("settings", "headers", "url"),
    [
        ({}, {}, "ws://127.0.0.1:{port}/v1/stream"),
        ({}, {"host": "localhost:7"}, "ws://localhost:7/v1/stream"),
        ({}, {"host": "evil.example"}, "ws://127.0.0.1:{port}/v1/stream"),
        ({}, {"host": "["}, "ws://127.0.0.1:{port}/v1/stream"),
        ({}, {"x-forwarded-proto": "https"}, "ws://127.0.0.1:{port}/v1/stream"),
        (
            {"proxies": ("127.0.0.0/8",)},
            {"host": "captions.example", "x-forwarded-proto": "https"},
            "wss://captions.example/v1/stream",
        ),
        (
            {"public_url": "https://captions.example/live"},
            {"host": "evil.example"},
            "wss://captions.example/live/v1/stream",
        ),
    ],
)
async def test_a_token_s_address_is_what_was_set_or_what_is_known(
    run: Run, settings: dict[str, object], headers: dict[str, str], url: str
) -> None:
    service = run(api_keys=("a-key-of-more-than-16",), **settings)
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        ticket = await http.post("/v1/sessions", headers={**KEY, **headers})
    assert ticket.headers["cache-control"] == "no-store"
    assert ticket.json()["url"] == url.format(port=service.port)
    assert urlsplit(ticket.json()["url"]).scheme in ("ws", "wss")
