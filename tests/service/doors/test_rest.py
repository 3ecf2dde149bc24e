"""The endpoints of LibreTranslate, over real HTTP."""

import asyncio
from typing import Any

import httpx

from service.load.limits import Limits
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import FakeEngine

KEY = "a-key-of-more-than-16"


async def test_whole_texts_over_rest(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        languages = (await http.get("/languages")).json()
        assert {"code": "de", "name": "German", "targets": ["en"]} in languages
        body: dict[str, Any] = {
            "q": "Good morning. How are you?",
            "source": "en",
            "target": "de",
            "api_key": "",
        }
        reply = await http.post("/translate", json=body)
        assert reply.json() == {"translatedText": "GOOD MORNING. HOW ARE YOU?"}
        reply = await http.post("/translate", data=body)
        assert reply.json() == {"translatedText": "GOOD MORNING. HOW ARE YOU?"}
        body = {"q": ["Guten Morgen, wie geht es dir?", "..."], "source": "auto", "target": "en"}
        found = (await http.post("/translate", json=body)).json()
        assert found["translatedText"] == ["GUTEN MORGEN, WIE GEHT ES DIR?", "..."]
        assert found["detectedLanguage"][0]["language"] == "de"
        detected = (await http.post("/detect", json={"q": "Bonjour à tous"})).json()
        assert detected[0]["language"] == "fr"
        wrongs: list[Any] = [{"q": "a"}, {"q": 1, "source": "en", "target": "de"}, [],
                      {"q": "a", "source": "de", "target": "fr"},
                      {"q": "a", "source": "en", "target": "de", "format": "html"}]  # fmt: skip
        for wrong in wrongs:
            reply = await http.post("/translate", json=wrong)
            assert (reply.status_code, list(reply.json())) == (400, ["error"])
        reply = await http.post("/translate", json={**body, "q": "a" * 30_000})
        assert reply.status_code == 413


async def test_a_key_is_asked_for_in_the_header_or_the_body(run: Run) -> None:
    service = run(api_keys=(KEY,))
    body = {"q": "Hello", "source": "en", "target": "de"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await http.post("/translate", json=body)).status_code == 403
        assert (await http.post("/translate", json={**body, "api_key": "x"})).status_code == 403
        reply = await http.post("/translate", json={**body, "api_key": KEY})
        assert reply.json() == {"translatedText": "HELLO"}
        headers = {"authorization": f"Bearer {KEY}"}
        assert (await http.post("/translate", json=body, headers=headers)).status_code == 200
        assert (await http.get("/frontend/settings")).json()["keyRequired"] is True
        assert (await http.get("/languages")).status_code == 200


async def test_an_engine_that_fails_is_an_error_not_a_text(run: Run) -> None:
    service = run(FakeEngine(is_broken=True))
    body = {"q": "Hello", "source": "en", "target": "de"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate", json=body)
        assert reply.status_code == 503
        assert list(reply.json()) == ["error"]


async def test_the_work_for_a_client_that_has_gone_ends(run: Run) -> None:
    service = run(FakeEngine(delay_s=60.0))
    body: dict[str, Any] = {"q": "Hello there. Good morning.", "source": "en", "target": "de"}
    chat = {
        "messages": [
            {"role": "system", "content": "Translate into German"},
            {"role": "user", "content": "Hello there."},
        ]
    }
    for path, asked in (
        ("/translate", body),
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {**chat, "stream": True}),
    ):
        async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
            waiting = asyncio.create_task(http.post(path, json=asked))
            await eventually(lambda: bool(service.engine.running))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await eventually(lambda: not service.engine.running)


async def test_one_client_has_so_many_requests_under_way_and_is_told_to_wait(run: Run) -> None:
    service = run(FakeEngine(delay_s=60.0), limits=Limits(requests_of_client=2))
    body = {"q": "Hello there.", "source": "en", "target": "de"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        before = len(service.engine.requests)
        waiting = [asyncio.create_task(http.post("/translate", json=body)) for _ in range(2)]
        await eventually(lambda: len(service.engine.requests) == before + 2)
        refused = await http.post("/translate", json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        service.engine.delay_s = 0.0
        await eventually(lambda: service.state.gate.is_open("address 127.0.0.1"))
        assert (await http.post("/translate", json=body)).status_code == 200
