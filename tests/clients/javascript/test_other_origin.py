"""A page of another site, in a real Chromium: the package's client, and the element."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.clients.javascript.conftest import Package
from tests.clients.network import Network
from tests.service.conftest import Run, Service
from tokenspeed_client import connect, open_room

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CLIENT = """<!doctype html><html lang="en"><title>Another site</title><p id="said"></p>
<script type="module">
import { connect } from "/node_modules/@tokenspeed/client/dist/index.js";
const session = connect({ url: "SERVICE", source: "en", targets: ["de"] });
session.commit({ segmentId: "1", text: "Good morning." });
for await (const event of session) {
  if (event.type === "translation.final") {
    document.getElementById("said").textContent = event.text;
    session.close();
  }
  if (event.type === "connection") document.title = event.state;
}
</script></html>"""

ELEMENT = """<!doctype html><html lang="en"><title>Another site</title>
<script type="module" src="MODULE"></script>
<live-captions room="ROOM" lang="de"></live-captions></html>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def site(package: Package) -> Iterator[str]:
    """Another site, which has the package; its address."""
    handler = partial(Quiet, directory=str(package.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def put(package: Package, name: str, text: str, **words: str) -> None:
    """Write a page of the site."""
    for word, value in words.items():
        text = text.replace(word, value)
    Path(package.folder / name).write_text(text)


def with_origins(run: Run, *origins: str) -> Service:
    """A service that lets pages of these sites in."""
    return run(origins=origins)


async def test_a_named_site_is_translated_for(
    package: Package, page: Page, site: str, run: Run
) -> None:
    service = with_origins(run, site)
    put(package, "client.html", CLIENT, SERVICE=service.http)
    await page.goto(f"{site}/client.html")
    await expect(page.locator("#said")).to_have_text("GOOD MORNING.")


async def test_a_site_that_is_not_named_gets_nothing(
    package: Package, page: Page, site: str, run: Run
) -> None:
    service = with_origins(run, "https://other.example")
    put(package, "client.html", CLIENT, SERVICE=service.http)
    await page.goto(f"{site}/client.html")
    await expect(page).to_have_title("waiting")
    await expect(page.locator("#said")).to_have_text("")
    assert not service.state.connections


@pytest.mark.parametrize("is_own_copy", [True, False])
async def test_the_element_shows_what_is_said_in_a_room(
    package: Package, page: Page, site: str, run: Run, is_own_copy: bool
) -> None:
    service = with_origins(run, site)
    room = await open_room(service.http, "Talk")
    own = f"{site}/node_modules/@tokenspeed/client/dist/livecaptions.js"
    module = own if is_own_copy else f"{service.http}/src/livecaptions.js"
    put(package, "element.html", ELEMENT, MODULE=module, ROOM=room.view_url)
    await page.goto(f"{site}/element.html")
    lines = page.locator("live-captions p")
    async with connect(
        service.http, source="en", room=room.id, host_token=room.host_token
    ) as session:
        await session.commit("Good morning.", speaker="Ann")
        await expect(lines).to_have_text(["AnnGOOD MORNING."])
        await session.commit("One.")
        await session.commit("Two <b>bold</b>.")
        await expect(lines.last).to_have_text("TWO <b>BOLD</b>.")
        await expect(lines).to_have_count(2)
        await expect(lines.last).to_have_attribute("dir", "ltr")
        await page.evaluate("document.querySelector('live-captions').setAttribute('lines', '3')")
        await expect(lines).to_have_count(3)
        await page.evaluate("document.querySelector('live-captions').setAttribute('lang', 'fr')")
        await expect(lines.last).to_have_text("TWO <b>BOLD</b>.")
        await page.evaluate("document.querySelector('live-captions').remove()")
        for _ in range(100):
            if not service.state.rooms.num_readers:
                break
            await asyncio.sleep(0.02)
        assert service.state.rooms.num_readers == 0


async def test_the_element_comes_back_over_a_line_that_is_slow_and_breaks(
    package: Package, page: Page, site: str, run: Run
) -> None:
    service = with_origins(run, site)
    room = await open_room(service.http)
    async with (
        Network(service.port).running() as network,
        connect(service.http, source="en", room=room.id, host_token=room.host_token) as session,
    ):
        network.delay_s, network.piece_bytes = 0.004, 400
        module = f"{site}/node_modules/@tokenspeed/client/dist/livecaptions.js"
        put(package, "slow.html", ELEMENT, MODULE=module, ROOM=f"{network.http}/r/{room.id}")
        await page.goto(f"{site}/slow.html")
        lines = page.locator("live-captions p")
        await session.commit("One.")
        await expect(lines).to_have_text(["ONE."])
        network.is_down = True
        network.cut()
        await session.commit("Two.")
        network.is_down = False
        await expect(lines).to_have_text(["ONE.", "TWO."])
