"""A headless Chromium, a server to talk to, and a place for pictures."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Playwright, async_playwright, expect

from tests.web.fake_server import FakeServer

CHROMIUM_NAMES = (
    "chromium-headless-shell",  # without a window to draw: a third of the processor time
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
MAC_CHROME = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ADVICE = (
    "The browser tests need a Chromium. Install one from the system's packages "
    "(`apt-get install chromium-headless-shell`, `dnf install chromium`, "
    "`brew install --cask chromium`), or `python -m playwright install chromium`, or set CHROMIUM "
    "to its path."
)

expect.set_options(timeout=20_000)  # for a loaded machine; nothing waits longer than it must


def find_chromium(playwright: Playwright) -> str:
    """Return the path of a Chromium: $CHROMIUM, one of the system's, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    found = [named] if named else [shutil.which(name) for name in CHROMIUM_NAMES]
    candidates = [*found, str(MAC_CHROME), playwright.chromium.executable_path]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return candidate
    pytest.fail(ADVICE)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests; each opens a page of its own."""
    async with async_playwright() as playwright:
        path = find_chromium(playwright)
        launched = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page with a clean storage, on which any script error fails the test."""
    context = await browser.new_context(viewport={"width": 1180, "height": 820})
    opened = await context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    await context.close()
    assert problems == []


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[FakeServer]:
    """A running fake server."""
    server = FakeServer()
    async with server.running():
        yield server


@pytest.fixture
def picture(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Return where a screenshot goes: $TOKENSPEED_SCREENSHOTS, else the test's own folder."""
    folder = Path(os.environ.get("TOKENSPEED_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: folder / f"{name}.png"
