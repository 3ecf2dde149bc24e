"""Sound at the rate that is wanted."""

import io
import math
import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed_client.captioning.audio import (
    NoSound,
    Resampler,
    pieces_of_file,
    pieces_of_stream,
)


def tone(rate: int, seconds: float = 0.5) -> "array[int]":
    times = range(int(rate * seconds))
    return array("h", (round(9000 * math.sin(2 * math.pi * 440 * i / rate)) for i in times))


def write(path: Path, samples: "array[int]", rate: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_a_tone_stays_a_tone(tmp_path: Path, rate: int) -> None:
    pieces = list(pieces_of_file(write(tmp_path / "a.wav", tone(rate), rate), 16000))
    found = array("h", b"".join(pieces))
    assert len(pieces) == 5
    assert abs(len(found) - 8000) <= 2
    wanted = tone(16000)
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=False)) < 400


def test_channels_become_one(tmp_path: Path) -> None:
    both = array("h", [100, 200] * 4000)
    (piece, *_) = pieces_of_file(write(tmp_path / "a.wav", both, 16000, channels=2), 16000)
    assert set(array("h", piece)) == {150}


@given(st.lists(st.integers(-30000, 30000), max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_where_pieces_end_changes_nothing(samples: list[int], cuts: list[int]) -> None:
    data = array("h", samples).tobytes()
    change = Resampler(22050, 16000, 1)
    ends = sorted(min(2 * cut, len(data)) for cut in cuts)
    found = b"".join(change(data[a:b]) for a, b in zip([0, *ends], [*ends, len(data)], strict=True))
    whole = array("h", Resampler(22050, 16000, 1)(data))
    other = array("h", found)
    assert len(other) == len(whole)
    assert all(abs(a - b) <= 1 for a, b in zip(other, whole, strict=True))


def test_samples_without_a_header_may_come_in_any_pieces() -> None:
    class Halting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(7)

    data = tone(16000, 0.01).tobytes()
    assert b"".join(pieces_of_stream(Halting(data), 16000)) == data


def test_what_is_no_sound_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_text("")
    write(tmp_path / "wide.wav", array("h", [0] * 30), 16000, width=4)
    problems = {"text": "RIFF", "empty": "empty", "wide": "32 bits", "none": "No such"}
    for name, said in problems.items():
        with pytest.raises(NoSound, match=said):
            list(pieces_of_file(tmp_path / f"{name}.wav", 16000))
