"""Glossaries given once: DeepL's own client, and their ids at every other endpoint."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import deepl
import httpx
import pytest

from service.wire import protocol as p
from tests.service.client import session
from tests.service.conftest import Service


@pytest.fixture
def client(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[deepl.DeepLClient]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with closing(deepl.DeepLClient("any", server_url=service.http)) as made:
        yield made


def asked(service: Service) -> str:
    return "".join(chr(t) for t in service.engine.requests[-1].prompt if t < 0x110000)


def test_deepl_s_client_keeps_and_uses_one(service: Service, client: deepl.DeepLClient) -> None:
    made = client.create_glossary("mine", "EN", "DE", {"cable": "Kabel", "fine tune": "abstimmen"})
    assert (made.name, made.entry_count, made.ready) == ("mine", 2, True)
    assert (made.source_lang, made.target_lang) == ("EN", "DE")
    assert [each.glossary_id for each in client.list_glossaries()] == [made.glossary_id]
    assert client.get_glossary(made.glossary_id).creation_time == made.creation_time
    entries = client.get_glossary_entries(made)
    assert entries == {"cable": "Kabel", "fine tune": "abstimmen"}
    pairs = {(each.source_lang, each.target_lang) for each in client.get_glossary_languages()}
    assert ("en", "de") in pairs
    client.translate_text("the cables", source_lang="EN", target_lang="DE", glossary=made)
    assert "cable" not in asked(service)  # something stands in its place
    with pytest.raises(deepl.DeepLException, match="is for en to de"):
        client.translate_text(
            "the cable", source_lang="EN", target_lang="FR", glossary=made.glossary_id
        )
    client.delete_glossary(made)
    assert client.list_glossaries() == []
    with pytest.raises(deepl.GlossaryNotFoundException):
        client.get_glossary(made.glossary_id)


async def test_an_id_is_good_at_every_endpoint(service: Service) -> None:
    body = {"name": "x", "source_lang": "en", "target_lang": "de", "entries_format": "csv",
            "entries": 'cable,Kabel\n"a, b",c'}  # fmt: skip
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        made = await http.post("/v2/glossaries", json=body)
        assert made.status_code == 201
        key = made.json()["glossary_id"]
        wish: dict[str, Any] = {"source": "en", "target": "de", "glossary_id": key}
        await http.post("/translate", json={"q": "the cable", **wish})
        assert "cable" not in asked(service)
        chat = {"messages": [{"role": "user", "content": "the cable"}], "translation": wish}
        await http.post("/v1/chat/completions", json=chat)
        assert "cable" not in asked(service)
        # What came with a text counts more.
        await http.post("/translate", json={"q": "cable", **wish, "glossary": {"cable": "Tau"}})
        for path, wrong in (("/translate", {"q": "a", **wish, "glossary_id": "none"}),
                            ("/translate", {"q": "a", **wish, "glossary_id": 5})):  # fmt: skip
            assert (await http.post(path, json=wrong)).status_code == 404
        async with session(service.ws) as socket:
            wanted = p.SessionParams(
                source=p.SourceParams("en"), targets=(p.TargetParams("de", glossary_id=key),)
            )
            await socket.send(p.SessionUpdate(wanted))
            await socket.send(p.SourceCommit("a", text="the cable"))
            final = (await socket.until(p.TranslationFinal))[-1]
            assert isinstance(final, p.TranslationFinal)
            assert final.stats.terms == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"entries": "cable"}, "line 1 has no pair"),
        ({"entries": ""}, "missing entries"),
        ({"entries": "a\tb\nA\tc"}, "'A' is there twice, in line 2"),
        ({"entries": "a" * 101 + "\tb"}, "line 1 has more than 100"),
        ({"entries": "\n".join(f"a{n}\tb" for n in range(1001))}, "at most 1000"),
        ({"entries_format": "xml"}, "'entries_format' not supported"),
        ({"target_lang": "it"}, "Unsupported language pair"),
        ({"target_lang": "en"}, "Unsupported language pair"),
        ({"name": ""}, "missing name"),
    ],
)
async def test_what_is_wrong_with_one_is_said(
    service: Service, change: dict[str, str], words: str
) -> None:
    body = {"name": "x", "source_lang": "en", "target_lang": "de", "entries": "a\tb", **change}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/v2/glossaries", data=body)
        assert reply.status_code in (400, 413)
        assert words in reply.json()["message"]
