"""The endpoints of OpenAI, over real HTTP."""

import json

import httpx
import pytest

from service.doors.openai import languages_of
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine

KEY = "a-key-of-more-than-16"


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Translate into German.", (None, "de")),
        ("You translate from French to English", ("fr", "en")),
        ("Translate the English text to Spanish", (None, "es")),
        ("to german, from the english original", ("en", "de")),
        ("Übersetze ins Deutsche", (None, None)),
        ("Übersetze auf Deutsch", (None, "de")),
        ("Germanic studies", (None, None)),
        ("", (None, None)),
    ],
)
def test_the_instruction_names_the_languages(
    instruction: str, expected: tuple[str | None, str | None]
) -> None:
    assert languages_of(instruction) == expected


def question(text: object, system: str = "Translate from English to German.") -> dict[str, object]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return {"model": "fake", "messages": messages}


async def test_a_chat_is_a_translation(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await http.get("/v1/models")).json()["data"][0]["id"] == "fake"
        reply = (await http.post("/v1/chat/completions", json=question("Hello there."))).json()
        assert reply["object"] == "chat.completion"
        assert reply["choices"][0]["message"] == {"role": "assistant", "content": "HELLO THERE."}
        parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "night."}]
        reply = (await http.post("/v1/chat/completions", json=question(parts))).json()
        assert reply["choices"][0]["message"]["content"] == "GOOD NIGHT."
        for wrong in (question(""), question("Hi", "Be kind."), {"messages": 1},
                      question("Hi", "From German to French.")):  # fmt: skip
            reply = await http.post("/v1/chat/completions", json=wrong)
            assert reply.status_code == 400
            assert reply.json()["error"]["type"] == "invalid_request_error"


async def test_a_chat_streams(service: Service) -> None:
    body = {**question("Hello there. Good night."), "stream": True}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, end, nothing = reply.text.split("\n\n")
    assert (end, nothing) == ("data: [DONE]", "")
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    assert len(choices) > 4
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == "HELLO THERE. GOOD NIGHT."
    assert choices[-1]["finish_reason"] == "stop"


async def test_failures_are_told(run: Run) -> None:
    service = run(FakeEngine(is_broken=True), api_keys=(KEY,))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await http.post("/v1/chat/completions", json=question("Hi"))).status_code == 401
        http.headers["authorization"] = f"Bearer {KEY}"
        assert (await http.post("/v1/chat/completions", json=question("Hi"))).status_code == 503
        body = {**question("Hi"), "stream": True}
        reply = await http.post("/v1/chat/completions", json=body)
        assert "error" in json.loads(reply.text.removeprefix("data: "))
        assert "[DONE]" not in reply.text
