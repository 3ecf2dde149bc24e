"""The page in a real Chromium, against a server that speaks the protocol without a model."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from service.wire import protocol
from tests.web.fake_server import PHRASES, FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SENTENCE = PHRASES[1]["en"]
GERMAN = PHRASES[1]["de"]
DEMO = "Good evening, ladies and gentlemen."  # which the fake server does not know, and repeats

# Keeps every text that a caption's committed part ever had, and where the page's regions stood.
WATCH = """() => {
  window.seen = {};
  window.places = new Set();
  const look = () => {
    for (const caption of document.querySelectorAll(".column:not([data-target='']) .caption")) {
      const name = caption.closest(".column").dataset.target + caption.dataset.segment;
      const texts = (window.seen[name] ??= [""]);
      const text = caption.querySelector(".stable").textContent;
      if (texts.at(-1) !== text) texts.push(text);
    }
    const regions = document.querySelectorAll("#stage, #columns, #source, .top");
    const boxes = [...regions].map((element) => {
      const { x, y, width, height } = element.getBoundingClientRect();
      return [x, y, width, height];
    });
    window.places.add(JSON.stringify(boxes));
  };
  const changes = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(document.body, changes);
}"""


async def open_page(page: Page, server: FakeServer, query: str = "") -> None:
    """Open the page and wait until its session runs."""
    await page.goto(server.url + query)
    await expect(page.locator("#connection")).to_have_attribute("data-state", "open")


async def type_text(page: Page, text: str, delay_ms: float = 8) -> None:
    """Type at a pace that makes several updates a sentence."""
    await expect(page.locator("#source")).to_be_visible()  # seen once the page listens to it
    await page.focus("#source")
    await page.keyboard.type(text, delay=delay_ms)


def stable(page: Page, target: str = "de") -> str:
    """Return the selector of the newest committed text of a language."""
    return f'.column[data-target="{target}"] .caption:last-child .stable'


async def test_a_typed_sentence_grows_is_committed_and_nothing_jumps(
    page: Page, fake: FakeServer, picture: Callable[[str], Path]
) -> None:
    await open_page(page, fake)
    await page.evaluate(WATCH)
    await type_text(page, SENTENCE[:40])
    await expect(page.locator(".unstable").last).not_to_be_empty()
    open_caption = page.locator(".caption", has=page.locator(".unstable:not(:empty)"))
    assert await open_caption.get_attribute("aria-hidden") == "true"
    await page.screenshot(path=picture("typing"))
    await type_text(page, SENTENCE[40:])
    await page.keyboard.press("Enter")
    await expect(page.locator(stable(page))).to_have_text(GERMAN)
    await expect(page.locator(".is-final .said")).to_have_text(GERMAN)
    await expect(page.locator("#source")).to_have_value("")

    histories = list((await page.evaluate("window.seen")).values())
    assert max(len(texts) for texts in histories) > 3, "the caption did not grow step by step"
    for texts in histories:
        for before, after in zip(texts, texts[1:], strict=False):
            assert after.startswith(before), "committed text was taken back"
    assert len(await page.evaluate("[...window.places]")) == 1, "a region of the page moved"

    updates = [event for event in fake.received if isinstance(event, protocol.SourceUpdate)]
    assert updates[-1].end_ms is not None
    assert [event.rev for event in updates] == sorted({event.rev for event in updates})


async def test_sentences_leave_the_box_one_by_one(page: Page, fake: FakeServer) -> None:
    await open_page(page, fake)
    first, second, third = (phrase["en"] for phrase in PHRASES[:3])
    await type_text(page, f"{first} {second} {third[:20]}", delay_ms=1)
    await expect(page.locator("#source")).to_have_value(third[:20])
    await expect(page.locator(".is-final .said")).to_have_count(2)
    commits = [event for event in fake.received if isinstance(event, protocol.SourceCommit)]
    assert [event.text for event in commits] == [first, second]
    assert len({event.segment_id for event in commits}) == 2


async def test_the_meter_shows_what_the_server_measured(page: Page, fake: FakeServer) -> None:
    await open_page(page, fake)
    await type_text(page, SENTENCE[:20])
    await expect(page.locator("#meter-median")).to_have_text("40 ms")
    await expect(page.locator("#meter-p95")).to_have_text("40 ms")
    await expect(page.locator("#meter-within")).to_have_text("100 %")
    await expect(page.locator("#meter-round-trip")).to_have_text(re.compile(r"^[\d.]+ ms$"))
    await expect(page.locator("#meter-verdict")).to_be_empty()
    fake.total_ms = 250.0
    await page.reload()
    await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    await type_text(page, SENTENCE[:20])
    await expect(page.locator("#meter-p95")).to_have_text("250 ms")
    await expect(page.locator("#meter-within")).to_have_text("0 %")
    await expect(page.locator("#meter-verdict")).to_have_text("is over 200 ms")


async def test_a_lost_server_is_said_and_what_is_written_survives(
    page: Page, picture: Callable[[str], Path]
) -> None:
    server = FakeServer()
    first, second = PHRASES[0], PHRASES[1]
    async with server.running():
        await open_page(page, server)
        await page.evaluate(WATCH)
        await type_text(page, first["en"] + " " + second["en"][:40])
        await expect(page.locator(".is-final .said")).to_have_count(1)
        await expect(page.locator(stable(page))).to_have_text(re.compile("Heute"))
    await expect(page.locator("#connection")).not_to_have_attribute("data-state", "open")
    await expect(page.locator("#notice-text")).to_contain_text("cannot be reached")
    await page.screenshot(path=picture("offline"))
    await type_text(page, second["en"][40:] + " " + PHRASES[2]["en"][:30])
    server.received.clear()
    async with server.running():
        await expect(page.locator("#connection")).to_have_attribute("data-state", "open")
        await expect(page.locator("#notice")).to_be_hidden()
        await expect(page.locator(".is-final .said")).to_have_text([first["de"], second["de"]])
        await expect(page.locator(stable(page))).to_have_text(re.compile("^Dort"))
        kinds = [type(event) for event in server.received if not isinstance(event, protocol.Ping)]
        assert kinds[:3] == [protocol.SessionUpdate, protocol.SourceCommit, protocol.SourceUpdate]
        for texts in (await page.evaluate("window.seen")).values():
            for before, after in zip(texts, texts[1:], strict=False):
                assert after.startswith(before), "committed text was taken back"
        await page.goto("about:blank")


async def test_a_server_that_is_not_there_is_no_silent_hang(page: Page) -> None:
    server = FakeServer()
    async with server.running():
        await page.route("**/*", lambda route: route.continue_())
        await page.route_web_socket("**/v1/stream", lambda socket: socket.close(code=1013))
        await page.goto(server.url)
        await expect(page.locator("#notice-text")).to_contain_text("is full")
        await expect(page.locator("#reconnect")).to_be_visible()
        await page.goto("about:blank")


async def test_several_languages_at_once_and_the_shortcuts(
    page: Page, fake: FakeServer, picture: Callable[[str], Path]
) -> None:
    await open_page(page, fake)
    await page.get_by_role("button", name="Français").click()
    await type_text(page, PHRASES[0]["en"])
    await page.keyboard.press("Enter")
    await expect(page.locator(".column[data-target=de] .is-final .said")).to_have_text(
        PHRASES[0]["de"]
    )
    await expect(page.locator(".column[data-target=fr] .is-final .said")).to_have_text(
        PHRASES[0]["fr"]
    )
    await type_text(page, SENTENCE)
    await page.screenshot(path=picture("two-targets"))

    await page.keyboard.press("Escape")
    window = page.locator('.column[data-target="de"] .scroller')
    size = "element => parseFloat(getComputedStyle(element).fontSize)"
    before = await window.evaluate(size)
    await page.keyboard.press("+")
    await page.wait_for_function(
        f"""() => ({size})(
          document.querySelector('.column[data-target="de"] .scroller'),
        ) > {before}"""
    )
    assert await page.locator("#page").evaluate("page => page.classList.contains('is-dual')")
    await page.keyboard.press("b")
    await page.wait_for_function("!document.querySelector('#page').classList.contains('is-dual')")
    await page.keyboard.press("l")
    await expect(page.locator(".column:not([data-target=''])")).to_have_count(1)
    await expect(page.locator(".column:not([data-target=''])")).to_have_attribute(
        "data-target", "fr"
    )
    await page.keyboard.press("d")
    await page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    await page.reload()  # choices are remembered
    await expect(page.locator(".column:not([data-target=''])")).to_have_attribute(
        "data-target", "fr"
    )


async def test_space_pauses_and_holds_back_what_is_typed(page: Page, fake: FakeServer) -> None:
    await open_page(page, fake)
    await page.keyboard.press("Escape")
    await page.keyboard.press(" ")
    await expect(page.locator("#notice-text")).to_contain_text("Paused")
    await type_text(page, PHRASES[0]["en"], delay_ms=1)
    assert not any(isinstance(event, protocol.SourceUpdate) for event in fake.received)
    await page.keyboard.press("Escape")
    await page.keyboard.press(" ")
    await expect(page.locator(".said .unstable").last).not_to_be_empty()
    await expect(page.locator("#source")).to_have_value(PHRASES[0]["en"])


async def test_the_transcript_can_be_taken_along(page: Page, fake: FakeServer) -> None:
    await open_page(page, fake)
    await type_text(page, PHRASES[0]["en"] + "\n", delay_ms=1)
    await expect(page.locator(".is-final .said")).to_have_count(1)
    await page.keyboard.press("Escape")
    await page.keyboard.press("e")
    starts = {"vtt": "WEBVTT\n", "srt": "1\n00:00:0", "txt": "Guten", "json": "{"}
    for form, start in starts.items():
        async with page.expect_download() as waiting:
            await page.locator(f"[data-format={form}]").click()
        download = await waiting.value
        assert download.suggested_filename == f"captions.{form}"
        text = await asyncio.to_thread((await download.path()).read_text)
        assert text.startswith(start)
        assert PHRASES[0]["de"] in text


async def test_the_transcript_survives_a_reload_until_it_is_cleared(
    page: Page, fake: FakeServer
) -> None:
    await open_page(page, fake)
    await type_text(page, PHRASES[0]["en"] + "\n", delay_ms=1)
    await expect(page.locator(".is-final .said")).to_have_text(PHRASES[0]["de"])
    await page.reload()
    await expect(page.locator(".is-final .said")).to_have_text(PHRASES[0]["de"])
    await type_text(page, PHRASES[1]["en"] + "\n", delay_ms=1)
    await expect(page.locator(".is-final .said")).to_have_text([PHRASES[0]["de"], PHRASES[1]["de"]])
    await page.keyboard.press("Escape")
    await page.keyboard.press("e")
    await page.locator("#clear").click()
    await expect(page.locator(".is-final .said")).to_have_count(0)
    await expect(page.locator(".welcome")).to_be_visible()


async def test_a_word_that_is_being_typed_is_not_committed(page: Page, fake: FakeServer) -> None:
    await open_page(page, fake)
    await type_text(page, "Good morn")
    await expect(page.locator(".said .unstable").last).not_to_be_empty()
    await page.wait_for_timeout(150)
    update = [event for event in fake.received if isinstance(event, protocol.SourceUpdate)][-1]
    assert (update.stable, update.unstable) == ("Good ", "morn")


async def test_the_demo_types_by_itself(page: Page, fake: FakeServer) -> None:
    await open_page(page, fake)
    await page.get_by_role("button", name="Demo").click()
    await expect(page.locator(".is-final .said").first).to_have_text(DEMO)
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("button", name="Demo")).to_be_visible()


async def test_a_browser_source_shows_captions_alone_and_is_transparent(
    page: Page, fake: FakeServer, picture: Callable[[str], Path]
) -> None:
    query = "?obs=1&demo=1&target=de&size=48&lines=3&color=ffee00&bg=000000b3&align=left"
    await open_page(page, fake, query)
    await expect(page.locator(stable(page))).not_to_be_empty()
    for region in (".top", ".welcome", ".composer", ".column-label"):
        await expect(page.locator(region)).to_be_hidden()
    style = await page.evaluate(
        """() => {
          const row = document.querySelector('.column[data-target="de"]');
          const styles = getComputedStyle(row.querySelector(".said"));
          return [getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.documentElement).backgroundColor, styles.fontSize,
            styles.color, styles.textAlign, getComputedStyle(row).backgroundColor];
        }"""
    )
    clear = "rgba(0, 0, 0, 0)"
    assert style == [clear, clear, "48px", "rgb(255, 238, 0)", "start", "rgba(0, 0, 0, 0.7)"]
    await page.screenshot(path=picture("obs"), omit_background=True)


RECOGNIZER = """
window.SpeechRecognition = window.webkitSpeechRecognition = class {
  constructor() { window.recognizer = this; }
  start() {}
  abort() {}
  say(transcript, isFinal) {
    this.onresult({ resultIndex: 0, results: [{ isFinal, 0: { transcript } }] });
  }
};
"""


async def test_speech_is_a_guess_until_the_recogniser_is_sure(page: Page, fake: FakeServer) -> None:
    await page.add_init_script(RECOGNIZER)
    await open_page(page, fake)
    await page.get_by_role("button", name="Speak").click()
    await expect(page.locator("#source")).to_have_attribute("placeholder", "Listening …")
    await page.evaluate("recognizer.say('Good mourning', false)")
    await expect(page.locator("#source")).to_have_value("Good mourning")
    await page.evaluate(f"recognizer.say({PHRASES[0]['en']!r}, true)")
    await expect(page.locator(".is-final .said")).to_have_text(PHRASES[0]["de"])
    source = [e for e in fake.received if isinstance(e, protocol.SourceUpdate)][0]
    assert (source.stable, source.unstable) == ("", "Good mourning")
    commit = [e for e in fake.received if isinstance(e, protocol.SourceCommit)][0]
    assert commit.text == PHRASES[0]["en"]


CONTRAST = """(selector) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ink = luminance(getComputedStyle(document.querySelector(selector)).color);
  const paper = luminance(getComputedStyle(document.documentElement).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""


@pytest.mark.parametrize("width", [360, 1180])
async def test_every_size_and_scheme_is_readable(
    page: Page, fake: FakeServer, width: int, picture: Callable[[str], Path]
) -> None:
    await page.set_viewport_size({"width": width, "height": 740})
    await open_page(page, fake, "?target=de,fr")
    await type_text(page, " ".join(phrase["en"] for phrase in PHRASES), delay_ms=1)
    await expect(page.locator(".column[data-target=fr] .is-final .said")).to_have_count(3)
    await expect(page.locator(".said .unstable").last).not_to_be_empty()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        await page.emulate_media(color_scheme=scheme)
        await page.screenshot(path=picture(f"{scheme}-{width}"))
        assert await page.evaluate(CONTRAST, stable(page)) >= 7
        assert await page.evaluate(CONTRAST, ".caption:last-child .unstable") >= 4.5
        assert await page.evaluate(CONTRAST, ".column-label") >= 4.5
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    wide = await page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((element) => {
          const { right, width } = element.getBoundingClientRect();
          return width > 1 && right > innerWidth + 1;
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert wide == []
