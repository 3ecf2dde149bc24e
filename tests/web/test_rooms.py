"""Rooms in a real Chromium: the speaker's page, readers with a phone and at a wall, the overlay."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect

from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Service, running
from tests.service.fakes import FakeEngine
from tests.web.test_page import type_text

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SENTENCE = "we will now look at the plan for the next year and then talk about it"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(FakeEngine(delay_s=0.02)) as found:
        yield found


@asynccontextmanager
async def room_of(service: Service, **wanted: Any) -> AsyncIterator[tuple[str, Client]]:
    """A room and a client that speaks in it."""
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        opened = (await http.post("/v1/rooms", json=wanted)).json()
    async with session(f"{service.ws}?token={opened['host_token']}") as speaker:
        await speaker.start(room=opened["id"])
        yield opened["id"], speaker


@asynccontextmanager
async def a_page(browser: Browser, width: int, height: int, **options: Any) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    await context.close()
    assert problems == []


async def say(speaker: Client, *sentences: str, who: str | None = None) -> None:
    for sentence in sentences:
        await speaker.send(p.SourceCommit(text=sentence, speaker=who))


def finals(page: Page) -> Any:
    return page.locator(".is-final .said")


# Adds up how far things jumped on the page, by the browser's own measure.
SHIFTS = """() => {
  window.shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}"""


async def test_a_reader_follows_in_a_language_of_their_own(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    async with (
        room_of(service, name="Board meeting") as (room, speaker),
        a_page(browser, 390, 780, locale="de-DE", has_touch=True) as phone,
        a_page(browser, 1920, 1080, locale="fr-FR", color_scheme="dark") as wall,
    ):
        await say(speaker, "good morning everybody", "we are glad to see you here", who="Ann")
        for page in (phone, wall):
            await page.add_init_script(f"({SHIFTS})()")
            await page.goto(f"{service.http}/r/{room}")
            await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        await expect(phone.locator("#language")).to_have_value("de")
        await expect(wall.locator("#language")).to_have_value("fr")
        await expect(finals(phone)).to_have_text(
            ["GOOD MORNING EVERYBODY", "WE ARE GLAD TO SEE YOU HERE"]
        )
        words = SENTENCE.split()
        for rev in range(1, len(words) + 1):
            tail = " and so on"
            update = p.SourceUpdate(rev, " ".join(words[:rev]), tail, "a", speaker="Ben")
            await speaker.send(update)
            await asyncio.sleep(0.03)
        await expect(phone.locator(".is-open .unstable")).not_to_be_empty()
        await phone.screenshot(path=picture("reader-phone"))
        await wall.screenshot(path=picture("reader-wall"))
        await speaker.send(p.SourceCommit("a", text=SENTENCE))
        await expect(finals(phone).last).to_have_text(SENTENCE.upper())
        await expect(phone.locator(".is-final .speaker").last).to_have_text("Ben")
        await expect(phone.locator(".is-open")).to_have_count(0)
        for page in (phone, wall):
            # The name of the room, once; a line of captions that jumps is 0.01.
            assert await page.evaluate("window.shift") < 0.004
        await expect(phone.locator("[role=log]")).to_have_attribute("aria-busy", "false")


async def test_a_reader_keeps_all_through_a_lost_line_and_a_change_of_language(
    browser: Browser, service: Service
) -> None:
    async with room_of(service) as (room, speaker), a_page(browser, 800, 600) as page:
        await page.goto(f"{service.http}/r/{room}?target=de")
        await say(speaker, "one")
        await expect(finals(page)).to_have_text(["ONE"])
        await page.context.set_offline(True)
        await page.evaluate("window.dispatchEvent(new Event('offline'))")
        await say(speaker, "two", "three")
        await page.context.set_offline(False)
        await expect(finals(page)).to_have_text(["ONE", "TWO", "THREE"], timeout=30_000)
        await page.select_option("#language", "source")
        await expect(finals(page)).to_have_text(["one", "two", "three"])
        await page.select_option("#language", "es")
        await page.click("#source")
        await expect(page.locator(".spoken")).to_have_text(["one", "two", "three"])
        await expect(finals(page)).to_have_text(["ONE", "TWO", "THREE"])


async def test_who_reads_back_is_not_pulled_away(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    async with room_of(service) as (room, speaker), a_page(browser, 500, 400) as page:
        await page.goto(f"{service.http}/r/{room}?target=de")
        await say(speaker, *(f"sentence number {i}" for i in range(30)))
        await expect(finals(page)).to_have_count(30)
        main = page.locator(".scroller")
        await main.evaluate("element => element.scrollTo(0, element.scrollHeight / 2)")
        await expect(page.locator(".now")).to_be_visible()
        before = await main.evaluate("element => element.scrollTop")
        await say(speaker, "something new")
        await expect(finals(page)).to_have_count(31)
        assert await main.evaluate("element => element.scrollTop") == before
        await page.screenshot(path=picture("reader-back"))
        await page.click(".now")
        await expect(page.locator(".now")).to_be_hidden()
        # A turned phone and larger type leave who was at the end there.
        await page.set_viewport_size({"width": 700, "height": 300})
        await page.click("#larger")
        await expect(finals(page).last).to_be_in_viewport()


async def test_a_large_wall_with_large_text_shows_the_open_sentence_whole(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    async with (
        room_of(service, name="Board meeting") as (room, speaker),
        a_page(browser, 3840, 2160, color_scheme="dark") as wall,
    ):
        await wall.goto(f"{service.http}/r/{room}?target=de")
        await say(speaker, *(f"{SENTENCE}, part {number}" for number in range(4)), who="Ann")
        await speaker.send(p.SourceUpdate(1, SENTENCE, " and so on", "a", speaker="Ben"))
        await expect(finals(wall)).to_have_count(4)
        await expect(wall.locator(".is-open .said")).to_contain_text("WE WILL NOW LOOK")
        for _ in range(5):
            await wall.click("#larger")
        said = wall.locator(".is-open .said")
        size = await said.evaluate("element => parseFloat(getComputedStyle(element).fontSize)")
        assert size > 150
        label = await wall.locator(".speaker").last.evaluate(
            "element => parseFloat(getComputedStyle(element).fontSize)"
        )
        assert label > 0.4 * size  # who says it is read from as far away
        await expect(said).to_be_in_viewport(ratio=1)
        assert await wall.evaluate("document.documentElement.scrollWidth") == 3840
        await wall.screenshot(path=picture("reader-wall-4k"))


async def test_a_pass_phrase_is_asked_for_on_the_page(browser: Browser, service: Service) -> None:
    async with (
        room_of(service, pass_phrase="open sesame") as (room, speaker),
        a_page(browser, 500, 400) as page,
    ):
        await say(speaker, "secret")
        await page.goto(f"{service.http}/r/{room}?target=de")
        await page.fill("#pass", "wrong")
        await page.click(".enter")
        await expect(page.locator("#pass-wrong")).to_be_visible()
        await page.fill("#pass", "open sesame")
        await page.click(".enter")
        await expect(finals(page)).to_have_text(["SECRET"])


async def test_a_room_that_is_not_there_is_said_so(browser: Browser, service: Service) -> None:
    async with a_page(browser, 500, 400, locale="es-ES") as page:
        await page.goto(f"{service.http}/r/nowhere")
        await expect(page.locator("#state-text")).to_contain_text("Esta sala no existe")


@pytest.mark.parametrize("answer", ["an error", "the words, late"])
async def test_pages_are_seen_whatever_becomes_of_their_words(
    browser: Browser, service: Service, answer: str
) -> None:
    may_come = asyncio.Event()

    async def words(route: Route) -> None:
        if answer == "an error":
            await route.abort()
        else:
            await may_come.wait()
            await route.continue_()

    async with (
        room_of(service) as (room, speaker),
        a_page(browser, 1180, 820, locale="de-DE") as page,
        a_page(browser, 390, 780, locale="de-DE") as phone,
    ):
        for each, path in ((page, "/?target=de"), (phone, f"/r/{room}?target=de")):
            await each.route("**/assets/strings/*", words)
            await each.goto(f"{service.http}{path}")
        await expect(page.locator("#connection-text")).to_have_text("Live")
        await expect(page.get_by_role("button", name="Share")).to_be_visible()
        await expect(phone.locator("#state-text")).to_have_text("Live")
        await say(speaker, "good morning")
        await expect(finals(phone)).to_have_text("GOOD MORNING")
        await type_text(page, "hello")
        await page.keyboard.press("Enter")
        await expect(finals(page)).to_have_text("HELLO")
        may_come.set()
        if answer == "the words, late":
            await expect(page.get_by_role("button", name="Teilen")).to_be_visible()
            await expect(page.locator("html")).to_have_attribute("lang", "de")
            await expect(phone.locator("#language")).to_have_attribute("aria-label", "Sprache")
            await expect(finals(phone)).to_have_text("GOOD MORNING")


async def test_english_is_seen_at_once_and_nothing_jumps(
    browser: Browser, service: Service
) -> None:
    async with a_page(browser, 1180, 820, locale="en-GB") as page:
        held: list[Route] = []
        await page.route("**/assets/strings/*", lambda route: held.append(route))
        await page.add_init_script(f"({SHIFTS})()")
        await page.goto(service.http)
        await expect(page.get_by_role("button", name="Share")).to_be_visible()
        await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
        for route in held:
            await route.continue_()
        await expect(page.locator("#interface option")).to_have_count(4)
        assert await page.evaluate("window.shift") == 0


async def test_a_reader_waits_for_a_service_that_is_not_there_yet(
    browser: Browser, service: Service
) -> None:
    async with room_of(service) as (room, speaker), a_page(browser, 500, 400) as page:
        is_up = asyncio.Event()

        async def ask(route: Route) -> None:
            await (route.continue_() if is_up.is_set() else route.fulfill(status=503, body="{}"))

        await page.route(f"**/v1/rooms/{room}", ask)
        await page.goto(f"{service.http}/r/{room}?target=de")
        await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
        is_up.set()
        await say(speaker, "good morning")
        await expect(finals(page)).to_have_text("GOOD MORNING")


async def test_captions_over_a_picture_come_go_and_say_nothing_else(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    async with room_of(service) as (room, speaker), a_page(browser, 1280, 720) as page:
        await say(speaker, "said before the overlay was there")
        await page.goto(f"{service.http}/overlay?room={room}&lang=de&lines=2&hide=1")
        window = page.locator("#window")
        await expect(page.locator("html")).to_have_attribute("data-state", "open")
        await expect(window).to_be_hidden()
        await say(speaker, "good evening")
        await expect(window).to_have_text("GOOD EVENING")
        await page.screenshot(path=picture("overlay"), omit_background=True)
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") in (
            "rgba(0, 0, 0, 0)",
        )
        await expect(window).to_be_hidden()
        await say(speaker, "we are back")
        await expect(window).to_have_text("WE ARE BACK")  # and the evening does not come again
        await page.goto(f"{service.http}/overlay?room=nowhere&lang=de")
        await page.wait_for_load_state("networkidle")
        await expect(page.locator("body")).to_have_text("")


async def test_the_speaker_shares_what_is_said(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    async with a_page(browser, 1180, 820) as speaker, a_page(browser, 600, 500) as reader:
        await speaker.goto(service.http)
        await expect(speaker.locator("#connection")).to_have_attribute("data-state", "open")
        await speaker.click("#share")
        await expect(speaker.locator("#share-dialog")).to_be_visible()
        link = await speaker.input_value("#share-url")
        await expect(speaker.locator("#share-picture")).to_have_js_property("complete", True)
        assert await speaker.evaluate("document.querySelector('#share-picture').naturalWidth") > 100
        await reader.goto(f"{link}?target=fr")
        await expect(speaker.locator("#share-readers")).to_have_text("One reads along. Français 1")
        await speaker.screenshot(path=picture("speaker-share"))
        await speaker.keyboard.press("Escape")
        await type_text(speaker, "good morning")
        await speaker.keyboard.press("Enter")
        await expect(finals(reader)).to_have_text(["GOOD MORNING"])
        await speaker.reload()  # the room is the same
        await expect(speaker.locator("#share")).to_have_attribute("aria-pressed", "true")
        await expect(speaker.locator("#connection")).to_have_attribute("data-state", "open")
        await type_text(speaker, "welcome back")
        await speaker.keyboard.press("Enter")
        await expect(finals(reader)).to_have_text(["GOOD MORNING", "WELCOME BACK"])
        await speaker.click("#share")
        await speaker.click("#share-end")
        await expect(reader.locator("#state")).to_have_attribute("data-state", "closed")
        await expect(finals(reader)).to_have_count(2)
