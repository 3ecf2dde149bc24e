"""Text from other programs: a line is an utterance, and may be rewritten until it ends.

Knows what terminals do with a carriage return and an escape sequence, and the marks of
`whisper-stream` (whisper.cpp), which uses both. Reads no file.
"""

import re
from collections.abc import Iterator
from typing import Final

from tokenspeed_client.captioning.heard import Heard

_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OPEN_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;?]*)?\Z")
_TIMES: Final = re.compile(
    r"\[(\d+):(\d\d):(\d\d[.,]\d{3}) --> (\d+):(\d\d):(\d\d[.,]\d{3})\](?:\s|\Z)"
)
# What is not speech: [BLANK_AUDIO], (music), [Start speaking], ### Transcription 0 START | ...
_NO_SPEECH: Final = re.compile(r"\[[^\]]*\]|\([^)]*\)|###.*")
_OPEN_MARK: Final = re.compile(r"[\[(#]")  # the beginning of times, or of one of those


class Lines:
    """Cuts incoming text into utterances."""

    def __init__(self) -> None:
        self._line = ""
        self._is_returned = False  # to the line's beginning: what comes next replaces it
        self._told = ""  # of the open line, what was yielded last
        self._last = ""  # of the open line, what stood there before it was erased
        self._rest = ""  # an escape sequence that is not complete yet

    def accept(self, text: str) -> Iterator[Heard]:
        """Take the next piece of text; yield what is new."""
        text = _ESCAPE.sub("\r", self._rest + text)
        held = _OPEN_ESCAPE.search(text)
        self._rest = held[0] if held else ""
        for part in re.split(r"([\r\n])", text.removesuffix(self._rest)):
            if part == "\n":
                yield from self._end()
            elif part == "\r":
                self._is_returned = True
            elif part:
                if self._is_returned:
                    self._erase()
                self._line += part
        if not self._is_returned:
            yield from self._tell()

    def finish(self) -> Iterator[Heard]:
        """End the input; yield the open line."""
        yield from self._end()

    def _erase(self) -> None:
        self._last = _speech(self._line)[0] or self._last
        self._line, self._is_returned = "", False

    def _tell(self) -> Iterator[Heard]:
        text, start_ms, end_ms = _speech(self._line)
        if text and text != self._told and not _OPEN_MARK.match(text):
            self._told = text
            yield Heard(text, False, start_ms, end_ms)

    def _end(self) -> Iterator[Heard]:
        text, start_ms, end_ms = _speech(self._line)
        text = text or self._last
        if text or self._told:
            yield Heard(text, True, start_ms, end_ms)
        self._line = self._told = self._last = ""
        self._is_returned = False


def _speech(line: str) -> tuple[str, float | None, float | None]:
    """Return what is said in a line, and the times that it names."""
    times = _TIMES.search(line)
    start_ms = end_ms = None
    if times:
        start_ms, end_ms = _ms(*times.groups()[:3]), _ms(*times.groups()[3:])
    text = " ".join(_NO_SPEECH.sub(" ", _TIMES.sub(" ", line)).split())
    return text, start_ms, end_ms


def _ms(hours: str, minutes: str, seconds: str) -> float:
    return round(((int(hours) * 60 + int(minutes)) * 60 + float(seconds.replace(",", "."))) * 1000)
