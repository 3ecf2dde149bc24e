"""Captions of a live stream: a playlist of HLS whose segments are WebVTT.

A player reads `de.m3u8` again and again; it lists only the last segments, `de-000017.vtt` and so
on. Each file is replaced atomically, so nobody reads half of one. Source: RFC 8216.
"""

import asyncio
import contextlib
import math
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tokenspeed_client.sinks.cues import READ_CHARS_PER_S, clock, pieces, vtt_text
from tokenspeed_client.sinks.feed import SinkError

MAX_CHARS: Final = 42
MAX_LINES: Final = 2
SEGMENT_S: Final = 6.0
NUM_SEGMENTS: Final = 10  # that the playlist lists
CATCH_UP_S: Final = 3.0  # captions that are this late are shown for half as long


class Playlist:
    """Files of one language. Times are seconds since the beginning; the caller holds the clock.

    Args:
        folder: created if it is missing; segments of an earlier run are deleted.
        language: names the files.
        began: when time 0 was, for players that go by dates.
    Raises:
        OSError: files cannot be written.
    """

    def __init__(
        self, folder: Path, language: str, began: datetime, *, segment_s: float = SEGMENT_S
    ) -> None:
        self._folder = folder
        self._language = language
        self._began = began
        self._segment_s = segment_s
        # Grows from one run to the next, so that a player takes no segment for an earlier one.
        self._first = int(began.timestamp() // segment_s)
        self._num_written = 0
        self._cues: list[tuple[float, float, str]] = []  # begin, end, text
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{language}-*.vtt"):
            old.unlink(missing_ok=True)
        self._write_playlist(False)

    def add(self, text: str, now_s: float) -> None:
        """Show a caption from now on, for as long as it takes to read it.

        Raises:
            OSError: a segment could not be written.
        """
        self.advance(now_s)
        for lines in pieces(text, MAX_CHARS, MAX_LINES):
            begin_s = max([now_s, *(end_s for _, end_s, _ in self._cues)])
            reading_s = sum(map(len, lines)) / READ_CHARS_PER_S
            end_s = begin_s + max(1.0, reading_s) / (1 + (begin_s - now_s) / CATCH_UP_S)
            self._cues.append((begin_s, end_s, vtt_text(lines)))

    def advance(self, now_s: float) -> None:
        """Write the segments that have ended.

        Raises:
            OSError: one could not be written.
        """
        while (self._num_written + 1) * self._segment_s <= now_s:
            self._write_segment()
            self._write_playlist(False)

    def finish(self) -> None:
        """Write what is left, and end the playlist."""
        last_s = max((end_s for _, end_s, _ in self._cues), default=0.0)
        while self._num_written * self._segment_s < last_s:
            self._write_segment()
        self._write_playlist(True)

    def _name(self, index: int) -> str:
        return f"{self._language}-{self._first + index:06}.vtt"

    def _write_segment(self) -> None:
        begin_s = self._num_written * self._segment_s
        end_s = begin_s + self._segment_s
        text = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n"
        for since_s, until_s, shown in self._cues:
            # A cue that extends into the next segment is in both, with the same times.
            if since_s < end_s and until_s > begin_s:
                times = (
                    f"{clock(round(1000 * since_s), '.')} --> {clock(round(1000 * until_s), '.')}"
                )
                text += f"{times}\n{shown}\n\n"
        self._write(self._name(self._num_written), text)
        self._num_written += 1
        self._cues = [cue for cue in self._cues if cue[1] > end_s]
        # A player may still be at a segment that the playlist no longer lists.
        with contextlib.suppress(FileNotFoundError):
            (self._folder / self._name(self._num_written - 2 * NUM_SEGMENTS - 1)).unlink()

    def _write_playlist(self, is_over: bool) -> None:
        begin = max(0, self._num_written - NUM_SEGMENTS)
        date = self._began + timedelta(seconds=begin * self._segment_s)
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            f"#EXT-X-TARGETDURATION:{math.ceil(self._segment_s)}",
            f"#EXT-X-MEDIA-SEQUENCE:{self._first + begin}",
        ]
        if begin < self._num_written:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat(timespec='milliseconds')}")
        for index in range(begin, self._num_written):
            lines += [f"#EXTINF:{self._segment_s:.3f},", self._name(index)]
        if is_over:
            lines.append("#EXT-X-ENDLIST")
        self._write(f"{self._language}.m3u8", "\n".join(lines) + "\n")

    def _write(self, name: str, text: str) -> None:
        part = self._folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        os.replace(part, self._folder / name)


class Hls:
    """A sink that advances a `Playlist` by the clock."""

    def __init__(self, folder: Path, language: str, *, segment_s: float = SEGMENT_S) -> None:
        self._began_s = time.monotonic()
        self._segment_s = segment_s
        self._playlist = Playlist(folder, language, datetime.now(UTC), segment_s=segment_s)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start writing segments, also while nobody speaks."""
        self._task = asyncio.create_task(self._run(), name="segments")

    async def show(self, text: str) -> None:
        """Show a caption.

        Raises:
            SinkError: a file could not be written.
        """
        try:
            self._playlist.add(text, self._now_s())
        except OSError as exc:
            raise SinkError(f"HLS: {exc}") from exc

    async def close(self) -> None:
        """Write the rest."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(OSError):  # such as a full disk: what was written stays
            self._playlist.finish()

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._segment_s - self._now_s() % self._segment_s)
            with contextlib.suppress(OSError):  # `show` reports it
                self._playlist.advance(self._now_s())
