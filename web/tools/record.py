"""Record the page's demo as a short animated picture.

    python web/tools/record.py http://127.0.0.1:8000 --output page.webp

needs a running service, a Chromium, and `pip install playwright pillow`. The browser hands over a
frame whenever the page has changed, with its time, so the picture runs at the speed of the page.
"""

import argparse
import asyncio
import base64
import io
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LAST_FRAME_MS = 2500
MIN_FRAME_MS = 50  # viewers slow faster frames down

Frame = tuple[float, bytes]  # seconds, PNG


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url", help="address of the service")
    parser.add_argument("--output", type=Path, default=Path("page.webp"), help="webp or gif")
    parser.add_argument("--target", default="de", help="languages, with commas")
    parser.add_argument("--size", default="960x560", help="of the window, in pixels")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    parser.add_argument("--seconds", type=float, default=30.0, help="give up after")
    return parser.parse_args()


async def record(options: argparse.Namespace) -> list[Frame]:
    """Play the demo until it is over and everything is final; return the frames."""
    width, height = (int(part) for part in options.size.split("x"))
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGS)
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=options.scheme,
        )
        page = await context.new_page()
        await page.goto(f"{options.url.rstrip('/')}/?target={options.target}")
        await page.wait_for_selector('#connection[data-state="open"]')
        frames = await watch(page, options.seconds)
        await browser.close()
    return frames


async def watch(page: Page, limit_s: float) -> list[Frame]:
    """Press Demo and collect what the browser shows."""
    frames: list[Frame] = []
    session = await page.context.new_cdp_session(page)

    def keep(event: dict[str, Any]) -> None:
        frames.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        acknowledged = session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        pending.append(asyncio.ensure_future(acknowledged))

    pending: list[asyncio.Future[Any]] = []
    session.on("Page.screencastFrame", keep)
    await session.send("Page.startScreencast", {"format": "png", "everyNthFrame": 1})
    await page.click("#demo")
    await page.mouse.move(0, 0)
    over = """() => document.querySelector("#demo").textContent === "Demo"
      && document.querySelectorAll(".block:not(.is-final)").length === 0"""
    await page.wait_for_function(over, timeout=limit_s * 1000)
    await page.wait_for_timeout(400)
    await session.send("Page.stopScreencast")
    await asyncio.gather(*pending)
    return frames


def write(frames: list[Frame], output: Path) -> None:
    """Put the frames together, each for as long as it was seen."""
    kept: list[Image.Image] = []
    durations_ms: list[int] = []
    for (start, data), (end, _) in pairwise([*frames, (frames[-1][0], b"")]):
        if kept and durations_ms[-1] < MIN_FRAME_MS:
            kept.pop()
            durations_ms[-1] += round((end - start) * 1000)
        else:
            durations_ms.append(round((end - start) * 1000))
        kept.append(Image.open(io.BytesIO(data)).convert("RGB"))
    durations_ms[-1] = LAST_FRAME_MS
    first, *rest = kept
    first.save(
        output,
        save_all=True,
        append_images=rest,
        duration=durations_ms,
        loop=0,
        lossless=True,  # a page is flat: smaller than lossy, and no ghosts of earlier frames
        method=4,
    )


def main() -> None:
    """Record and write."""
    options = parse_options()
    frames = asyncio.run(record(options))
    write(frames, options.output)
    size = options.output.stat().st_size
    print(f"{options.output}: {len(frames)} frames, {size / 1e6:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
