"""`tokenspeed captions`: lines of text or speech in; a terminal, a room and subtitles out.

whisper-stream -m model.bin | tokenspeed captions --from en --to de --room talk
arecord -q -f S16_LE -r 16000 | tokenspeed captions --audio - --from en --to de
tokenspeed captions --audio talk.wav --from en --to de --vtt talk.vtt
arecord -q -f S16_LE -r 16000 | tokenspeed captions --audio - --to de --obs ws://127.0.0.1:4455
"""

import argparse
import asyncio
import codecs
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from tokenspeed_client.captioning.audio import pieces_of_file, pieces_of_stream
from tokenspeed_client.captioning.heard import Heard, agreed
from tokenspeed_client.captioning.lines import Lines
from tokenspeed_client.captioning.outputs import Subtitles, Terminal, subtitle_files
from tokenspeed_client.captioning.recognisers import RECOGNISERS, hear, load
from tokenspeed_client.client import Session, connect
from tokenspeed_client.dialogue import ConnectionChanged, SessionEvent
from tokenspeed_client.errors import ClientError
from tokenspeed_client.events import (
    Error,
    SessionCreated,
    SessionSnapshot,
    TranslationDelta,
    TranslationFinal,
    TranslationRetracted,
)
from tokenspeed_client.rooms import open_room
from tokenspeed_client.sinks.cues import READ_CHARS_PER_S
from tokenspeed_client.sinks.feed import Feed, Sink
from tokenspeed_client.sinks.hls import Hls
from tokenspeed_client.sinks.obs import Obs
from tokenspeed_client.sinks.zoom import Zoom

TOKEN_VARIABLE: Final = "TOKENSPEED_TOKEN"
OBS_VARIABLE: Final = "TOKENSPEED_OBS_PASSWORD"
MAX_WAITING: Final = 30  # sentences without finals; further input is read once there are fewer
CLOSE_S: Final = 60.0  # for the last finals


def add_captions(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (__doc__ or "").partition("\n\n")[2]
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the service")
    parser.add_argument(
        "--from",
        dest="source",
        default="auto",
        metavar="LANG",
        help="language that is spoken (default: auto)",
    )
    parser.add_argument(
        "--to",
        default="",
        metavar="LANG[,LANG]",
        help="languages to translate into; not needed in a room",
    )
    parser.add_argument(
        "--mode",
        choices=("captions", "append_only"),
        default="captions",
        help="append_only: text is never taken back",
    )
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE),
        help=f"API key (default: ${TOKEN_VARIABLE})",
    )
    parser.add_argument("--room", help="a name: open a room; the link of a room: speak in it")
    parser.add_argument("--host-token", help="token of the host of the room whose link was given")
    parser.add_argument(
        "--audio",
        metavar="FILE",
        help="a WAV file; -: 16-bit samples at 16 kHz from standard input",
    )
    parser.add_argument(
        "--recogniser",
        choices=sorted(RECOGNISERS),
        default="pocketsphinx",
        help="what turns --audio into text",
    )
    parser.add_argument("--model", help="model of the speech recogniser")
    parser.add_argument(
        "--real-time", action="store_true", help="read a file at the speed at which it was spoken"
    )
    parser.add_argument("--srt", type=Path, metavar="FILE", help="write subtitles to this file")
    parser.add_argument("--vtt", type=Path, metavar="FILE", help="write subtitles to this file")
    parser.add_argument(
        "--obs", metavar="URL", help=f"send captions to OBS; its password: ${OBS_VARIABLE}"
    )
    parser.add_argument(
        "--zoom", metavar="URL", help="send captions to the caption URL of a meeting"
    )
    parser.add_argument(
        "--hls", type=Path, metavar="DIR", help="write WebVTT playlists to this folder"
    )
    parser.set_defaults(run=run)


def main() -> int:
    """Run the command on its own."""
    parser = argparse.ArgumentParser(prog="tokenspeed-captions")
    add_captions(parser)
    options = parser.parse_args()
    code: int = options.run(options)
    return code


def run(options: argparse.Namespace) -> int:
    """Run until the input ends, or until a signal; return the exit code."""
    targets = tuple(filter(None, options.to.split(",")))
    if not targets and not options.room:
        return _refuse("name the languages: --to de,fr, or a --room in which readers choose")
    if not targets and any((options.srt, options.vtt, options.obs, options.zoom, options.hls)):
        return _refuse("subtitles need a language: --to")
    try:
        files = [
            subtitle_files(path, targets) for path in (options.srt, options.vtt) if path is not None
        ]
        sinks = _sinks(options, targets)
        said = speech(options) if options.audio else text_lines(sys.stdin.fileno())
        asyncio.run(_caption(options, targets, said, files, sinks))
    except (ClientError, OSError, ValueError) as exc:
        return _refuse(str(exc))
    return 0


def _sinks(options: argparse.Namespace, targets: tuple[str, ...]) -> list[tuple[str, Sink]]:
    """Return each sink with its language; OBS and Zoom show one, the first."""
    found: list[tuple[str, Sink]] = []
    if options.obs:
        found.append((targets[0], Obs(options.obs, os.environ.get(OBS_VARIABLE))))
    if options.zoom:
        found.append((targets[0], Zoom(options.zoom, targets[0])))
    if options.hls:
        found += [(target, Hls(options.hls, target)) for target in targets]
    return found


def _refuse(problem: str) -> int:
    print(f"tokenspeed captions: {problem}", file=sys.stderr)
    return 2


# ---- what is said ----


def speech(options: argparse.Namespace) -> Iterator[Heard]:
    """Yield what a recogniser hears."""
    recogniser = load(options.recogniser, options.model, options.source)
    rate = recogniser.sample_rate
    if options.audio == "-":
        pieces = pieces_of_stream(sys.stdin.buffer, rate)
    else:
        pieces = pieces_of_file(Path(options.audio), rate)
        if options.real_time:
            pieces = _paced(pieces, rate)
    return hear(recogniser, pieces)


def _paced(pieces: Iterable[bytes], rate: int) -> Iterator[bytes]:
    """Yield each piece at the time when it would have been spoken."""
    began_s, spoken_s = time.monotonic(), 0.0
    for piece in pieces:
        spoken_s += len(piece) / 2 / rate
        time.sleep(max(0.0, began_s + spoken_s - time.monotonic()))
        yield piece


def text_lines(descriptor: int) -> Iterator[Heard]:
    """Yield what another program writes, as soon as it does."""
    lines, decode = Lines(), codecs.getincrementaldecoder("utf-8")("replace").decode
    while data := os.read(descriptor, 65536):
        yield from lines.accept(decode(data))
    yield from lines.accept(decode(b"", True))
    yield from lines.finish()


async def _from_thread(said: Iterator[Heard], is_over: asyncio.Event) -> AsyncIterator[Heard]:
    """Yield what a blocking iterator yields, until its end or until `is_over` is set."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Heard | Exception | None] = asyncio.Queue()

    def read() -> None:
        ending: Exception | None = None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            try:
                for heard in said:
                    loop.call_soon_threadsafe(queue.put_nowait, heard)
            except Exception as exc:  # a recogniser may raise anything; it is raised again below
                ending = exc
            loop.call_soon_threadsafe(queue.put_nowait, ending)

    async def end() -> None:
        await is_over.wait()
        queue.put_nowait(None)

    # A daemon: a blocking read, as of a terminal, cannot be interrupted.
    threading.Thread(target=read, name="what is said", daemon=True).start()
    ending = asyncio.create_task(end())
    try:
        while (heard := await queue.get()) is not None:
            if isinstance(heard, Exception):
                raise heard
            yield heard
    finally:
        ending.cancel()


# ---- from there to here ----


@dataclass
class Outputs:
    """Where events go.

    Attributes:
        files: subtitles by language.
        feeds: sinks that show finals, each with its language.
        times: beginning and end of committed segments, in milliseconds.
    """

    terminal: Terminal
    files: list[Mapping[str, Subtitles]]
    feeds: list[tuple[str, Feed]] = field(default_factory=list)
    times: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, event: SessionEvent) -> None:
        """Show an event."""
        match event:
            case TranslationDelta():
                self.terminal.grow(event.segment_id, event.target, event.append, event.unstable)
            case SessionCreated():
                self.terminal.begin_anew()
            case SessionSnapshot():
                for each in event.segments:
                    self.terminal.show(each.segment_id, each.target, each.text, each.unstable)
            case TranslationFinal():
                self.terminal.end(event.segment_id, event.target, event.text)
                # Parts of a text that was cut carry its name: s1, s1~2.
                start_ms, end_ms = self.times[event.segment_id.partition("~")[0]]
                for files in self.files:
                    files[event.target].add(event.text, start_ms, end_ms)
                for target, feed in self.feeds:
                    if target == event.target and event.text:
                        feed.add(event.text)
            case TranslationRetracted():
                self.terminal.drop(event.segment_id, event.target)
            case Error():
                _tell(event.error.message)
            case ConnectionChanged(state="waiting"):
                _tell(f"{event.reason}; trying again")


def _tell(message: str) -> None:
    print(f"tokenspeed captions: {message}", file=sys.stderr, flush=True)


async def _caption(
    options: argparse.Namespace,
    targets: tuple[str, ...],
    said: Iterator[Heard],
    files: list[Mapping[str, Subtitles]],
    sinks: list[tuple[str, Sink]],
) -> None:
    room, host_token = await _room(options)
    is_over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, is_over.set)  # the last finals still come
    feeds = [(target, Feed(sink, _tell)) for target, sink in sinks]
    outputs = Outputs(Terminal(sys.stdout, targets, _width(sys.stdout)), files, feeds)
    session = connect(
        options.url,
        source=options.source,
        targets=targets,
        token=options.token,
        mode=options.mode,
        room=room,
        host_token=host_token,
    )
    try:
        await asyncio.gather(*(feed.open() for _, feed in feeds))
        async with session:
            speaking = asyncio.create_task(say(session, _from_thread(said, is_over), outputs.times))
            try:
                async for event in session:
                    outputs.take(event)
                await speaking
            finally:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        await asyncio.gather(*(feed.close() for _, feed in feeds))
        for file in (file for each in files for file in each.values()):
            file.close()


async def say(
    session: Session, said: AsyncIterator[Heard], times: dict[str, tuple[float, float]]
) -> None:
    """Send what is heard, and close the session at the end."""
    before, began_s, start_ms = "", time.monotonic(), None
    try:
        async for heard in said:
            now_ms = 1000 * (time.monotonic() - began_s)
            start_ms = heard.start_ms if heard.start_ms is not None else start_ms
            start_ms = now_ms if start_ms is None else start_ms
            if not heard.is_final:
                stable = agreed(before, heard.text)
                before = heard.text
                rest = heard.text[len(stable) :]
                await session.update(rest, stable=stable, start_ms=start_ms)
                continue
            if heard.text:
                name = await session.commit(heard.text)
                read_ms = start_ms + 1000 * len(heard.text) / READ_CHARS_PER_S
                end_ms = max(now_ms, read_ms) if heard.end_ms is None else heard.end_ms
                times[name] = start_ms, end_ms
            elif before:
                await session.cancel()
            before, start_ms = "", None
            await session.drain(MAX_WAITING)
    finally:
        await session.close(CLOSE_S)


async def _room(options: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return the room to speak in and its host token; print the link of a new one."""
    if options.room is None:
        return None, None
    if "://" in options.room:
        return options.room.rstrip("/").rpartition("/")[2], options.host_token
    room = await open_room(options.url, options.room, api_key=options.token)
    print(f"Readers: {room.view_url}", file=sys.stderr, flush=True)
    return room.id, room.host_token


def _width(stream: TextIO) -> int:
    return shutil.get_terminal_size().columns if stream.isatty() else 0
