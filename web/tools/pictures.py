"""Take the pictures of the documentation: a speaker, readers at a phone and a wall, an overlay.

    python web/tools/pictures.py http://127.0.0.1:8000 --output docs/pictures

needs a running service, a Chromium, and `pip install httpx pillow playwright websockets`. Somebody
speaks a short talk in a new room, word by word; the pictures are taken in the middle of a sentence.
"""

import argparse
import asyncio
import io
import json
import os
import shutil
from pathlib import Path

import httpx
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright
from websockets.asyncio.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WORD_S = 0.16  # a quick speaker
TALK = (
    ("Ann", "Good evening, ladies and gentlemen."),
    ("Ann", "Welcome to our town."),
    ("Ann", "Today we want to talk about the new station."),
    ("Ben", "The first trains will leave in the spring."),
    ("Ben", "There will also be a new bridge over the river."),
)
OPEN = "You can walk from the market to the station in five"


async def talk(socket: ClientConnection) -> None:
    """Speak, and stop in the middle of a sentence."""
    for number, (speaker, sentence) in enumerate((*TALK, ("Ben", OPEN))):
        words = sentence.split()
        for rev in range(1, len(words) + 1):
            update = {"type": "source.update", "segment_id": str(number), "rev": rev}
            update |= {"stable": " ".join(words[: max(rev - 1, 0)]) + " " * (rev > 1)}
            await socket.send(json.dumps(update | {"unstable": words[rev - 1], "speaker": speaker}))
            await asyncio.sleep(WORD_S)
        if sentence is not OPEN:
            commit = {"type": "source.commit", "segment_id": str(number), "text": sentence}
            await socket.send(json.dumps(commit))


async def page(browser: Browser, url: str, size: tuple[int, int], **options: str) -> Page:
    """Open a page in a window of its own."""
    scale = 2 if size[0] < 500 else 1
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=scale,
        **options,  # type: ignore[arg-type]
    )
    opened = await context.new_page()
    await opened.goto(url)
    return opened


async def take(options: argparse.Namespace) -> None:
    """Open the pages, let somebody speak, and take the pictures."""
    base = options.url.rstrip("/")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
        room = (await http.post("/v1/rooms", json={"name": "Town meeting"})).json()
    stream = f"{base.replace('http', 'ws', 1)}/v1/stream?token={room['host_token']}"
    async with async_playwright() as playwright, connect(stream, proxy=None) as socket:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGS)
        link = f"{base}/r/{room['id']}"
        pages = {
            "phone": await page(browser, f"{link}?target=de", (390, 760), locale="de-DE"),
            "phone-dark": await page(
                browser, f"{link}?target=es", (390, 760), locale="es-ES", color_scheme="dark"
            ),
            "wall": await page(
                browser, f"{link}?target=fr", (1600, 900), locale="fr-FR", color_scheme="dark"
            ),
            "overlay": await page(
                browser, f"{base}/overlay?room={room['id']}&lang=de&hide=0", (1280, 720)
            ),
        }
        session = {"source": {"language": "en"}, "targets": [], "room": room["id"]}
        await socket.send(json.dumps({"type": "session.update", "session": session}))
        for name in ("phone", "phone-dark", "wall"):
            await pages[name].wait_for_selector('#state[data-state="open"]')
        await talk(socket)
        await asyncio.sleep(0.5)
        await pages["overlay"].evaluate("document.body.style.background = '#3b5d75'")
        for name, opened in pages.items():
            keep(await opened.screenshot(), options.output / f"{name}.webp")
        await pages["wall"].set_viewport_size({"width": 3840, "height": 2160})
        for _ in range(4):
            await pages["wall"].click("#larger")
        await pages["wall"].wait_for_timeout(500)
        keep(await pages["wall"].screenshot(), options.output / "wall-4k.webp", scale=0.5)
        for name, scheme in (("speaker", "light"), ("speaker-dark", "dark")):
            await speak(browser, f"{base}/?target=de,fr", scheme, options.output / f"{name}.webp")
        speaker = await page(browser, base, (1180, 820))
        await speaker.click("#share")
        await speaker.wait_for_selector("#share-dialog[open]")
        await speaker.wait_for_timeout(1000)
        keep(await speaker.screenshot(), options.output / "share.webp")
        await browser.close()


async def speak(browser: Browser, url: str, scheme: str, path: Path) -> None:
    """Type the talk at the speaker's page, and take its picture in the middle of a sentence."""
    opened = await page(browser, url, (1280, 760), color_scheme=scheme)
    await opened.wait_for_selector('#connection[data-state="open"]')
    text = " ".join(sentence for _, sentence in TALK)
    await opened.locator("#source").press_sequentially(f"{text} {OPEN}", delay=30)
    await opened.wait_for_timeout(500)
    keep(await opened.screenshot(), path)


def keep(png: bytes, path: Path, scale: float = 1.0) -> None:
    """Write a picture; a page is flat, so without loss it is small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = Image.open(io.BytesIO(png)).convert("RGB")
    if scale != 1.0:
        found = found.resize((round(scale * found.width), round(scale * found.height)))
    found.save(path, lossless=True, method=6)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")  # noqa: T201


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url", help="address of the service")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"))
    asyncio.run(take(parser.parse_args()))


if __name__ == "__main__":
    main()
