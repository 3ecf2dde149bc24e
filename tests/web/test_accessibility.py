"""The pages against axe-core, in their states: what it finds is what somebody cannot use."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.service.conftest import Service, running
from tests.service.fakes import FakeEngine
from tests.web.test_nothing_lost import KEY, cut_lines
from tests.web.test_rooms import a_page, finals, room_of, say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SCHEMES: tuple[Any, ...] = ("light", "dark")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(FakeEngine(delay_s=0.02)) as found:
        yield found


async def problems(page: Page) -> list[str]:
    """What axe finds, with the elements that it is about."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))  # a script element would need a CSP
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_speakers_page(
    browser: Browser, service: Service, scheme: Any, picture: Callable[[str], Path]
) -> None:
    async with a_page(browser, 1180, 820, color_scheme=scheme) as page:
        await page.goto(f"{service.http}/?target=de,fr")
        await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
        assert await problems(page) == []
        await page.click("#source")
        await page.keyboard.type("Good morning. And now we ")
        await expect(page.locator(".is-final .said")).to_have_count(3)  # and what was said
        assert await problems(page) == []
        for button, dialog in (("#export", "export"), ("#help", "help"), ("#share", "share")):
            await page.click(button)
            await expect(page.locator(f"#{dialog}-dialog")).to_be_visible()
            assert await problems(page) == []
            await page.screenshot(path=picture(f"speaker-{dialog}-{scheme}"))
            await page.keyboard.press("Escape")
        await page.click("#details")
        await expect(page.locator("#meter")).to_be_visible()
        assert await problems(page) == []


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_speakers_page_when_something_is_wrong(
    browser: Browser, scheme: Any, picture: Callable[[str], Path]
) -> None:
    with running(FakeEngine(delay_s=0.02), api_keys=(KEY,)) as service:
        async with a_page(browser, 390, 780, color_scheme=scheme) as page:
            await page.goto(f"{service.http}/?target=de")
            await expect(page.locator("#key-dialog")).to_be_visible()
            await page.fill("#key", "not the key")
            await page.click("#key-form button")
            await expect(page.locator("#key-wrong")).not_to_be_empty()
            assert await problems(page) == []
            await page.screenshot(path=picture(f"key-{scheme}"))
            await page.fill("#key", KEY)
            await page.click("#key-form button")
            await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
            await page.context.set_offline(True)
            cut_lines(service)
            await page.fill("#source", "Said offline. ")
            await expect(page.locator(".is-waiting")).to_have_count(1)
            await expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
            await expect(page.locator("#connection")).to_have_role("status")  # it is announced
            assert await problems(page) == []
            await page.screenshot(path=picture(f"offline-{scheme}"))


async def test_the_overlay(browser: Browser, service: Service) -> None:
    async with room_of(service) as (room, speaker), a_page(browser, 1280, 720) as page:
        await page.goto(f"{service.http}/overlay?room={room}&lang=de&hide=0")
        await expect(page.locator("html")).to_have_attribute("data-state", "open")
        await say(speaker, "good evening")
        await expect(page.locator("#window")).to_be_visible()
        assert await problems(page) == []


async def test_there_is_one_log_for_each_language_that_is_chosen(
    browser: Browser, service: Service
) -> None:
    async with a_page(browser, 1180, 820) as page:
        await page.goto(f"{service.http}/?target=de")
        await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
        chip = page.locator("#targets [lang=fr]")
        await chip.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("log")).to_have_count(2)
        names = [
            await log.get_attribute("aria-label") for log in await page.get_by_role("log").all()
        ]
        assert names == ["Deutsch", "Français"]
        await expect(chip).to_be_focused()
        await expect(chip).to_have_attribute("aria-pressed", "true")


async def test_single_keys_can_be_switched_off(browser: Browser, service: Service) -> None:
    async with a_page(browser, 1180, 820) as page:
        await page.goto(f"{service.http}/?target=de")
        await page.click("#help")
        await page.uncheck("#shortcuts")
        await page.keyboard.press("Escape")
        await page.locator("#share").focus()
        await page.keyboard.press("b")
        await page.keyboard.press("e")
        await expect(page.locator("#dual")).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("#export-dialog")).to_be_hidden()
        await page.reload()
        await page.locator("#share").focus()
        await page.keyboard.press("e")
        await expect(page.locator("#export-dialog")).to_be_hidden()
        await page.click("#help")
        await page.check("#shortcuts")
        await page.keyboard.press("Escape")
        await page.locator("#share").focus()
        await page.keyboard.press("e")
        await expect(page.locator("#export-dialog")).to_be_visible()


SPACED = """* { line-height: 1.5 !important; letter-spacing: 0.12em !important;
  word-spacing: 0.16em !important; } p { margin-block-end: 2em !important; }"""
CUT_OFF = """() => [...document.querySelectorAll("button, select, label, h1, h2, dt, dd")]
  .filter((element) => element.offsetParent && element.tagName !== "SELECT"
    && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 1)
  .map((element) => element.outerHTML.slice(0, 90))"""


async def test_more_room_between_letters_cuts_nothing_off(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    """WCAG 1.4.12."""
    for width in (360, 1180):
        async with room_of(service) as (room, speaker), a_page(browser, width, 760) as page:
            await say(speaker, "good morning everybody")
            for address in ("/?target=de,fr&ui=de", f"/r/{room}?target=de&ui=de"):
                await page.goto(service.http + address)
                await page.wait_for_load_state("networkidle")
                # The page lets no style in from elsewhere: it is set as its own script would.
                await page.evaluate(
                    """css => { const sheet = new CSSStyleSheet(); sheet.replaceSync(css);
                    document.adoptedStyleSheets = [sheet]; }""",
                    SPACED,
                )
                name = "reader" if "/r/" in address else "speaker"
                await page.screenshot(path=picture(f"spaced-{name}-{width}"))
                wide = "document.documentElement.scrollWidth - innerWidth"
                assert await page.evaluate(wide) <= 0, address
                assert await page.evaluate(CUT_OFF) == [], address


async def test_forced_colours_leave_states_to_be_seen(
    browser: Browser, service: Service, picture: Callable[[str], Path]
) -> None:
    async with a_page(browser, 1180, 820, forced_colors="active") as page:
        await page.goto(f"{service.http}/?target=de,fr")
        await page.fill("#source", "Good morning. And now we")
        tail = page.locator(".column[data-target=''] .unstable:not(:empty)")
        await expect(tail).to_be_visible()
        await page.screenshot(path=picture("forced-colours"))
        styles = await page.evaluate(
            """() => ["#targets [lang=de]", "#targets [lang=es]", "#dual", "#theme"]
              .map((name) => getComputedStyle(document.querySelector(name)).backgroundColor)"""
        )
        assert styles[0] != styles[1]
        assert styles[2] != styles[3]
        assert await tail.evaluate("tail => getComputedStyle(tail).fontStyle") == "italic"


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_readers_page(browser: Browser, service: Service, scheme: Any) -> None:
    async with (
        room_of(service, name="Talk") as (room, speaker),
        a_page(browser, 390, 780, color_scheme=scheme) as page,
    ):
        await page.goto(f"{service.http}/r/{room}?target=de")
        await expect(page.locator("#state")).to_have_attribute("data-state", "open")
        assert await problems(page) == []
        await say(speaker, *(f"sentence number {i}" for i in range(20)), who="Ann")
        await expect(finals(page)).to_have_count(20)
        await page.click("#source")
        await expect(page.locator(".spoken")).to_have_count(20)
        assert await problems(page) == []
        await page.locator(".scroller").evaluate("element => element.scrollTo(0, 100)")
        await expect(page.locator(".now")).to_be_visible()
        assert await problems(page) == []


async def test_the_question_for_a_pass_phrase(browser: Browser, service: Service) -> None:
    async with room_of(service, pass_phrase="open") as (room, _), a_page(browser, 390, 780) as page:
        await page.goto(f"{service.http}/r/{room}?target=de")
        await expect(page.locator("#pass-dialog")).to_be_visible()
        assert await problems(page) == []


@pytest.mark.parametrize(("width", "height"), [(320, 256), (320, 640), (1180, 600)])
async def test_nothing_is_cut_off_at_small_widths(
    browser: Browser, service: Service, width: int, height: int, picture: Callable[[str], Path]
) -> None:
    """320 x 256 px are 1280 x 1024 at 400 % (WCAG 1.4.10): scrolling in one direction is enough."""
    async with room_of(service) as (room, speaker), a_page(browser, width, height) as page:
        await say(speaker, "a sentence with a Donaudampfschifffahrtsgesellschaftskapitän in it")
        for address in (f"/r/{room}?target=de", "/?target=de,fr,es", "/?target=de"):
            await page.goto(service.http + address)
            await page.wait_for_load_state("networkidle")
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(wide) <= 0, address
            await page.screenshot(path=picture(f"small-{width}-{height}-{len(address)}"))
            scrollers = page.locator(".column:not([data-target='']) .scroller")
            heights = [
                await each.evaluate("one => one.clientHeight") for each in await scrollers.all()
            ]
            assert min(heights) >= 48, address  # a line at least, of each language
