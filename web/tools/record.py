"""Record the picture of the README: one speaks, three read along on their phones.

    python web/tools/record.py http://127.0.0.1:8000 --output .github/captions.webp

needs a running service, a Chromium, and `pip install playwright pillow`. The speaker opens a room
and presses Demo. Each page hands over a frame whenever it has changed, with its time, so the
picture runs at the speed of the pages. What was read at the end is printed, to be checked by
whoever reads these languages.
"""

import argparse
import asyncio
import base64
import io
import os
import shutil
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageOps
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
READERS = ("de", "fr", "es")
HEIGHT = 560
GAP = 28
SPEAKER_WIDTH = 680
PHONE = (320, 700)  # of its window; shown at a scale that fits the height
TABLE = (226, 222, 213)
FRAME = (28, 27, 25)
FRAME_MS = 160  # viewers slow faster ones down, and words come no faster
LAST_FRAME_MS = 3000


@dataclass
class Shown:
    """A page, where it stands in the picture, and what it showed when."""

    page: Page
    left: int
    width: int
    times: list[float] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)

    async def watch(self) -> None:
        """Keep what the browser shows from now on."""
        session = await self.page.context.new_cdp_session(self.page)

        def keep(event: dict[str, Any]) -> None:
            self.times.append(event["metadata"]["timestamp"])
            self.frames.append(base64.b64decode(event["data"]))
            number = {"sessionId": event["sessionId"]}
            asyncio.ensure_future(session.send("Page.screencastFrameAck", number))

        session.on("Page.screencastFrame", keep)
        await session.send("Page.startScreencast", {"format": "png", "everyNthFrame": 2})

    def at(self, time_s: float) -> int:
        """Return the number of the frame that was seen at a time."""
        return max(0, bisect_right(self.times, time_s) - 1)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url", help="address of the service")
    parser.add_argument("--output", type=Path, default=Path(".github/captions.webp"))
    parser.add_argument("--seconds", type=float, default=60.0, help="give up after")
    return parser.parse_args()


async def window(
    browser: Browser, size: tuple[int, int], scale: float, locale: str
) -> BrowserContext:
    """Open a window in somebody's language."""
    width, height = size
    return await browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=scale, locale=locale
    )


async def record(options: argparse.Namespace) -> list[Shown]:
    """Let the speaker share and press Demo; return the pages when all is final."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGS)
        context = await window(browser, (SPEAKER_WIDTH, HEIGHT), 1, "en-GB")
        speaker = await context.new_page()
        await speaker.goto(f"{options.url.rstrip('/')}/?target=de&size=30")
        await speaker.wait_for_selector('#connection[data-state="open"]')
        await speaker.click("#share")
        await speaker.wait_for_selector("#share-dialog[open]")
        link = await speaker.input_value("#share-url")
        await speaker.keyboard.press("Escape")
        shown = [Shown(speaker, GAP, SPEAKER_WIDTH)]
        scale = HEIGHT / PHONE[1]
        for number, language in enumerate(READERS):
            context = await window(browser, PHONE, scale, language)
            phone = await context.new_page()
            await phone.goto(f"{link}?target={language}")
            await phone.wait_for_selector('#state[data-state="open"]')
            width = round(PHONE[0] * scale)
            left = 2 * GAP + SPEAKER_WIDTH + number * (width + GAP)
            shown.append(Shown(phone, left, width))
        for each in shown:
            await each.watch()
        await speaker.click("#demo")
        await speaker.mouse.move(0, 0)
        waited_s = 0.0
        while await speaker.get_attribute("#demo", "aria-pressed") == "true":
            await asyncio.sleep(0.2)
            waited_s += 0.2
            if waited_s > options.seconds:
                raise TimeoutError(f"the talk is not over after {options.seconds} s")
        await asyncio.sleep(1)
        for language, each in zip(READERS, shown[1:], strict=True):
            for said in await each.page.locator(".is-final .said").all_inner_texts():
                print(f"{language}: {said}")  # noqa: T201
        await browser.close()
    return shown


def write(shown: list[Shown], output: Path) -> None:
    """Lay the windows beside each other and put the frames together."""
    size = (shown[-1].left + shown[-1].width + GAP, HEIGHT + 2 * GAP)
    start, end = max(each.times[0] for each in shown), max(each.times[-1] for each in shown)
    pictures: list[Image.Image] = []
    durations_ms: list[int] = []
    before: list[int] | None = None
    for step in range(round((end - start) * 1000 / FRAME_MS) + 1):
        numbers = [each.at(start + step * FRAME_MS / 1000) for each in shown]
        if numbers == before:
            durations_ms[-1] += FRAME_MS
            continue
        before = numbers
        pictures.append(together(shown, numbers, size))
        durations_ms.append(FRAME_MS)
    durations_ms[-1] = LAST_FRAME_MS
    first, *rest = pictures
    first.save(
        output,
        save_all=True,
        append_images=rest,
        duration=durations_ms,
        loop=0,
        minimize_size=True,
        lossless=True,  # a page is flat: smaller than lossy, and no ghosts of earlier frames
        method=6,
    )


def together(shown: list[Shown], numbers: list[int], size: tuple[int, int]) -> Image.Image:
    """Return one frame of the picture."""
    canvas = Image.new("RGB", size, TABLE)
    draw = ImageDraw.Draw(canvas)
    for each, number in zip(shown, numbers, strict=True):
        seen = Image.open(io.BytesIO(each.frames[number])).convert("RGB")
        seen = seen.resize((each.width, HEIGHT)) if seen.size != (each.width, HEIGHT) else seen
        is_phone = each.width < SPEAKER_WIDTH
        radius, edge = (22, 7) if is_phone else (10, 1)
        right, bottom = each.left + each.width, GAP + HEIGHT
        box = (each.left - edge, GAP - edge, right + edge - 1, bottom + edge - 1)
        draw.rounded_rectangle(box, radius + edge, fill=FRAME)
        mask = Image.new("L", seen.size)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, *seen.size), radius, fill=255)
        canvas.paste(seen, (each.left, GAP), mask)
    return ImageOps.posterize(canvas, 5)  # shades of letters' edges that nobody sees: a third less


def main() -> None:
    """Record and write."""
    options = parse_options()
    shown = asyncio.run(record(options))
    write(shown, options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
