"""Files in processes of their own: what they cost stays there, and nothing is left of them."""

import asyncio
import gc
import os
from dataclasses import replace
from pathlib import Path

import pytest

from service.doors import apart
from service.errors import RestError
from tokenspeed.documents.worker import Question

QUESTION = Question("a.json", "de", 200_000, 20_000)
WIDE = b"[" + b'"a",' * 100_000 + b'"b"]'


def children() -> set[int]:
    own = str(os.getpid())
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        if fields[1] == own and fields[0] != "Z":
            found.add(int(status.parent.name))
    return found


async def test_a_file_of_100000_texts_leaves_no_object_here() -> None:
    gc.collect()
    most = 0

    def look(phase: str, info: dict[str, int]) -> None:
        nonlocal most
        if phase == "start":
            most = max(most, len(gc.get_objects()) - before)

    before = len(gc.get_objects())
    gc.callbacks.append(look)
    try:
        assert await apart.texts_of(QUESTION, WIDE) == ["a", "b"]
        gc.collect()
    finally:
        gc.callbacks.remove(look)
    assert most < 5000  # half a million where it was read in this process


async def test_a_translated_file_comes_back() -> None:
    asked = Question("a.json", "de", 100, 100, ["Ja", "Nein"])
    assert await apart.translated(asked, b'["Yes", "No", "Yes"]') == b'["Ja", "Nein", "Ja"]'


async def test_texts_that_differ_are_counted() -> None:
    assert len(await apart.texts_of(replace(QUESTION, max_texts=2), WIDE)) == 2
    with pytest.raises(RestError, match="has 2 texts, at most 1") as caught:
        await apart.texts_of(replace(QUESTION, max_texts=1), WIDE)
    assert (caught.value.status, caught.value.param) == (413, "file")


async def test_a_process_that_takes_too_long_or_dies_is_told_and_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = children()
    monkeypatch.setattr(apart, "MAX_S", 0.2)
    monkeypatch.setattr(apart, "_PROGRAM", ("-c", "import time; time.sleep(60)"))
    with pytest.raises(RestError, match="takes too long"):
        await apart.texts_of(QUESTION, WIDE)
    monkeypatch.setattr(apart, "MAX_S", 60.0)
    monkeypatch.setattr(apart, "_PROGRAM", ("-c", "import os; os.abort()"))
    with pytest.raises(RestError, match="takes too long"):
        await apart.texts_of(QUESTION, WIDE)
    assert children() == before


async def test_nothing_is_left_of_a_client_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    monkeypatch.setattr(apart, "_PROGRAM", ("-c", "import time; time.sleep(60)"))
    asking = asyncio.create_task(apart.texts_of(QUESTION, b"[]"))
    async with asyncio.timeout(10):
        while children() == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert children() == before


async def test_settings_of_the_service_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENSPEED_API_KEYS", "secret-secret-secret")
    program = 'import os; print("{}"); print([n for n in os.environ if n.startswith("TOKENSP")])'
    monkeypatch.setattr(apart, "_PROGRAM", ("-c", program))
    assert await apart.translated(QUESTION, b"") == b"[]\n"
