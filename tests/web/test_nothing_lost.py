"""Nothing that is said at the page is ever lost: cut lines, reloads, restarts, other languages."""

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Error, Page, expect

from service.doors.connection import Connection
from tests.service.conftest import Service, running
from tests.service.fakes import FakeEngine
from tests.web.test_page import type_text
from tests.web.test_rooms import a_page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "a-key-of-more-than-16"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(FakeEngine(delay_s=0.01)) as found:
        yield found


async def open_page(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.locator("#connection")).to_have_attribute("data-state", "open")


async def say(page: Page, sentence: str) -> None:
    await type_text(page, sentence, delay_ms=2)
    await page.keyboard.press("Enter")


def cut_lines(service: Service) -> None:
    """Let every line of the service go at once."""
    loop = service.server._loop
    assert loop is not None
    for connection in list(service.state.connections):
        assert isinstance(connection, Connection)
        loop.call_soon_threadsafe(connection._socket.abort)


def forget_sessions(service: Service) -> None:
    """Let a client that comes back find its session gone, as after a restart."""
    loop = service.server._loop
    assert loop is not None
    sessions = service.state.sessions
    loop.call_soon_threadsafe(sessions._known.clear)


async def read_along(page: Page, reader: Page, language: str) -> None:
    """Open a room on the page and read it."""
    await page.click("#share")
    await expect(page.locator("#share-dialog")).to_be_visible()
    await reader.goto(f"{await page.input_value('#share-url')}?target={language}")
    await expect(page.locator("#share-readers")).to_contain_text("One reads along")
    await page.keyboard.press("Escape")


KEPT = """(text) => new Promise((resolve, reject) => {
  const opening = indexedDB.open("tokenspeed");
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const reading = opening.result.transaction("segments").objectStore("segments").getAll();
    reading.onsuccess = () => {
      opening.result.close();
      resolve(JSON.stringify(reading.result).includes(text));
    };
  };
})"""


async def crashed(page: Page, url: str, *, kept: str) -> Page:
    """Let a page crash when it has kept a text; return the one that goes on with its transcript.

    What is typed is sent before the browser has written it: readers may see it a moment earlier.
    """
    await page.wait_for_function(KEPT, arg=kept)
    context = page.context
    with contextlib.suppress(Error):
        await page.goto("chrome://crash")
    await page.close()
    again = await context.new_page()
    await open_page(again, url)
    return again


async def in_transcript(page: Page) -> list[str]:
    """The captions: translations, or what waits for one, in small letters."""
    captions = page.locator(".column[data-target=de] .caption .said")
    return [text.strip().lower() for text in await captions.all_inner_texts()]


async def exported(page: Page) -> list[str]:
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("e")
    async with page.expect_download() as download:
        await page.click('[data-format="txt"]')
    path = await (await download.value).path()
    await page.keyboard.press("Escape")
    return [line.lower() for line in path.read_text().splitlines() if line]


async def test_what_is_said_offline_is_seen_kept_and_translated_later(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    async with a_page(browser, 1180, 820) as page:
        await open_page(page, f"{service.http}/?target=de")
        await say(page, "said before")
        await expect(page.locator(".is-final .said")).to_have_text("SAID BEFORE")
        # The page stays there, the line does not.
        await page.context.set_offline(True)
        cut_lines(service)
        await say(page, "said offline")
        await expect(page.locator(".is-waiting .said")).to_have_text("said offline")
        await page.screenshot(path=picture("page-offline"))
        await page.context.set_offline(False)
        await expect(page.locator(".is-final .said")).to_have_text(["SAID BEFORE", "SAID OFFLINE"])
        await expect(page.locator(".is-waiting")).to_have_count(0)


ACTIONS = ("cut", "reload", "source", "target", "open", "forgotten")


@pytest.mark.parametrize("seed", [1, 3, 4])
async def test_random_cuts_reloads_restarts_and_switches_lose_nothing(
    browser: Browser, seed: int
) -> None:
    """Neither on the page nor for those who read along; and nothing is there twice."""
    rng = random.Random(seed)
    actions = rng.sample(ACTIONS, 4)
    with running(FakeEngine(delay_s=0.05)) as service:
        async with a_page(browser, 1180, 820) as page, a_page(browser, 600, 500) as reader:
            await open_page(page, f"{service.http}/?target=de")
            await read_along(page, reader, "fr")
            said: list[str] = []
            for action in actions:
                await page.wait_for_timeout(rng.choice((0, 0, 60)))
                if action == "forgotten":
                    forget_sessions(service)
                if action in ("cut", "forgotten"):
                    cut_lines(service)
                sentence = f"sentence number {len(said)} after {action}"
                said.append(sentence)
                if action == "open":  # in the middle of it the page is loaded anew
                    await type_text(page, sentence, delay_ms=2)
                    await page.wait_for_timeout(rng.choice((0, 50)))
                    await page.reload()
                else:
                    await say(page, sentence)
                if action == "reload":
                    await page.reload()
                elif action == "source":
                    await page.select_option("#source-language", rng.choice(("en", "auto")))
                elif action == "target":
                    await page.click(f'#targets [lang="{rng.choice(("es", "fr"))}"]')
            await expect(page.locator(".column[data-target=de] .is-final")).to_have_count(len(said))
            await expect(page.locator(".is-waiting")).to_have_count(0)
            assert await in_transcript(page) == said
            lines = await exported(page)
            assert list(dict.fromkeys(lines)) == said
            await expect(reader.locator(".is-final .said")).to_have_text(
                [sentence.upper() for sentence in said]
            )
            await expect(reader.locator(".caption")).to_have_count(len(said))


@pytest.mark.parametrize("ending", ["reload", "crash"])
async def test_a_page_that_goes_before_its_final_is_read_once(
    browser: Browser, ending: str
) -> None:
    with running(FakeEngine(delay_s=60)) as service:  # no final comes for now
        async with a_page(browser, 1180, 820) as page, a_page(browser, 600, 500) as reader:
            await open_page(page, f"{service.http}/?target=de")
            await read_along(page, reader, "source")
            await say(page, "said before")
            await expect(reader.locator(".is-final .said")).to_have_text("said before")
            await type_text(page, "and half of")
            await expect(reader.locator(".said")).to_have_text(["said before", "and half of"])
            service.engine.delay_s = 0.0
            if ending == "reload":
                await page.reload()
            else:
                page = await crashed(page, f"{service.http}/?target=de", kept="and half of")
            await expect(page.locator("#share")).to_have_attribute("aria-pressed", "true")
            await expect(page.locator(".column[data-target=de] .is-final .said")).to_have_text(
                ["SAID BEFORE", "AND HALF OF"]
            )
            await say(page, "said after")
            await expect(reader.locator(".is-final .said")).to_have_text(
                ["said before", "and half of", "said after"]
            )
            await expect(reader.locator(".caption")).to_have_count(3)


async def test_who_closes_the_page_leaves_the_room(browser: Browser, service: Service) -> None:
    async with a_page(browser, 1180, 820) as page, a_page(browser, 600, 500) as reader:
        await open_page(page, f"{service.http}/?target=de")
        await read_along(page, reader, "de")
        await say(page, "said before")
        await expect(page.locator(".is-final .said")).to_have_text("SAID BEFORE")
        context = page.context
        await page.close(run_before_unload=False)
        later = await context.new_page()
        await open_page(later, f"{service.http}/?target=de")
        await expect(later.locator(".is-final .said")).to_have_text("SAID BEFORE")
        await expect(later.locator("#share")).to_have_attribute("aria-pressed", "false")


async def test_a_pasted_page_stands_in_order(browser: Browser, service: Service) -> None:
    names = "Ann Ben Cem Dan Eva Fay Gil Hal Ida Jan Kim Lea".split()
    sentences = [f"This is what {name} said." for name in names]
    async with a_page(browser, 1180, 820) as page:
        await open_page(page, f"{service.http}/?target=de&lines=6")
        await page.focus("#source")
        await page.evaluate(
            "text => document.execCommand('insertText', false, text)", " ".join(sentences) + " "
        )
        await expect(page.locator(".is-final .said")).to_have_count(len(sentences))
        assert await in_transcript(page) == [sentence.lower() for sentence in sentences]


async def test_clearing_can_be_taken_back(browser: Browser, service: Service) -> None:
    async with a_page(browser, 1180, 820) as page:
        await open_page(page, f"{service.http}/?target=de")
        for sentence in ("one", "two"):
            await say(page, sentence)
        await expect(page.locator(".is-final .said")).to_have_text(["ONE", "TWO"])
        await page.click("#export")
        await page.click("#clear")
        await expect(page.locator(".column[data-target=de] .caption")).to_have_count(0)
        await say(page, "three")
        await page.click("#undo")
        await expect(page.locator(".is-final .said")).to_have_text(["ONE", "TWO", "THREE"])
        await page.reload()
        await expect(page.locator(".is-final .said")).to_have_text(["ONE", "TWO", "THREE"])


async def test_two_tabs_have_a_transcript_each_and_a_closed_one_is_gone_on_with(
    browser: Browser, service: Service
) -> None:
    context = await browser.new_context()
    first, second = await context.new_page(), await context.new_page()
    for page, sentence in ((first, "of the first"), (second, "of the second")):
        await open_page(page, f"{service.http}/?target=de")
        await say(page, sentence)
        await expect(page.locator(".is-final .said")).to_have_text(sentence.upper())
    await first.close()
    third = await context.new_page()
    await open_page(third, f"{service.http}/?target=de")
    await expect(third.locator(".is-final .said")).to_have_text("OF THE FIRST")
    await context.close()


async def test_a_service_with_keys_asks_for_one(browser: Browser) -> None:
    with running(FakeEngine(), api_keys=(KEY,)) as service:
        async with a_page(browser, 1180, 820) as page:
            await page.goto(f"{service.http}/?target=de")
            await page.fill("#key", "not-the-key")
            await page.click("#key-form button")
            await expect(page.locator("#key-wrong")).to_have_text(
                "The service does not know this key"
            )
            await page.fill("#key", KEY)
            await page.click("#key-form button")
            await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
            await page.click("#source")
            await say(page, "let me in")
            await expect(page.locator(".is-final .said")).to_have_text("LET ME IN")
            await page.reload()  # a token serves once; the key gets another
            await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
