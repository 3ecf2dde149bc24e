"""Bodies made to break a door: each gets a clear answer, and none is a fault of ours.

Any value in any field, very deep, very large and half a body; a bug would be a status of 500.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from service.config import Config
from service.doors.app import make_app
from service.doors.http import MAX_BODY_BYTES
from service.doors.state import AppState
from service.load.limits import Limits
from service.translator import Translator
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine, FakePrompts, FakeTokenizer

_TEXTS: Final = (
    "glossary glossary_id do_not_translate formality capitals profanity context captions"
)
# What a request has at each door that is answered with 200, and what else is read there.
DOORS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "/translate": (
        {"q": "Good day", "source": "en", "target": "de"},
        f"format alternatives api_key apiKey {_TEXTS}",
    ),
    "/detect": ({"q": "Good day"}, "api_key"),
    "/suggest": ({}, "q s source target"),
    "/translate_file": ({"source": "en", "target": "de"}, "file"),
    "/v2/translate": (
        {"text": ["Good day"], "source_lang": "EN", "target_lang": "DE"},
        "tag_handling splitting_tags non_splitting_tags ignore_tags outline_detection model_type "
        f"split_sentences show_billed_characters style_id auth_key {_TEXTS}",
    ),
    "/v2/languages": ({"type": "target"}, ""),
    "/v2/usage": ({}, ""),
    "/v2/glossaries": (
        {"name": "n", "source_lang": "en", "target_lang": "de", "entries": "a\tb"},
        "entries_format",
    ),
    "/v1/chat/completions": (
        {
            "messages": [{"role": "user", "content": "Good day"}],
            "translation": {"source": "en", "target": "de"},
        },
        "model n max_tokens max_completion_tokens stop stream stream_options temperature",
    ),
    "/v1/rooms": ({"name": "A talk"}, "pass_phrase"),
    "/v1/sessions": ({}, ""),
}
FORMS: Final = ["application/json", "application/x-www-form-urlencoded"]
STRINGS: Final = [
    "", "[", "{", '["', "[[", "[1]", "{}", "null", "true", "9" * 5000, "-1", "1e999", "٣", "a\0b",
    "\u2028", "<a", "xml", "csv", "a" * 200_000,
]  # fmt: skip
VALUES: Final[list[Any]] = [
    None, True, False, 0, -1, 2**63, 1e308, [], [[]], [None], [1], ["a"], [{}], {}, {"a": 1},
    {"source": 1}, [{"source": "a"}], {"a": {"b": []}}, [{"type": "text", "text": 5}], ["a"] * 3000,
    *STRINGS,
]  # fmt: skip


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.http, timeout=60) as found:
        yield found


@pytest.mark.parametrize("path", DOORS)
async def test_any_value_of_any_field_has_an_answer(path: str) -> None:
    engine = FakeEngine()
    length = engine.backend.max_length
    translator = Translator(engine, FakeTokenizer(), FakePrompts(), length, 0.2)
    app = make_app(AppState(Config(), translator, "fake", engine))
    fields, others = DOORS[path]
    # Without a socket: they are many, and what is below the application has tests of its own.
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post(path, json=fields)).status_code < 300 or not fields.get("q")
        for name in (*fields, *others.split()):
            for value in VALUES:
                check((name, value), await client.post(path, json=fields | {name: value}))
            for text in STRINGS:
                form = {key: said(each) for key, each in (fields | {name: text}).items()}
                check((name, text), await client.post(path, data=form))
        for inner in fields.get("translation", ()):
            for value in VALUES:
                wishes = fields["translation"] | {inner: value}
                check(value, await client.post(path, json=fields | {"translation": wishes}))
        for name in _TEXTS.split() if "translation" in fields else ():
            for value in VALUES:
                wishes = fields["translation"] | {name: value}
                check(value, await client.post(path, json=fields | {"translation": wishes}))


def said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def check(what: object, reply: httpx.Response) -> None:
    assert reply.status_code < 500, (str(what)[:80], reply.text)
    if reply.headers.get("content-type") == "application/json":
        reply.json()
        assert len(reply.content) < 10_000 or reply.status_code == 200, "an error repeats a body"


_PART: Final = b'--q\r\ncontent-disposition: form-data; name="q%d"%s\r\n\r\n'
BODIES: Final = {
    "lists": b"[" * 200_000,
    "objects": b'{"q":' * 40_000,
    "closed lists": b'{"q":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "digits": b'{"q":' + b"9" * 200_000 + b"}",
    "exponent": b'{"q":1e' + b"9" * 200_000 + b"}",
    "half a pair": b'{"q":"\\ud800"}',
    "no UTF-8": b"\xff" * 1000,
    "zeros": b"\0" * 1000,
    "fields": b"{" + b",".join(b'"%d":1' % i for i in range(20_000)) + b"}",
    "pairs": b"&".join(b"q%d=1" % i for i in range(20_000)),
    "parts": b"".join(_PART % (i, b"") + b"1\r\n" for i in range(2000)) + b"--q--\r\n",
    "files": b"".join(_PART % (i, b'; filename="a.txt"') + b"1\r\n" for i in range(9)) + b"--q--",
    "a part without a name": b"--q\r\ncontent-disposition: form-data\r\n\r\n1\r\n--q--\r\n",
    "a part without a head": b"--q\r\n\r\n1\r\n--q--\r\n",
    "a head without an end": b"--q\r\n" + b"x: a\r\n" * 30_000,
    "a part without an end": _PART % (1, b"") + b"a" * 10_000,
}
TYPES: Final = [*FORMS, "multipart/form-data", "multipart/form-data; boundary=q"]


@pytest.mark.parametrize("path", DOORS)
def test_deep_large_and_broken_bodies_have_an_answer(client: httpx.Client, path: str) -> None:
    for name, body in BODIES.items():
        for kind in TYPES:
            reply = client.post(path, content=body, headers={"content-type": kind})
            check((name, kind), reply)


@pytest.mark.parametrize("path", DOORS)
def test_a_body_over_the_limit_is_refused(client: httpx.Client, path: str) -> None:
    body = b'{"q": "' + b"a" * (3 * 1024 * 1024) + b'"}'
    assert len(body) > MAX_BODY_BYTES
    reply = client.post(path, content=body, headers={"content-type": FORMS[0]})
    # A token is given without a look at what came with the request.
    assert reply.status_code == (200 if path == "/v1/sessions" else 413)


@pytest.mark.parametrize("path", DOORS)
async def test_a_body_that_never_ends_is_let_go(run: Run, path: str) -> None:
    """Nobody else waits for it, and its line is closed after a time."""
    service = run(limits=Limits(body_s=0.5))
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        "content-length: 1000\r\n\r\n"
    )
    lines = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(20)]
    for _, writer in lines:
        writer.write(head.encode() + b'{"q": "Good')
    async with httpx.AsyncClient(base_url=service.http) as client:
        reply = await client.post("/detect", json={"q": "Good day"})
        assert reply.status_code == 200
    for reader, writer in lines:
        answer = await asyncio.wait_for(reader.read(), 20)
        # What wants no body is answered at once.
        assert answer.split(b" ", 2)[1] == (b"200" if path == "/v1/sessions" else b"408")
        writer.close()


@pytest.mark.parametrize("path", ["/translate", "/", "/v1/rooms/x/events", "/v1/stream"])
async def test_heads_without_measure_are_refused(service: Service, path: str) -> None:
    for size in (20_000, 200_000, 2_000_000):
        for head in (
            f"GET {path}?{'a' * size} HTTP/1.1\r\nhost: localhost\r\n\r\n",
            f"GET {path} HTTP/1.1\r\nhost: localhost\r\nx: {'a' * size}\r\n\r\n",
            f"GET {path} HTTP/1.1\r\nhost: localhost\r\n" + "x: a\r\n" * (size // 6) + "\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(head.encode())
            try:
                answer = await asyncio.wait_for(reader.readline(), 20)
            except ConnectionResetError:
                answer = b""  # closed while this still wrote
            assert not answer or 400 <= int(answer.split()[1]) < 500 or size == 20_000
            writer.close()
