"""Files over HTTP: in, translated, fetched, forgotten."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.doors import files
from service.doors.files import KEPT_S, MAX_KEPT, MAX_KEPT_OF_CLIENT, KeptFiles
from service.doors.http import MAX_FILE_BYTES
from tests.service.conftest import Run, Service
from tests.service.fakes import FakePrompts

KEY = "a-key-of-more-than-16"
SRT = """1
00:00:00,500 --> 00:00:02,000
Good morning, everyone.

2
00:00:02,100 --> 00:00:05,000
<i>We have a lot to talk about
this afternoon.</i>
"""
TARGET = {"source": "en", "target": "de"}


async def test_a_file_comes_back_translated(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        settings = (await http.get("/frontend/settings")).json()
        assert ".srt" in settings["supportedFilesFormat"]
        assert settings["fileBytesLimit"] == MAX_FILE_BYTES
        upload = {"file": ("Talk 1.srt", SRT.encode())}
        reply = await http.post("/translate_file", files=upload, data=TARGET)
        url = reply.json()["translatedFileUrl"]
        assert url.startswith(f"{service.http}/download_file/")
        assert url.endswith(".srt")
        file = await http.get(url)
    assert file.text == (
        SRT.replace("Good morning, everyone.", "GOOD MORNING, EVERYONE.")
        .replace("We have a lot to talk about", "WE HAVE A LOT TO TALK ABOUT")
        .replace("this afternoon.", "THIS AFTERNOON.")
    )
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''Talk%201.de.srt"
    assert file.headers["content-type"] == "application/octet-stream"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("upload", "more", "status", "words"),
    [
        (("a.pdf", b"x"), {}, 400, "a.pdf: files of this kind are not translated"),
        (("a.srt", b"x"), {}, 400, "a.srt: it has no cue"),
        (("../../a.txt", b"x" * (MAX_FILE_BYTES + 1)), {}, 413, "more than"),
        (("a.txt", b"one two. " * 40_000), {}, 413, "characters, at most 200000"),
        (("a.txt", b"Hi"), {"target": "it"}, 400, "translation from en to it is not supported"),
        (("a.txt", b"Hi"), {"target": ""}, 400, "missing target"),
        (("a.txt", b"Hi"), {"glossary": "x"}, 400, "glossary is not JSON"),
        (("a.txt", b"Hi"), {"formality": "rude"}, 400, "formality"),
        ((None, b"Hi"), {}, 400, "file must be a file, not a string"),
    ],
)
async def test_what_cannot_be_translated_is_told(
    service: Service,
    upload: tuple[str | None, bytes],
    more: dict[str, str],
    status: int,
    words: str,
) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate_file", files={"file": upload}, data={**TARGET, **more})
    assert (reply.status_code, list(reply.json())) == (status, ["error"])
    assert words in reply.json()["error"]


async def test_a_file_is_asked_for_in_a_form_of_address(service: Service) -> None:
    upload = {"file": ("a.txt", b"How are you?")}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        data = {**TARGET, "formality": "formal", "glossary": '{"zebra": "Zebra"}'}
        reply = await http.post("/translate_file", files=upload, data=data)
    assert reply.status_code == 200
    build = FakePrompts().build
    expected = build("How are you?", "en", "de", is_open=False, formality="formal")
    assert service.engine.requests[-1].prompt[-2:] == expected[-2:]


async def test_a_text_that_a_file_repeats_is_translated_once(run: Run) -> None:
    service = run()
    upload = {"file": ("a.json", b'["Yes", "No", "Yes", "42"]')}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate_file", files=upload, data=TARGET)
        found = await http.get(reply.json()["translatedFileUrl"])
    assert found.json() == ["YES", "NO", "YES", "42"]
    assert len(service.engine.requests) == 2


async def test_other_bodies_and_names_are_refused(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate_file", json=TARGET)
        assert reply.json() == {"error": "Invalid request: file missing"}
        two = [("file", ("a.txt", b"a")), ("file", ("b.txt", b"b"))]
        reply = await http.post("/translate_file", files=two, data=TARGET)
        assert (reply.status_code, "Too many files" in reply.json()["error"]) == (400, True)
        for path in ("/download_file/none.srt", "/download_file/..%2f..%2fetc"):
            assert (await http.get(path)).status_code == 404
        reply = await http.get("/translate_file")
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


async def test_a_key_is_asked_for_and_its_files_are_bounded(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_KEPT_OF_CLIENT", 2)
    service = run(api_keys=(KEY,))

    async def ask(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
        upload = {"file": ("a.txt", b"Hi there")}
        return await http.post("/translate_file", files=upload, data={**TARGET, **more})

    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await ask(http)).status_code == 403
        urls = [(await ask(http, api_key=KEY)).json()["translatedFileUrl"] for _ in range(3)]
        found = [(await http.get(url)).status_code for url in urls]
        assert found == [404, 200, 200]
        monkeypatch.setattr(files, "MAX_KEPT", 1)
        full = await ask(http, api_key=KEY)
        assert (full.status_code, full.headers["retry-after"]) == (503, "60")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, KEPT_S)), max_size=40))
def test_files_are_forgotten_in_time_and_never_too_many(puts: list[tuple[str, float]]) -> None:
    kept = KeptFiles()
    now_s = 0.0
    given_out: list[tuple[str, str, float]] = []
    for client, later_s in puts:
        now_s += later_s
        key = kept.keep(client, "a.txt", client.encode(), now_s)
        assert key is not None
        given_out.append((key, client, now_s))
        alive = [each for each in given_out if now_s < each[2] + KEPT_S]
        for key, owner, _ in given_out:
            file = kept.find(key, now_s)
            newest = [each[0] for each in alive if each[1] == owner][-MAX_KEPT_OF_CLIENT:]
            assert (file is not None) == (key in newest)
            assert file is None or file.data == owner.encode()
    assert len({key for key, _, _ in given_out}) == len(given_out)


def test_others_files_make_nobody_s_go_away() -> None:
    kept = KeptFiles()
    keys = [kept.keep(n, "a.txt", b"", 0.0) for n in range(MAX_KEPT)]
    assert kept.keep("late", "a.txt", b"", 1.0) is None
    assert all(key and kept.find(key, 1.0) for key in keys)
    assert kept.keep("late", "a.txt", b"", KEPT_S) is not None
