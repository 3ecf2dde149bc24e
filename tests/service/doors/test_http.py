"""Fields of plain HTTP: JSON, a form of either kind or the query, and nothing else."""

import asyncio
import gc
from contextlib import suppress
from typing import Any

import httpx
import orjson
import pytest
from starlette.requests import Request

from service.doors.http import (
    MAX_CHARS,
    MAX_MARKS,
    MAX_TEXTS,
    json_reply,
    kind_of,
    parse_body,
    read_fields,
    text_field,
    texts_field,
    while_connected,
)
from service.errors import RestError
from tests.service.conftest import Service

FORM = "application/x-www-form-urlencoded"


def test_a_form_and_json_say_the_same() -> None:
    assert parse_body(b'{"q": "Good morning", "target": "de"}', "application/json") == {
        "q": "Good morning",
        "target": "de",
    }
    assert parse_body(b"q=Good+morning&target=de", FORM) == {"q": "Good morning", "target": "de"}


def test_a_form_may_repeat_a_field_and_leave_one_empty() -> None:
    assert parse_body(b"q=a&q=b&source=", f"{FORM}; charset=utf-8") == {
        "q": ["a", "b"],
        "source": "",
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "neither JSON nor a form"),
        (b"", "neither JSON"),
        (b"[1]", "must be a JSON object"),
        (b'{"q": "\xff"}', "neither JSON"),
    ],
)
def test_anything_else_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(RestError, match=problem) as caught:
        parse_body(data, "application/json")
    assert caught.value.status == 400


def test_a_form_that_is_json_is_read_as_json() -> None:
    assert parse_body(b' {"q": "Hi"}', FORM) == {"q": "Hi"}


def test_a_form_of_very_many_fields_is_refused() -> None:
    with pytest.raises(RestError, match="more than 1000 fields"):
        parse_body(b"&".join([b"q=a"] * 1001), FORM)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["de"], "a list"),
        (1, "a number"),
        (1.5, "a number"),
        (True, "a boolean"),
        ({}, "an object"),
    ],
)
def test_errors_name_the_type(value: object, kind: str) -> None:
    assert kind_of(value) == kind
    with pytest.raises(RestError, match=f"target must be a string, not {kind}") as caught:
        text_field({"target": value}, "target")
    assert (caught.value.status, caught.value.param) == (400, "target")


@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        (None, 400, "missing q parameter"),
        (123, 400, "q must be a string or a list of strings, not a number"),
        (["a", 5], 400, "not a list with a number"),
        (["a", None], 400, "not a list with null"),
        ([], 400, "q is an empty list"),
        (["a"] * (MAX_TEXTS + 1), 413, f"at most {MAX_TEXTS}"),
        (["a" * 15_000] * 2, 413, "30000 characters, at most 20000"),
    ],
)
def test_texts_are_a_string_or_strings(value: Any, status: int, words: str) -> None:
    with pytest.raises(RestError, match=words) as caught:
        texts_field({"q": value}, "q")
    assert caught.value.status == status


def test_a_text_may_be_empty() -> None:
    assert texts_field({"q": ""}, "q") == [""]
    with pytest.raises(RestError, match="missing target"):
        text_field({"target": ""}, "target")
    with pytest.raises(RestError, match="more than 3 characters"):
        text_field({"q": "abcd"}, "q", max_chars=3)


async def test_forms_and_queries_over_http(service: Service) -> None:
    fields = {"q": "Good morning", "source": "en", "target": "de"}
    good = {"translatedText": "GOOD MORNING"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        parts = {name: (None, value) for name, value in fields.items()}
        assert (await http.post("/translate", files=parts)).json() == good
        assert (await http.post("/translate", params=fields)).json() == good
        assert (await http.post("/translate", params=fields, json={"q": "Hi"})).json() == {
            "translatedText": "HI"
        }
        several = [("q", (None, "One")), ("q", (None, "Two"))]
        rest = [(name, (None, fields[name])) for name in ("source", "target")]
        reply = await http.post("/translate", files=several + rest)
        assert reply.json() == {"translatedText": ["ONE", "TWO"]}
        reply = await http.post("/translate", files=[*rest, ("q", ("q.txt", b"Hi"))])
        assert reply.json() == {
            "error": "Invalid request: q must be a string or a list of strings, not a file"
        }
        for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
            reply = await http.post(
                "/translate", content=b"--y\r\n", headers={"content-type": content_type}
            )
            assert (reply.status_code, "the form cannot be read" in reply.text) == (400, True)
        reply = await http.post("/translate", data={"q": "a" * 300_000})
        assert (reply.status_code, reply.json()) == (413, {"error": "at most 262144 bytes"})


def test_a_body_of_very_many_objects_is_refused_before_they_are_made() -> None:
    assert len(parse_body(b'{"q":[%s]}' % (b"[]," * 1000 + b"[]"), "application/json")["q"]) == 1001
    for inner in (b"[]", b"{}", b"1", b'{"a":{}}'):
        with pytest.raises(RestError, match="brackets") as caught:
            parse_body(b'{"q":[%s]}' % b",".join([inner] * MAX_MARKS), "application/json")
        assert caught.value.status == 413
    keys = b",".join(b'"%d":1' % i for i in range(MAX_MARKS // 2 + 1))
    with pytest.raises(RestError, match="colons"):
        parse_body(b"{%s}" % keys, "application/json")
    for sign in "[{,:":
        text = sign * MAX_CHARS
        assert parse_body(orjson.dumps({"q": text}), "application/json") == {"q": text}


@pytest.mark.parametrize("kind", ["multipart", "form"])
async def test_a_large_form_leaves_turns_to_others(kind: str) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    await asyncio.sleep(0)
    if kind == "form":
        data, head = b"q=" + b"%41" * 50_000, b"application/x-www-form-urlencoded"
    else:
        part = b'--x\r\ncontent-disposition: form-data; name="q"\r\n\r\n'
        data, head = part + b"A" * 50_000 + b"\r\n--x--", b"multipart/form-data; boundary=x"
    before = turns

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", head)]}
    found = await read_fields(Request(scope | {"query_string": b""}, receive))
    other.cancel()
    assert found == {"q": "A" * 50_000}
    assert turns > before


async def test_a_form_in_parts_has_no_charset_of_its_own(service: Service) -> None:
    """Some of them, as punycode, take the square of a text's length."""
    text = "We go. " * 300
    for boundary in ("q", '"a b"'):
        mark = boundary.strip('"')
        part = f'--{mark}\r\ncontent-disposition: form-data; name="{{}}"\r\n\r\n{{}}\r\n'
        fields = {"q": text, "source": "en", "target": "de"}
        body = "".join(part.format(*field) for field in fields.items()) + f"--{mark}--\r\n"
        kind = f"multipart/form-data; charset=punycode; boundary={boundary}"
        async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
            reply = await http.post("/translate", content=body, headers={"content-type": kind})
        assert reply.json() == {"translatedText": text.upper()}, kind


def test_a_reply_in_json_says_so() -> None:
    reply = json_reply({"text": "größer"}, 201, {"x-more": "yes"})
    assert (reply.status_code, orjson.loads(reply.body)) == (201, {"text": "größer"})
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-more"] == "yes"


async def test_what_work_raises_is_kept_by_nothing() -> None:
    async def receive() -> dict[str, str]:
        await asyncio.sleep(60)
        return {}

    async def failing() -> None:
        raise RestError(418, "")

    def left() -> list[RestError]:
        # Not isinstance: it asks what a weak reference stands for, which may be gone.
        return [o for o in gc.get_objects() if type(o) is RestError and o.status == 418]

    gc.disable()  # it would find it
    try:
        with suppress(RestError):
            await while_connected(Request({"type": "http"}, receive), failing())
        await asyncio.sleep(0)  # the loop lets go of what it has just called
        assert not left()
    finally:
        gc.enable()
