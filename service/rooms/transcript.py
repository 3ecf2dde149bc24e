"""What was said in a room, as a file: WebVTT, SubRip, JSON or plain text.

Knows segments and formats; does not know who asks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from service.captions.cues import Cue, Timeline
from service.rooms.said import SOURCE, Said


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment in one language. start_ms, end_ms: since the room was opened."""

    text: str
    speaker: str | None
    start_ms: float
    end_ms: float
    is_translated: bool  # otherwise it is the source text, for lack of a translation


def transcript(segments: Iterable[Said], target: str) -> list[Spoken]:
    """Return the finished segments of a room, in order.

    A segment without a translation is included in its source language.
    """
    found = []
    for said in segments:
        told = said.channels.get(target)
        if told is not None and told.is_retracted:
            continue
        if told is None or not told.is_final:
            told = said.source
            if not told.is_final:
                continue
        if told.text.strip():
            is_translated = target == SOURCE or told is not said.source
            found.append(
                Spoken(told.text.strip(), said.speaker, said.start_ms, said.end_ms, is_translated)
            )
    return found


def write(segments: Iterable[Spoken], form: str, max_chars: int, max_lines: int) -> bytes:
    """Return the file.

    Args:
        segments: in order. form: of FORMS.
        max_chars, max_lines: bounds of a cue.
    Raises:
        KeyError: there is no such form.
    """
    return _WRITERS[form](list(segments), max_chars, max_lines)


def _vtt(segments: list[Spoken], max_chars: int, max_lines: int) -> bytes:
    blocks = ["WEBVTT\n"]
    for i, (cue, speaker) in enumerate(_cues(segments, max_chars, max_lines)):
        voice = f"<v {_plain(speaker)}>" if speaker else ""
        lines = voice + "\n".join(_plain(line) for line in cue.lines)
        blocks.append(
            f"{i + 1}\n{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n{lines}\n"
        )
    return "\n".join(blocks).encode()


def _srt(segments: list[Spoken], max_chars: int, max_lines: int) -> bytes:
    blocks = []
    for i, (cue, speaker) in enumerate(_cues(segments, max_chars, max_lines)):
        lines = "\n".join(cue.lines)
        said = f"{speaker}: {lines}" if speaker else lines
        blocks.append(f"{i + 1}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n{said}\n")
    return "\n".join(blocks).encode()


def _txt(segments: list[Spoken], max_chars: int, max_lines: int) -> bytes:
    lines = (f"{s.speaker}: {s.text}" if s.speaker else s.text for s in segments)
    return "".join(f"{line}\n" for line in lines).encode()


def _json(segments: list[Spoken], max_chars: int, max_lines: int) -> bytes:
    return orjson.dumps(
        [
            {
                "text": s.text,
                "speaker": s.speaker,
                "start_ms": s.start_ms,
                "end_ms": s.end_ms,
                "is_translated": s.is_translated,
            }
            for s in segments
        ]
    )


_WRITERS: Final[Mapping[str, Callable[[list[Spoken], int, int], bytes]]] = {
    "vtt": _vtt,
    "srt": _srt,
    "txt": _txt,
    "json": _json,
}
FORMS: Final[Mapping[str, str]] = {
    "vtt": "text/vtt; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
}
"""Media type of each format."""


def _cues(
    segments: list[Spoken], max_chars: int, max_lines: int
) -> Iterable[tuple[Cue, str | None]]:
    timeline = Timeline()
    for s in segments:
        cues = timeline.add("", s.text, s.start_ms, s.end_ms, max_chars, max_lines)
        for i, cue in enumerate(cues):
            yield cue, s.speaker if i == 0 else None


def _time(at_ms: float, mark: str) -> str:
    """`01:02:03.456`"""
    seconds, millis = divmod(round(at_ms), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{millis:03}"


def _plain(text: str) -> str:
    """Return text that no WebVTT reader takes for a tag or for the arrow between times."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
