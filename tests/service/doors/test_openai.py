"""The endpoints of OpenAI, over real HTTP, and by OpenAI's own client."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.lazily import Lazily
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion
else:
    openai = Lazily("openai")

KEY = "a-key-of-more-than-16"
FENCED = "Interpret the sentence between the 🔤 marks into German, on one line. Leave out the 🔤."


def question(text: object, system: str = "Translate from English to German.") -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return {"model": "fake", "messages": messages}


@pytest.fixture
def client(service: Service) -> Iterator["openai.OpenAI"]:
    with openai.OpenAI(base_url=f"{service.http}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: "openai.OpenAI", text: str, system: str, **more: Any) -> "ChatCompletion":
    create: Any = client.chat.completions.create
    found: ChatCompletion = create(**question(text, system), **more)
    return found


def test_openai_s_client_translates(client: "openai.OpenAI") -> None:
    reply = ask(client, "Hello there.", "Translate into German")
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content == "HELLO THERE."
    assert reply.choices[0].finish_reason == "stop"
    assert abs(reply.created - time.time()) < 3600
    assert reply.usage is not None
    # This tokenizer has a token a character.
    assert reply.usage.completion_tokens == len("HELLOTHERE.")
    assert reply.usage.prompt_tokens == len("Hello there.") + len("Translate into German")
    assert reply.usage.total_tokens == 11 + 12 + 21


def test_openai_s_client_finds_the_model(client: "openai.OpenAI") -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id) == model
    assert model.created > 1_700_000_000
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt/none")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("has_usage", [True, False])
def test_openai_s_client_streams(client: "openai.OpenAI", has_usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if has_usage else {}
    create: Any = client.chat.completions.create
    stream = create(**question("Hello there. Good night."), stream=True, **options)
    chunks = list(stream)
    assert (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content) == (
        "assistant",
        "",
    )
    with_choice = [chunk for chunk in chunks if chunk.choices]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in with_choice)
    assert text == "HELLO THERE. GOOD NIGHT."
    assert len(with_choice) > 4
    reasons = [chunk.choices[0].finish_reason for chunk in with_choice]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(chunks) - len(with_choice) == len(usages) == has_usage
    assert all(usage.completion_tokens == len("HELLOTHERE.GOODNIGHT.") for usage in usages)


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"max_tokens": 11}, "HELLO THERE.", "length"),
        ({"max_completion_tokens": 6, "max_tokens": 100}, "HELLO", "length"),
        ({"max_tokens": 1}, "", "length"),
        ({"max_tokens": 100}, "HELLO THERE. GOOD NIGHT.", "stop"),
        ({"stop": " GOOD"}, "HELLO THERE.", "stop"),
        ({"stop": ["NIGHT", "RE"]}, "HELLO THE", "stop"),
        ({"stop": ["none"], "n": 1, "temperature": 0.6}, "HELLO THERE. GOOD NIGHT.", "stop"),
    ],
)
def test_an_answer_is_cut_where_it_is_asked_to(
    client: "openai.OpenAI", options: dict[str, Any], text: str, reason: Any
) -> None:
    asked = "Hello there. Good night."
    choice = ask(client, asked, "to German", **options).choices[0]
    assert (choice.message.content, choice.finish_reason) == (text, reason)
    create: Any = client.chat.completions.create
    stream = create(**question(asked, "to German"), stream=True, **options)
    choices = [chunk.choices[0] for chunk in stream]
    assert "".join(choice.delta.content or "" for choice in choices) == text
    assert choices[-1].finish_reason == reason


def test_an_output_without_an_end_says_length(run: Run) -> None:
    service = run(FakeEngine(never_ends=True))
    with openai.OpenAI(base_url=f"{service.http}/v1", api_key="none", max_retries=0) as client:
        choice = ask(client, "Hello there", "to German").choices[0]
        assert choice.finish_reason == "length"


@pytest.mark.parametrize(
    ("more", "param", "words"),
    [
        ({"n": 2}, "n", "n is 2"),
        ({"max_tokens": 0}, "max_tokens", "from 1, not 0"),
        ({"max_tokens": "9"}, "max_tokens", "not a string"),
        ({"stop": [1]}, "stop", "stop must be a string"),
        ({"stop": list("abcde")}, "stop", "up to 4"),
        ({"messages": 1}, "messages", "a list, not a number"),
        ({"messages": ["Hi"]}, "messages", "objects, not a string"),
        ({"messages": []}, "messages", "1 to 20000 characters"),
        ({"translation": "de"}, "translation", "an object, not a string"),
        ({"translation": {"target": ["de"]}}, "translation.target", "a string, not a list"),
        ({"translation": {"target": "nonsense"}}, "translation.target", "not a language"),
        ({"translation": {"target": "it"}}, "messages", "from auto to it is not supported"),
        ({"translation": {"source": "en"}}, "messages", "name the target language"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_its_name(
    service: Service, more: dict[str, object], param: str, words: str
) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/v1/chat/completions", json=question("Hi.") | more)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("Be kind.", "name the target language"),
        ("English to Italian", "translation from en to it is not supported"),
        ("From German to Dutch.", "translation from de to nl is not supported"),
        ("into German and French", "name one target language, not German and French"),
    ],
)
def test_an_instruction_that_cannot_be_followed_is_refused(
    client: "openai.OpenAI", system: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        ask(client, "Hello", system)


def asked_for(service: Service) -> str:
    """Return the target of the newest request."""
    mark = service.engine.requests[-1].prompt[-1]
    return ("de", "en", "es", "fr")[mark - 0x110000 - 2]


@pytest.mark.parametrize(
    ("system", "target"),
    [
        ("Render this into French, never into Spanish.", "fr"),
        ("into German, not English", "de"),
        ("Traduce al español", "es"),
        (FENCED, "de"),
    ],
)
def test_the_language_asked_for_is_translated_into(
    service: Service, client: "openai.OpenAI", system: str, target: str
) -> None:
    text = "🔤 Good morning, everyone. 🔤" if system == FENCED else "Good morning, everyone."
    reply = ask(client, text, system)
    assert reply.choices[0].message.content == "GOOD MORNING, EVERYONE."
    assert asked_for(service) == target


def test_a_translation_is_named_outright(service: Service, client: "openai.OpenAI") -> None:
    for named in (
        {"target": "fr"},
        {"source": "en", "target": "French"},
        {"source": "auto", "target": "français"},
    ):
        # It counts more than whatever the messages say.
        reply = ask(client, "Hi.", "Into Spanish", extra_body={"translation": named})
        assert reply.choices[0].message.content == "HI."
        assert asked_for(service) == "fr"


def test_a_user_message_alone_may_bring_its_instruction(client: "openai.OpenAI") -> None:
    message: Any = {"role": "user", "content": "Translate to German: Good night."}
    reply = client.chat.completions.create(model="any", messages=[message])
    assert reply.choices[0].message.content == "GOOD NIGHT."


async def test_a_chat_takes_parts_and_what_has_no_words_comes_back(service: Service) -> None:
    parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "night."}]
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for content, expected in ((parts, "GOOD NIGHT."), ("...", "..."), ("🎉🎉🎉", "🎉🎉🎉")):
            reply = (await http.post("/v1/chat/completions", json=question(content))).json()
            assert reply["object"] == "chat.completion"
            assert reply["choices"][0]["message"]["content"] == expected


async def test_the_last_message_of_the_user_is_the_text(service: Service) -> None:
    messages = [
        {"role": "developer", "content": "Translate."},
        {"role": "system", "content": "Into German."},
        {"role": "user", "content": "One."},
        {"role": "assistant", "content": "Eins."},
        {"role": "user", "content": "Two."},
    ]
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/v1/chat/completions", json={"messages": messages})
    assert reply.json()["choices"][0]["message"]["content"] == "TWO."


async def test_failures_are_told(run: Run) -> None:
    service = run(FakeEngine(is_broken=True), api_keys=(KEY,))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        refused = await http.post("/v1/chat/completions", json=question("Hi"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        http.headers["authorization"] = f"Bearer {KEY}"
        reply = await http.post("/v1/chat/completions", json=question("Hi"))
        assert (reply.status_code, reply.json()["error"]["type"]) == (503, "server_error")
        body = {**question("Hi"), "stream": True}
        reply = await http.post("/v1/chat/completions", json=body)
        *_, last, nothing = reply.text.split("\n\n")
        assert "error" in json.loads(last.removeprefix("data: "))
        assert nothing == ""
        assert "[DONE]" not in reply.text
