"""A glossary and a form of address, as they come with a text."""

from typing import Any

import httpx
import pytest

from service.doors.wishes import formality_field, terms_field
from service.errors import RestError
from tests.service.conftest import Service
from tokenspeed.text.glossary import Term


@pytest.mark.parametrize(
    ("raw", "terms"),
    [
        (None, ()),
        ({"ticket": "Karte"}, (Term("ticket", "Karte"),)),
        ('{"ticket": " Karte "}', (Term("ticket", "Karte"),)),
        ([{"source": "ICE", "target": "Zug", "case_sensitive": True}], (Term("ICE", "Zug", True),)),
        ([], ()),
    ],
)
def test_a_glossary_is_an_object_or_a_list(raw: Any, terms: tuple[Term, ...]) -> None:
    assert terms_field({"glossary": raw}) == terms


@pytest.mark.parametrize(
    ("raw", "status", "param"),
    [
        ("ticket=Karte", 400, "t.glossary"),
        (5, 400, "t.glossary"),
        (["ticket"], 400, "t.glossary[0]"),
        ({"ticket": 5}, 400, "t.glossary[0].target"),
        ({" ": "x"}, 400, "t.glossary[0].source"),
        ({"a": "b" * 101}, 413, "t.glossary[0].target"),
        (
            [{"source": "a", "target": "b", "case_sensitive": "yes"}],
            400,
            "t.glossary[0].case_sensitive",
        ),
        ({str(n): "x" for n in range(501)}, 413, "t.glossary"),
    ],
)
def test_what_is_wrong_with_a_glossary_is_named(raw: Any, status: int, param: str) -> None:
    with pytest.raises(RestError) as caught:
        terms_field({"glossary": raw}, "t.")
    assert (caught.value.status, caught.value.param) == (status, param)


def test_a_form_of_address_is_one_that_the_model_has() -> None:
    german = frozenset(["de"])
    assert formality_field({}, "de", german) is None
    assert formality_field({"formality": "formal"}, "de", german) == "formal"
    for raw, target in (("less", "de"), ("formal", "fr"), (["formal"], "de")):
        with pytest.raises(RestError) as caught:
            formality_field({"formality": raw}, target, german)
        assert (caught.value.status, caught.value.param) == (400, "formality")


@pytest.mark.parametrize("is_form", [False, True])
async def test_libretranslates_door_takes_both(service: Service, is_form: bool) -> None:
    glossary = '{"morning": "Samsung"}' if is_form else {"morning": "Samsung"}
    body = {
        "q": "Good mornings",
        "source": "en",
        "target": "de",
        "glossary": glossary,
        "formality": "formal",
    }
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate", **{"data" if is_form else "json": body})  # type: ignore[arg-type]
        assert reply.status_code == 200
        asked = "".join(chr(t) for t in service.engine.requests[-1].prompt if t < 0x110000)
        assert "mornings" not in asked  # something stands in its place
        assert service.engine.requests[-1].prompt[-2] >= 0x110000  # the mark of address
        await http.post("/translate", json={**body, "glossary": {}, "formality": None})
        assert service.engine.requests[-1].prompt[-2] < 0x110000
        wrong = await http.post("/translate", json={**body, "formality": "less"})
        assert wrong.status_code == 400


async def test_openais_door_takes_both(service: Service) -> None:
    wish = {"target": "de", "glossary": {"morning": "Samsung"}, "formality": "informal"}
    body = {"messages": [{"role": "user", "content": "Good mornings"}], "translation": wish}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200
        asked = "".join(chr(t) for t in service.engine.requests[-1].prompt if t < 0x110000)
        assert "mornings" not in asked
        wish["glossary"] = 5  # type: ignore[assignment]
        reply = await http.post("/v1/chat/completions", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "translation.glossary")


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"capitals": "no"}, "capitals"),
        ({"profanity": "beep"}, "profanity"),
        ({"do_not_translate": 5}, "do_not_translate"),
        ({"do_not_translate": ["a", " "]}, "do_not_translate[1].source"),
        # Settings of sessions.
        ({"stability": "low"}, "stability"),
        ({"captions": {}}, "captions"),
        ({"context": 1}, "context"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    service: Service, wish: dict[str, Any], param: str
) -> None:
    pair: dict[str, Any] = {"source": "en", "target": "de"}
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate", json={"q": "Hi", **pair, **wish})
        assert reply.status_code == 400
        assert param in reply.json()["error"]
        body = {**chat, "translation": {**pair, **wish}}
        error = (await http.post("/v1/chat/completions", json=body)).json()["error"]
        assert error["param"] == f"translation.{param}"
        body = {**chat, "translation": {**pair, "tone": "warm"}}
        error = (await http.post("/v1/chat/completions", json=body)).json()["error"]
        assert error["param"] == "translation.tone"


async def test_capitals_and_swear_words_are_as_a_request_wants_them(service: Service) -> None:
    pair = {"source": "de", "target": "en"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:

        async def said(**wish: Any) -> str:
            body = {"q": "GO HOME, BASTARD", **pair, **wish}
            return str((await http.post("/translate", json=body)).json()["translatedText"])

        assert await said(profanity="mask") == "GO HOME, B******"
        assert await said(do_not_translate=["HOME"], profanity="raw") == "GO HOME, BASTARD"
        english = {"source": "en", "target": "en", "profanity": "mask"}
        assert await said(**english) == "GO HOME, B******"  # passes through
        body = {"text": ["GO BASTARD"], "source_lang": "DE", "target_lang": "EN-GB"}
        reply = await http.post("/v2/translate", json={**body, "profanity": "mask"})
        assert reply.json()["translations"][0]["text"] == "GO B******"
