"""The endpoints of DeepL, by DeepL's own client and over real HTTP."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import deepl
import httpx
import pytest

from service.doors.deepl import MAX_TAGS
from service.load.limits import Limits
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine, FakePrompts
from tokenspeed.model.prompt import Formality

KEY = "a-key-of-more-than-16"


@pytest.fixture
def client(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[deepl.DeepLClient]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(deepl.http_client, "max_network_retries", 0)
    # The first text without a language reads the model that tells it: seconds on a busy machine.
    monkeypatch.setattr(deepl.http_client, "min_connection_timeout", 60.0)
    with closing(deepl.DeepLClient("any", server_url=service.http)) as found:
        yield found


def one(found: Any) -> deepl.TextResult:
    assert isinstance(found, deepl.TextResult)
    return found


def test_deepl_s_client_translates(client: deepl.DeepLClient) -> None:
    found = one(client.translate_text("Good morning.", target_lang="DE"))
    assert (found.text, found.detected_source_lang) == ("GOOD MORNING.", "EN")
    assert found.billed_characters == len("Good morning.")
    several: Any = client.translate_text(["One.", "...", ""], source_lang="EN", target_lang="FR")
    assert [each.text for each in several] == ["ONE.", "...", ""]
    assert {each.detected_source_lang for each in several} == {"EN"}


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Guten Morgen zusammen.", {"target_lang": "EN-US"}, "GUTEN MORGEN ZUSAMMEN."),
        ("Guten Morgen zusammen.", {"target_lang": "EN-GB"}, "GUTEN MORGEN ZUSAMMEN."),
        ("One\ntwo", {"split_sentences": "nonewlines"}, "ONE TWO"),
        ("One.", {"split_sentences": "0", "preserve_formatting": True}, "ONE."),
        ("Hi <b>you</b> &amp; me", {"tag_handling": "html"}, "HI <b>YOU</b> &amp; ME"),
        ("<d><p>One.</p><p>Two</p></d>", {"tag_handling": "xml"}, "<d><p>ONE.</p><p>TWO</p></d>"),
        (
            "<p>Open</p><p><x>Name</x></p>",
            {"tag_handling": "xml", "ignore_tags": ["x"]},
            "<p>OPEN</p><p><x>Name</x></p>",
        ),
        (
            "One <a>two</a> <b>three</b>",
            {
                "tag_handling": "xml",
                "splitting_tags": ["a"],
                "non_splitting_tags": "b",
                "outline_detection": False,
            },
            "ONE <a>TWO</a> <b>THREE</b>",
        ),
        ("How are you?", {"formality": "more"}, "HOW ARE YOU?"),
        ("How are you?", {"formality": "prefer_less", "target_lang": "ES"}, "HOW ARE YOU?"),
    ],
)
def test_options_of_deepl_s_client(
    client: deepl.DeepLClient, text: str, options: dict[str, Any], expected: str
) -> None:
    assert one(client.translate_text(text, **{"target_lang": "DE", **options})).text == expected


def test_a_formality_is_asked_for(service: Service, client: deepl.DeepLClient) -> None:
    prompts = FakePrompts()
    asked: Formality | None
    for formality, asked in (("more", "formal"), ("less", "informal"), ("default", None)):
        client.translate_text("How are you?", target_lang="DE", formality=formality)
        expected = prompts.build("How are you?", None, "de", is_open=False, formality=asked)
        assert service.engine.requests[-1].prompt == expected
    with pytest.raises(deepl.DeepLException, match="'formality' is not supported for given"):
        client.translate_text("How are you?", target_lang="EN-US", formality="more")


def test_deepl_s_client_lists_languages_and_usage(client: deepl.DeepLClient) -> None:
    sources = {language.code: language.name for language in client.get_source_languages()}
    assert sources == {"DE": "German", "EN": "English", "ES": "Spanish", "FR": "French"}
    targets = {language.code: language for language in client.get_target_languages()}
    assert sorted(targets) == ["DE", "EN-GB", "EN-US", "ES", "FR"]
    assert targets["EN-US"].name == "American English"
    assert targets["DE"].supports_formality is True
    assert targets["EN-GB"].supports_formality is False
    before = client.get_usage().character
    client.translate_text("12345", target_lang="DE")
    after = client.get_usage().character
    assert before.count is not None
    assert after.count == before.count + 5
    assert after.valid
    assert not after.limit_reached


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_lang": "IT"}, "Value for 'target_lang' not supported."),
        ({"source_lang": "IT"}, "Value for 'source_lang' not supported."),
        ({"tag_handling": "pdf"}, "Value for 'tag_handling' not supported."),
        ({"formality": "rude"}, "Value for 'formality' not supported."),
        ({"source_lang": "EN", "glossary": "an-id"}, "glossary_id is unknown or has expired"),
        ({"context": "Two"}, "Value for 'context' not supported."),
        ({"model_type": "quality_optimized"}, "Value for 'model_type' not supported."),
        ({"extra_body_parameters": {"capitals": "no"}}, "capitals is 'no'"),
    ],
)
def test_what_cannot_be_done_is_refused_as_deepl_does(
    client: deepl.DeepLClient, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(deepl.DeepLException, match=words):
        client.translate_text("Hi", **{"target_lang": "DE", **options})


def test_a_key_is_asked_for_in_deepl_s_way(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    service = run(api_keys=(KEY,))
    with closing(deepl.DeepLClient(KEY, server_url=service.http)) as client:
        assert one(client.translate_text("Hi", target_lang="DE")).text == "HI"
    with closing(deepl.DeepLClient("wrong", server_url=service.http)) as client:
        with pytest.raises(deepl.AuthorizationException):
            client.translate_text("Hi", target_lang="DE")
        with pytest.raises(deepl.AuthorizationException):
            client.get_usage()


async def test_forms_and_errors_over_http(run: Run, service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        form: dict[str, Any]
        form = {"text": ["One", "Two"], "target_lang": "de", "tag_handling": ""}
        reply = (await http.post("/v2/translate", data=form)).json()
        assert [each["text"] for each in reply["translations"]] == ["ONE", "TWO"]
        assert "billed_characters" not in reply["translations"][0]
        query = "/v2/translate?auth_key=x&text=Hi&source_lang=en&target_lang=de"
        reply = (await http.post(query, content=b"")).json()
        assert reply["translations"] == [{"detected_source_language": "EN", "text": "HI"}]
        form = {
            "text": "<a>x</a>",
            "target_lang": "DE",
            "tag_handling": "xml",
            "ignore_tags": "a,b",
        }
        reply = (await http.post("/v2/translate", data=form)).json()
        assert reply["translations"][0]["text"] == "<a>x</a>"
        for body, words in (
            ({"target_lang": "DE"}, "missing text"),
            ({"text": "Hi"}, "missing target_lang"),
            ({"text": 5, "target_lang": "DE"}, "not a number"),
            (
                {"text": "a", "target_lang": "DE", "tag_handling": "xml", "ignore_tags": [1]},
                "ignore_tags must be a list of strings",
            ),
        ):
            wrong = await http.post("/v2/translate", json=body)
            assert (wrong.status_code, words in wrong.json()["message"]) == (400, True)
        wrong = await http.get("/v2/translate")
        assert (wrong.status_code, wrong.json()) == (405, {"message": "Method Not Allowed"})
        assert (await http.get("/v2/languages?type=x")).status_code == 400
    broken = run(FakeEngine(is_broken=True))
    asked = {"text": ["Hi"], "target_lang": "DE"}
    async with httpx.AsyncClient(base_url=broken.http, trust_env=False) as http:
        assert (await http.post("/v2/translate", json=asked)).status_code == 503
    full = run(limits=Limits(requests_of_client=0))
    async with httpx.AsyncClient(base_url=full.http, trust_env=False) as http:
        reply = await http.post("/v2/translate", json=asked)
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")


def test_each_text_has_the_language_that_it_is_in(client: deepl.DeepLClient) -> None:
    said = ["Guten Morgen zusammen, wie geht es euch?", "Good morning, how are you today?"]
    found: Any = client.translate_text(said, target_lang="FR")
    assert [each.detected_source_lang for each in found] == ["DE", "EN"]


async def test_names_of_tags_are_bounded(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        body = {"text": ["a"], "target_lang": "DE", "tag_handling": "xml"}
        for names in ("," * MAX_TAGS, ["," * 500] * 3):
            reply = await http.post("/v2/translate", json=body | {"splitting_tags": names})
            assert reply.status_code == 413
            assert "splitting_tags" in reply.text
