"""The three pages in a real Firefox: captions come, and its console has no error."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conftest import Service, running
from tests.service.fakes import FakeEngine
from tests.web.firefox import firefox
from tests.web.test_rooms import room_of, say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FINALS = "[...document.querySelectorAll('.is-final .said')].map(({innerText}) => innerText)"
TYPE = """(() => {
  const box = document.querySelector("#source");
  box.value = "Good morning. Welcome. ";
  box.dispatchEvent(new Event("input"));
  return true;
})()"""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(FakeEngine(delay_s=0.01)) as found:
        yield found


async def test_captions_come_on_all_three_pages(service: Service, tmp_path: Path) -> None:
    async with firefox(tmp_path) as tab, room_of(service, name="Talk") as (room, speaker):
        await tab.goto(f"{service.http}/?target=de&ui=fr")
        await tab.wait_for("document.querySelector('#connection-text').textContent", "En direct")
        assert await tab.evaluate(TYPE)
        await tab.wait_for(FINALS, ["GOOD MORNING.", "WELCOME."])
        await tab.goto(f"{service.http}/r/{room}?target=fr")
        await say(speaker, "said to readers")
        await tab.wait_for(FINALS, ["SAID TO READERS"])
        assert await tab.evaluate("document.title") == "Talk"
        await tab.goto(f"{service.http}/overlay?room={room}&lang=fr")
        await tab.wait_for("document.documentElement.dataset.state", "open")
        await say(speaker, "said on air")
        await tab.wait_for("document.querySelector('#text').innerText.trim()", "SAID ON AIR")
        assert tab.problems == []
