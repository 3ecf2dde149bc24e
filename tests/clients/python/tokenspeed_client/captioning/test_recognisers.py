"""Recognisers: PocketSphinx itself, and the rules of those whose models are not at hand."""

import json
import subprocess
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tokenspeed_client.captioning.audio import pieces_of_file
from tokenspeed_client.captioning.heard import Heard
from tokenspeed_client.captioning.recognisers import (
    RATE,
    FasterWhisper,
    NoRecogniser,
    Vosk,
    hear,
    load,
)

SPOKEN = "i want to go to the city"
UNDERSTOOD = "i want to go to"  # of it, every time


def speak(path: Path, text: str = SPOKEN) -> Path:
    """Have espeak-ng say a text; a voice and a speed that PocketSphinx understands."""
    command = ["espeak-ng", "-v", "en-us+f2", "-s", "110", "-w", str(path), text]
    subprocess.run(command, check=True, timeout=30)
    return path


def silence(seconds: float) -> bytes:
    return array("h", [0] * round(seconds * RATE)).tobytes()


def test_pocketsphinx_hears_what_espeak_says(tmp_path: Path) -> None:
    sound = b"".join(pieces_of_file(speak(tmp_path / "a.wav"), RATE))
    said = silence(0.5) + sound + silence(1.5) + sound
    pieces = [said[i : i + 3200] for i in range(0, len(said), 3200)]
    found = list(hear(load("pocketsphinx"), pieces))
    finals = [heard for heard in found if heard.is_final]
    assert len(finals) == 2
    assert all(final.text.startswith(UNDERSTOOD) for final in finals)
    first, second = finals
    assert first.start_ms is not None
    assert first.end_ms is not None
    assert second.start_ms is not None
    assert first.start_ms < first.end_ms < second.start_ms
    growing = [heard.text for heard in found[: found.index(first)]]
    assert len(growing) > 3
    assert all(not heard.is_final for heard in found[: found.index(first)])


@dataclass
class Kaldi:
    """The interface of `vosk.KaldiRecognizer`, with results that are written down."""

    partials: Iterator[str]
    words: list[dict[str, Any]]
    ends_at: int
    count: int = 0

    def AcceptWaveform(self, pcm: bytes) -> bool:
        self.count += 1
        return self.count == self.ends_at

    def PartialResult(self) -> str:
        return json.dumps({"partial": next(self.partials)})

    def Result(self) -> str:
        return json.dumps({"text": "good morning", "result": self.words})

    def FinalResult(self) -> str:
        return json.dumps({"text": ""})


def test_vosk_says_each_partial_once_and_ends_with_the_times_of_its_words() -> None:
    words = [
        {"word": "good", "start": 0.2, "end": 0.4},
        {"word": "morning", "start": 0.4, "end": 1.0},
    ]
    vosk = Vosk(Kaldi(iter(["", "good", "good", "good mor", "well", "well"]), words, 5))
    piece = silence(0.1)
    assert list(hear(vosk, [piece] * 7)) == [
        Heard("good", False, 200.0),
        Heard("good mor", False, 200.0),
        Heard("good morning", True, 200.0, 1000.0),
        Heard("well", False, 600.0),
        Heard("", True, 600.0, 700.0),
    ]


@dataclass
class Segment:
    """What `faster_whisper` yields."""

    text: str
    start: float
    end: float


def test_whisper_ends_an_utterance_with_a_silence() -> None:
    def transcribe(samples: Any, language: str | None, vad_filter: bool) -> tuple[Any, None]:
        """Somebody speaks from 0.5 to 2.5 s."""
        assert language == "en"
        seconds = len(samples) / RATE
        if transcribe.is_over:  # type: ignore[attr-defined]
            return iter([]), None
        transcribe.is_over = seconds >= 4  # type: ignore[attr-defined]
        words = " good morning all"[: int(min(seconds, 2.5) * 7)]
        return iter([Segment(words, 0.5, min(seconds, 2.5))]), None

    transcribe.is_over = False  # type: ignore[attr-defined]
    whisper = FasterWhisper(transcribe, "en")
    found = list(hear(whisper, [silence(0.5)] * 12))
    assert found == [
        Heard("good m", False, 500.0),
        Heard("good morning", False, 500.0),
        Heard("good morning all", False, 500.0),
        Heard("good morning all", True, 500.0, 2500.0),
    ]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(NoRecogniser, match=r"pip install 'tokenspeed-client\[vosk\]'"):
        load("vosk")
