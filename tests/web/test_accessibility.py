"""The pages against axe-core, in their states: what it finds is what somebody cannot use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.service.conftest import Service, running
from tests.service.fakes import FakeEngine
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
async def test_the_speakers_page(browser: Browser, service: Service, scheme: Any) -> None:
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
            await page.keyboard.press("Escape")


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


@pytest.mark.parametrize("width", [320, 1180])
async def test_nothing_is_cut_off_at_small_widths(
    browser: Browser, service: Service, width: int
) -> None:
    """320 px are 1280 at 400 % zoom (WCAG 1.4.10): one direction of scrolling is enough."""
    async with room_of(service) as (room, speaker), a_page(browser, width, 600) as page:
        await say(speaker, "a sentence with a Donaudampfschifffahrtsgesellschaftskapitän in it")
        for address in (f"/r/{room}?target=de", "/?target=de,fr,es"):
            await page.goto(service.http + address)
            await page.wait_for_load_state("networkidle")
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(wide) <= 0, address
