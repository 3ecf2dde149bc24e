"""Where captions go: a terminal, and subtitle files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

from tokenspeed_client.sinks.cues import clock, pieces, vtt_text

MAX_CHARS: Final = 42  # of a line of subtitles
MAX_LINES: Final = 2


class Terminal:
    """Shows finals and, on a terminal, the text that is still growing in a line below them.

    Args:
        stream: where to write.
        targets: languages; shown before each text if there are several.
        width: of the line that is rewritten; 0 if none can be, as in a pipe.
    """

    def __init__(self, stream: TextIO, targets: tuple[str, ...], width: int) -> None:
        self._stream = stream
        self._targets = targets
        self._width = width
        self._open: dict[tuple[str, str], tuple[str, str]] = {}

    def grow(self, segment_id: str, target: str, append: str, unstable: str) -> None:
        """Add to the text of a segment, and replace its tail."""
        stable = self._open.get((segment_id, target), ("", ""))[0] + append
        self._open[segment_id, target] = stable, unstable
        self._draw()

    def begin_anew(self) -> None:
        """Start open segments again: a new session sends them from their beginning."""
        self._open.clear()

    def show(self, segment_id: str, target: str, text: str, unstable: str) -> None:
        """Show the whole text of a segment, after a gap."""
        self._open[segment_id, target] = text, unstable
        self._draw()

    def end(self, segment_id: str, target: str, text: str) -> None:
        """Show the final of a segment."""
        self._open.pop((segment_id, target), None)
        self._erase()
        self._stream.write(f"{self._named(target)}{text}\n")
        self._draw()

    def drop(self, segment_id: str, target: str) -> None:
        """Remove a segment that was withdrawn."""
        self._open.pop((segment_id, target), None)
        self._draw()

    def _named(self, target: str) -> str:
        return f"{target}: " if len(self._targets) > 1 else ""

    def _erase(self) -> None:
        if self._width:
            self._stream.write("\r\x1b[2K")

    def _draw(self) -> None:
        self._erase()
        if self._width:
            parts = (
                self._named(target) + " ".join((stable + unstable).split())
                for (_, target), (stable, unstable) in self._open.items()
            )
            self._stream.write(" ".join(parts)[-(self._width - 1) :])
        self._stream.flush()


class Subtitles:
    """A file of cues, written as they come: SubRip, or WebVTT if its name says so."""

    def __init__(self, path: Path) -> None:
        self._is_vtt = path.suffix == ".vtt"
        self._file = path.open("w", encoding="utf-8")
        self._count = 0
        self._end_ms = 0
        if self._is_vtt:
            self._file.write("WEBVTT\n\n")

    def add(self, text: str, start_ms: float, end_ms: float) -> None:
        """Write a text in cues of at most two lines, which divide its time by their length."""
        cues = pieces(text, MAX_CHARS, MAX_LINES)
        num_chars = sum(len(line) for cue in cues for line in cue)
        # No cue begins before the previous one has ended: players would show both at once.
        at_ms = max(round(start_ms), self._end_ms)
        length_ms = max(round(end_ms - start_ms), 0)
        for cue in cues:
            share_ms = max(1, round(length_ms * sum(map(len, cue)) / num_chars))
            self._write(cue, at_ms, at_ms + share_ms)
            at_ms += share_ms
        self._end_ms = at_ms
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, lines: list[str], start_ms: int, end_ms: int) -> None:
        self._count += 1
        point = "." if self._is_vtt else ","
        times = f"{clock(start_ms, point)} --> {clock(end_ms, point)}"
        shown = vtt_text(lines) if self._is_vtt else "\n".join(lines)
        self._file.write(f"{self._count}\n{times}\n{shown}\n\n")


def subtitle_files(path: Path, targets: tuple[str, ...]) -> Mapping[str, Subtitles]:
    """Open a file for each language: `talk.vtt`, or `talk.de.vtt` and so on if there are several.

    Raises:
        OSError: it cannot be written.
    """
    if len(targets) == 1:
        return {targets[0]: Subtitles(path)}
    return {target: Subtitles(path.with_suffix(f".{target}{path.suffix}")) for target in targets}
