"""The page against the real service, run as a process with a real engine.

Most of it with a model that is small and random: it says nonsense, but every part between keyboard
and caption is the one that users get. Once with the shipped model, whose words are known.
"""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocket, expect

from tests.forked import ForkedAsync
from tests.tokenspeed.dictionary import LANGUAGES, translation, write_dictionary
from tests.web.cable import Cable
from tests.web.test_page import WATCH, stable, type_text

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

START_S = 60.0
SENTENCE = "The train to the city leaves in ten minutes, please tell me where the station is."


@dataclass
class Running:
    """A service that has said where it is."""

    process: ForkedAsync
    url: str

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.url.rpartition(":")[2])

    async def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, if it still runs, and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(sig)
        return await self.process.wait()


@asynccontextmanager
async def serving(model: Path | None, port: int = 0, **settings: str) -> AsyncIterator[Running]:
    """Run `tokenspeed serve`; without a model, the shipped one. Settings are of the environment."""
    command = ["tokenspeed", "serve", "--port", str(port)]
    command += [] if model is None else ["--model", str(model)]
    process = await ForkedAsync.start(command, {**os.environ, **settings})
    running = Running(process, "")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        found = re.search(r"http://\S+", line.decode())
        assert found, f"the service said {line!r}"
        running.url = found[0]
        yield running
    finally:
        await running.stop(signal.SIGKILL)
        await process.stdout.read()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tiny_translator: Path) -> AsyncIterator[Running]:
    """One service for the tests that leave it alone."""
    async with serving(tiny_translator) as running:
        yield running
        assert await running.stop() == 0


async def open_real(page: Page, server: Running, query: str = "") -> None:
    """Open the page of a real server and wait until its session runs."""
    await page.goto(f"{server.url}/{query}")
    await expect(page.locator("#connection")).to_have_attribute("data-state", "open")


async def check_nothing_was_taken_back(page: Page) -> None:
    """Look at everything that was ever shown as committed."""
    histories = list((await page.evaluate("window.seen")).values())
    assert histories, "no caption was shown"
    for texts in histories:
        for before, after in zip(texts, texts[1:], strict=False):
            assert after.startswith(before), "committed text was taken back"


async def test_typing_is_translated_live(
    page: Page, server: Running, picture: Callable[[str], Path]
) -> None:
    await open_real(page, server, "?target=de,fr")
    await page.evaluate(WATCH)
    await type_text(page, SENTENCE, delay_ms=20)
    for name in ("median", "p95", "round-trip"):
        await expect(page.locator(f"#meter-{name}")).to_have_text(re.compile(r"^[\d.]+ ms$"))
    await page.keyboard.press("Enter")
    for target in ("de", "fr"):
        final = page.locator(f".column[data-target={target}] .is-final .said")
        await expect(final).to_have_count(1)
        committed = await page.locator(stable(page, target)).text_content()
        assert committed == await final.text_content()
    await check_nothing_was_taken_back(page)
    said = page.locator(".column[data-target=de] .spoken")
    await expect(said).to_have_text(SENTENCE)
    await page.screenshot(path=picture("real-server"))


async def test_the_shipped_model_greets_in_german_and_french(
    page: Page, picture: Callable[[str], Path]
) -> None:
    async with serving(None) as server:
        await open_real(page, server, "?target=de,fr")
        await type_text(page, "Good morning. Where is the station?\n", delay_ms=20)
        captions = page.locator(".column[data-target=de] .is-final .said")
        await expect(captions.filter(has_text="Guten Morgen")).to_have_count(1)
        await expect(captions.filter(has_text="Bahnhof")).to_have_count(1)
        french = page.locator(".column[data-target=fr] .is-final .said")
        await expect(french.filter(has_text="Bonjour")).to_have_count(1)
        await page.screenshot(path=picture("shipped-model"))


async def test_a_language_that_the_model_lacks_makes_way(page: Page, server: Running) -> None:
    await open_real(page, server, "?source=de&target=ja")
    await expect(page.locator("#targets [aria-pressed=true]")).to_have_text("English")
    await type_text(page, "Der Zug in die Stadt.\n")
    await expect(page.locator(".column[data-target=en] .is-final .said")).to_have_count(1)


def watch_frames(page: Page) -> list[dict[str, Any]]:
    """Keep every event that the page gets or sends, over all its lines."""
    frames: list[dict[str, Any]] = []

    def listen(line: WebSocket) -> None:
        for name in ("framereceived", "framesent"):
            line.on(name, lambda frame: frames.append(json.loads(frame)))

    page.on("websocket", listen)
    return frames


def of_type(frames: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [frame for frame in frames if frame["type"] == kind]


async def open_by_cable(page: Page, cable: Cable, path: str = "") -> list[dict[str, Any]]:
    """Open the page at the end of a cable; return the list to which its frames come."""
    frames = watch_frames(page)
    await page.goto(cable.url + path)
    await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    await page.evaluate(WATCH)
    return frames


async def test_a_line_cut_in_mid_sentence_is_taken_up_again(page: Page, server: Running) -> None:
    cable = Cable(server.port)
    async with cable.running():
        frames = await open_by_cable(page, cable)
        await type_text(page, SENTENCE[:50])
        await expect(page.locator('.column[data-target="de"] .caption')).to_have_count(1)
        cable.cut()
        await type_text(page, SENTENCE[50:] + "\n")
        await expect(page.locator(".is-final .said")).to_have_count(1)
        await expect(page.locator(".spoken")).to_have_text(SENTENCE)
        (resumed,) = of_type(frames, "session.resumed")
        assert resumed["recovered"]
        (final,) = of_type(frames, "translation.final")
        deltas = of_type(frames, "translation.delta")
        assert final["text"].startswith("".join(delta["append"] for delta in deltas))
        assert len({delta["seq"] for delta in deltas}) == len(deltas)
        await check_nothing_was_taken_back(page)
        await page.goto("about:blank")


async def test_a_line_cut_between_commits_and_finals_loses_none(
    page: Page, server: Running
) -> None:
    first, second, third = "The train leaves now.", "Where is the station?", "Tell me, please."
    cable = Cable(server.port)
    async with cable.running():
        frames = await open_by_cable(page, cable)
        cable.is_deaf = True  # the finals of the first are lost on the way
        await type_text(page, first + "\n")
        await asyncio.sleep(0.5)
        cable.is_cut, cable.is_deaf = True, False
        cable.cut()
        await type_text(page, second + "\n" + third + "\n")
        cable.is_cut = False
        await expect(page.locator(".spoken")).to_have_text([first, second, third])
        await expect(page.locator(".is-final .said")).to_have_count(3)
        # They may overtake each other, as on a line that holds; the page keeps the order.
        finals = [final["source_text"] for final in of_type(frames, "translation.final")]
        assert sorted(finals) == sorted([first, second, third])
        assert len(of_type(frames, "session.resumed")) == 1
        assert of_type(frames, "error") == []
        await check_nothing_was_taken_back(page)
        await page.goto("about:blank")


async def test_a_token_is_used_up_but_its_session_survives_a_lost_line(
    page: Page, tiny_translator: Path
) -> None:
    key = "a-key-of-more-than-16"
    async with serving(tiny_translator, TOKENSPEED_API_KEYS=key) as server:
        cable = Cable(server.port)
        async with cable.running(), httpx.AsyncClient() as http:
            headers = {"authorization": f"Bearer {key}"}
            reply = await http.post(f"{server.url}/v1/sessions", headers=headers)
            frames = await open_by_cable(page, cable, f"/?token={reply.json()['token']}")
            await type_text(page, SENTENCE[:50])
            cable.cut()
            await type_text(page, SENTENCE[50:] + "\n")
            await expect(page.locator(".is-final .said")).to_have_count(1)
            assert len(of_type(frames, "session.resumed")) == 1
            assert of_type(frames, "error") == []
            await page.goto("about:blank")


async def test_a_killed_server_comes_back_and_the_sentence_goes_on(
    page: Page, tiny_translator: Path
) -> None:
    frames = watch_frames(page)
    async with serving(tiny_translator) as server:
        await open_real(page, server)
        await page.evaluate(WATCH)
        await type_text(page, SENTENCE[:30])
        await expect(page.locator('.column[data-target="de"] .caption')).to_have_count(1)
        await server.stop(signal.SIGKILL)
        await expect(page.locator("#notice-text")).to_contain_text("cannot be reached")
        await type_text(page, SENTENCE[30:] + "\n")
    async with serving(tiny_translator, server.port):
        await expect(page.locator(".is-final .said")).to_have_count(1, timeout=20_000)
        await expect(page.locator("#notice")).to_be_hidden()
        await expect(page.locator(".spoken")).to_have_text(SENTENCE)
        (refusal,) = of_type(frames, "error")
        assert refusal["error"]["code"] == "session_expired"
        assert len(of_type(frames, "translation.final")) == 1


async def test_scripts_without_spaces_and_from_right_to_left_are_read_as_they_are(
    page: Page, tmp_path: Path, picture: Callable[[str], Path]
) -> None:
    talk = ["Good morning everyone.", "Today we talk about the new house."]
    said = {code: [translation(each, code) for each in talk] for code in ("ar", "zh-Hans")}
    async with serving(write_dictionary(tmp_path)) as server:
        # As a link would name them: the page finds what the model has.
        await open_real(page, server, "?source=en-US&target=ar-EG,zh-cn")
        await page.evaluate(WATCH)
        chips = page.locator("#targets .chip")
        await expect(chips).to_have_count(len(LANGUAGES))
        names = {
            code: await page.locator(f"#targets .chip[lang={code}]").text_content()
            for code in LANGUAGES
        }
        assert names == {
            "ar": "العربية",
            "he": "עברית",
            "ja": "日本語",
            "th": "ไทย",
            "zh-Hans": "简体中文",
        }
        await type_text(page, " ".join(talk), delay_ms=5)
        await page.keyboard.press("Enter")
        for target, texts in said.items():
            finals = page.locator(f".column[data-target={target}] .is-final .said")
            await expect(finals).to_have_text(texts)
            await expect(finals.last).to_have_attribute("lang", target)
        await check_nothing_was_taken_back(page)
        assert await _runs(page, "ar") == "from right to left"
        assert await _runs(page, "zh-Hans") == "from left to right"
        await page.screenshot(path=picture("scripts"))
        await page.keyboard.press("Escape")
        await page.keyboard.press("e")
        async with page.expect_download() as waiting:
            await page.locator("[data-format=srt]").click()
        file = await asyncio.to_thread((await (await waiting.value).path()).read_text)
    lines = file.splitlines()
    assert "".join(line for line in lines if re.search("[一-鿿]", line)) == "".join(said["zh-Hans"])
    assert all(text in file for text in said["ar"])


async def _runs(page: Page, target: str) -> str:
    """Say which way a caption runs on the screen, by where its first signs stand."""
    first, last = await page.locator(f".column[data-target={target}] .said").last.evaluate(
        """said => {
            const node = document.createTreeWalker(said, NodeFilter.SHOW_TEXT).nextNode();
            const at = (index) => {
                const range = document.createRange();
                range.setStart(node, index);
                range.setEnd(node, index + 1);
                return range.getBoundingClientRect().left;
            };
            return [at(0), at(3)];
        }"""
    )
    return "from right to left" if first > last else "from left to right"
