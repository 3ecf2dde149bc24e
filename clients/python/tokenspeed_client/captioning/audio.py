"""Audio as 16-bit mono samples at the rate that a recogniser wants. Knows nothing of speech."""

import sys
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from tokenspeed_client.errors import ClientError

PIECE_S: Final = 0.1  # of audio, in each piece that a recogniser is given
RAW_RATE: Final = 16_000  # of audio without a header


class NoSound(ClientError):
    """A file is not audio that can be read."""


def pieces_of_file(path: Path, rate: int) -> Iterator[bytes]:
    """Yield a WAV file in pieces of a tenth of a second.

    Raises:
        NoSound: it is not a WAV file, or not one of 16 bits.
    """
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise NoSound(f"{path} has {8 * file.getsampwidth()} bits a sample, expected 16")
            change = Resampler(file.getframerate(), rate, file.getnchannels())
            while data := file.readframes(round(file.getframerate() * PIECE_S)):
                yield change(data)
    except (wave.Error, EOFError, OSError) as exc:
        raise NoSound(f"{path}: {exc or 'it is empty'}") from exc


def pieces_of_stream(stream: BinaryIO, rate: int) -> Iterator[bytes]:
    """Yield samples without a header, 16,000 a second, as they come."""
    change = Resampler(RAW_RATE, rate, 1)
    rest = b""
    while data := stream.read(round(RAW_RATE * PIECE_S) * 2):
        data = rest + data
        end = len(data) // 2 * 2
        rest = data[end:]
        yield change(data[:end])


class Resampler:
    """Changes the sample rate by linear interpolation, and mixes several channels into one.

    Recognisers listen below 4 kHz; the distortion above that does not affect them.
    """

    def __init__(self, from_rate: int, to_rate: int, num_channels: int) -> None:
        self._step = from_rate / to_rate
        self._num_channels = num_channels
        self._at = 0.0  # of the next sample, counted from `_last`
        self._last: int | None = None  # sample of the piece before

    def __call__(self, data: bytes) -> bytes:
        """Convert the next piece; samples are little-endian before and after."""
        samples = array("h", data)
        if sys.byteorder == "big":
            samples.byteswap()
        n = self._num_channels
        if n > 1:
            ends = range(0, len(samples) - n + 1, n)
            samples = array("h", (sum(samples[i : i + n]) // n for i in ends))
        if self._step == 1.0:
            return _little(samples)
        if self._last is not None:
            samples.insert(0, self._last)
        found = array("h")
        while self._at < len(samples) - 1:
            index = int(self._at)
            part = self._at - index
            found.append(round(samples[index] * (1 - part) + samples[index + 1] * part))
            self._at += self._step
        if samples:
            self._at -= len(samples) - 1
            self._last = samples[-1]
        return _little(found)


def _little(samples: "array[int]") -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
