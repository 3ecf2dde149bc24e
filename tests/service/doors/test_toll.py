"""Who costs more than his share over HTTP is told when to come back, and nobody else is."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.load.limits import Limits
from tests.service.conftest import Run
from tests.service.doors.test_app import eventually

KEYS = ("a-key-of-more-than-16", "another-key-of-more-than-16")
TEXT = {"q": "Good morning.", "source": "en", "target": "de"}
DEEPL = {"text": ["Good morning."], "target_lang": "DE"}
CHAT = {"messages": [{"role": "user", "content": "hi"}], "translation": {"target": "de"}}
DOORS = [
    ("/translate", TEXT, lambda reply: reply["error"]),
    ("/detect", {"q": "Hello"}, lambda reply: reply["error"]),
    ("/v2/translate", DEEPL, lambda reply: reply["message"]),
    ("/v1/chat/completions", CHAT, lambda reply: reply["error"]["message"]),
    ("/v1/chat/completions", CHAT | {"stream": True}, lambda reply: reply["error"]["message"]),
    ("/v1/sessions", None, lambda reply: reply["error"]["message"]),
]


@pytest.mark.parametrize(("path", "body", "message"), DOORS)
async def test_a_client_that_cost_too_much_is_told_to_wait(
    run: Run, path: str, body: object, message: Callable[[Any], str]
) -> None:
    service = run(limits=Limits(request_share=1e-6))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await http.post(path, json=body)).status_code == 200
        refused = await http.post(path, json=body)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 1
        assert "share" in message(refused.json())
        for open_path in ("/livez", "/readyz", "/metrics", "/languages", "/"):
            assert (await http.get(open_path)).status_code != 429


async def test_what_was_paid_for_is_forgotten(run: Run) -> None:
    service = run()
    service.state.accounts.spend("address 127.0.0.1", 5.5, service.state.now_s())
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        refused = await http.post("/translate", json=TEXT)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] in ("1", "2", "3")

        async def is_open() -> bool:
            return (await http.post("/translate", json=TEXT)).status_code == 200

        async with asyncio.timeout(30):
            while not await is_open():
                pass


async def test_each_known_key_is_a_client_and_invented_ones_are_not(run: Run) -> None:
    service = run(limits=Limits(request_share=1e-6), api_keys=KEYS)
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:

        async def ask(scheme: str, key: str) -> int:
            path, body = ("/v2/translate", DEEPL) if scheme[0] == "D" else ("/translate", TEXT)
            head = {"authorization": f"{scheme} {key}"}
            return (await http.post(path, json=body, headers=head)).status_code

        assert [await ask("Bearer", KEYS[0]) for _ in range(2)] == [200, 429]
        assert await ask("DeepL-Auth-Key", KEYS[0]) == 429
        assert await ask("Bearer", KEYS[1]) == 200
        assert [await ask("Bearer", f"invented-{n}-{'x' * 16}") for n in range(2)] == [403, 429]
    assert len(service.state.accounts) == 3


async def test_without_keys_an_invented_one_does_not_make_another_client(run: Run) -> None:
    service = run()
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for number in range(4):
            key = f"invented-{number}"
            await http.post("/translate", json=TEXT | {"api_key": key})
            head = {"authorization": f"Bearer {key}"}
            await http.post("/v1/chat/completions", json=CHAT, headers=head)
            await http.post("/v2/translate", json=DEEPL | {"auth_key": key})
    await eventually(lambda: not service.engine.running)
    assert {request.client for request in service.engine.requests} == {"address 127.0.0.1"}
