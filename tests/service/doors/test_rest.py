"""The endpoints of LibreTranslate, over real HTTP."""

import asyncio
import json
import subprocess
from typing import Any
from urllib.error import HTTPError

import httpx
import pytest
from deep_translator import LibreTranslator
from deep_translator.exceptions import AuthorizationException
from libretranslatepy import LibreTranslateAPI

from service.load.limits import Limits
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import FakeEngine
from tests.web.test_client import WEB, find_node

KEY = "a-key-of-more-than-16"


async def test_whole_texts_over_rest(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        languages = (await http.get("/languages")).json()
        assert {"code": "de", "name": "German", "targets": ["en", "es", "fr"]} in languages
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


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"q": None}, "missing q parameter"),
        ({"q": 123}, "q must be a string or a list of strings, not a number"),
        ({"target": ["de", "fr"]}, "target must be a string, not a list"),
        ({"target": None}, "missing target parameter"),
        ({"target": "auto"}, "target must be a language, not auto"),
        ({"source": 1}, "source must be a string, not a number"),
        ({"source": "de", "target": "it"}, "translation from de to it is not supported"),
        ({"target": "xx"}, "translation from en to xx is not supported"),
        ({"format": "pdf"}, "format is 'pdf'"),
        ({"alternatives": "many"}, "alternatives must be a number, not 'many'"),
        ({"alternatives": [1]}, "alternatives must be a number, not a list"),
        ({"alternatives": 9}, "alternatives is 9, expected 0 to 3"),
    ],
)
async def test_what_cannot_be_done_is_told(
    service: Service, wrong: dict[str, Any], words: str
) -> None:
    body = {"q": "a", "source": "en", "target": "de"} | wrong
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate", json=body)
    assert (reply.status_code, list(reply.json())) == (400, ["error"])
    assert words in reply.json()["error"]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("Hello <b>world</b>", "HELLO <b>WORLD</b>"),
        (
            "<p>Tom &amp; Ann</p>\n<script>x = 1</script>",
            "<p>TOM &amp; ANN</p>\n<script>x = 1</script>",
        ),
        ("plain words", "PLAIN WORDS"),
        ("<br>", "<br>"),
        ("", ""),
    ],
)
async def test_html_keeps_its_tags(service: Service, page: str, expected: str) -> None:
    body = {"q": page, "source": "en", "target": "de", "format": "html"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await http.post("/translate", json=body)).json() == {"translatedText": expected}
        several = {**body, "q": [page, "two"]}
        reply = await http.post("/translate", json=several)
        assert reply.json() == {"translatedText": [expected, "TWO"]}


async def test_the_language_of_a_page_is_that_of_its_words(service: Service) -> None:
    page = "<p lang='en' title='en'>Guten Morgen, <b class='the and of'>wie geht</b> es dir?</p>"
    body = {"q": page, "source": "auto", "target": "en", "format": "html"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = (await http.post("/translate", json=body)).json()
    assert reply["detectedLanguage"]["language"] == "de"


async def test_limits_are_announced_and_kept(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        settings = (await http.get("/frontend/settings")).json()
        body: dict[str, Any] = {"source": "en", "target": "de"}
        for q, status in (
            ("a" * settings["charLimit"], 200),
            ("a" * (settings["charLimit"] + 1), 413),
            (["Hi."] * settings["batchLimit"], 200),
            (["Hi."] * (settings["batchLimit"] + 1), 413),
        ):
            assert (await http.post("/translate", json={**body, "q": q})).status_code == status
        most = settings["alternativesLimit"]
        reply = await http.post("/translate", json={**body, "q": "Hi", "alternatives": most})
        assert reply.json() == {"translatedText": "HI", "alternatives": []}
        reply = await http.post("/translate", json={**body, "q": ["Hi"], "alternatives": str(most)})
        assert reply.json() == {"translatedText": ["HI"], "alternatives": [[]]}
        body["target"] = "es"  # whose forms of address this model does not tell apart
        reply = await http.post("/translate", json={**body, "q": "Hi", "alternatives": 1})
        assert reply.json() == {"translatedText": "HI", "alternatives": []}
        reply = await http.post("/suggest", json={**body, "q": "a", "s": "b"})
        assert (reply.status_code, reply.json()) == (
            403,
            {"error": "Suggestions are disabled on this server."},
        )


@pytest.mark.parametrize(("most", "expected"), [(3, ["HI, SIE", "HI, DU"]), (1, ["HI, SIE"])])
async def test_alternatives_are_other_forms_of_address(
    run: Run, most: int, expected: list[str]
) -> None:
    service = run(FakeEngine(says={"formal": "HI, SIE", "informal": "HI, DU"}))
    body = {"source": "en", "target": "de", "alternatives": most}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate", json={**body, "q": "Hi"})
        assert reply.json() == {"translatedText": "HI", "alternatives": expected}
        reply = await http.post("/translate", json={**body, "q": ["Hi", "..."]})
        assert reply.json() == {"translatedText": ["HI", "..."], "alternatives": [expected, []]}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # what urllib opens for it
def test_libretranslatepy(run: Run) -> None:
    service = run(api_keys=(KEY,))
    client = LibreTranslateAPI(service.http, KEY)
    assert client.translate("Good morning.", "en", "de") == "GOOD MORNING."
    assert client.detect("Bonjour à tous, comment allez-vous ?")[0]["language"] == "fr"
    assert {info["code"] for info in client.languages()} == {"de", "en", "es", "fr"}
    with pytest.raises(HTTPError, match="403") as caught:
        LibreTranslateAPI(service.http, "wrong").translate("Hi", "en", "de")
    caught.value.close()


def test_deep_translator(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    service = run(api_keys=(KEY,))
    url = f"{service.http}/"
    client = LibreTranslator("en", "de", api_key=KEY, custom_url=url)
    assert client.translate("Good morning.") == "GOOD MORNING."
    assert client.translate_batch(["One.", "Two."]) == ["ONE.", "TWO."]
    with pytest.raises(AuthorizationException):
        LibreTranslator("en", "de", api_key="wrong", custom_url=url).translate("Hello")


def test_the_packages_of_npm(run: Run) -> None:
    service = run(api_keys=(KEY,))
    command = [str(find_node()), "tests/peers.js", service.http, KEY]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {
        "libretranslate": "GOOD MORNING.",
        "html": "HELLO <b>WORLD</b>",
        "translate": "GOOD MORNING.",
        "by_name": "GOOD MORNING.",
        "refused": "Error: translation from en to it is not supported",
    }


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
