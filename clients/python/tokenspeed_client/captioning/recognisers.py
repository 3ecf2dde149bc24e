"""Third-party recognisers, each as a `Recogniser`.

Each is imported only when it is used. Any other program only has to print lines: see `lines.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import orjson

from tokenspeed_client.captioning.heard import Heard, Recogniser
from tokenspeed_client.errors import ClientError

RATE: Final = 16_000


class NoRecogniser(ClientError):
    """The package of a recogniser, or its model, is missing."""


class PocketSphinx:
    """CMU PocketSphinx; its package comes with a model of American English.

    Args:
        decoder: a `pocketsphinx.Decoder`.
        endpointer: a `pocketsphinx.Endpointer`, which says where speech begins and ends.
    """

    sample_rate = RATE

    def __init__(self, decoder: Any, endpointer: Any) -> None:
        self._decoder = decoder
        self._endpointer = endpointer
        self._rest = b""
        self._text = ""

    def accept(self, pcm: bytes) -> Iterator[Heard]:
        """Take the next piece of audio; yield what is new."""
        self._rest += pcm
        size: int = self._endpointer.frame_bytes
        while len(self._rest) > size:
            frame, self._rest = self._rest[:size], self._rest[size:]
            was_in_speech = self._endpointer.in_speech
            yield from self._take(self._endpointer.process(frame), was_in_speech)

    def finish(self) -> Iterator[Heard]:
        """Yield the rest of what was being said."""
        was_in_speech = self._endpointer.in_speech
        if self._rest or was_in_speech:
            yield from self._take(self._endpointer.end_stream(self._rest), was_in_speech)
        self._rest = b""

    def _take(self, speech: bytes | None, was_in_speech: bool) -> Iterator[Heard]:
        if speech is None:
            return
        if not was_in_speech:
            self._decoder.start_utt()
        self._decoder.process_raw(speech)
        start_ms = 1000 * self._endpointer.speech_start
        if not self._endpointer.in_speech:
            self._decoder.end_utt()
            end_ms = 1000 * self._endpointer.speech_end
            if self._hypothesis() or self._text:
                yield Heard(self._hypothesis(), True, start_ms, end_ms)
            self._text = ""
        elif self._hypothesis() not in ("", self._text):
            self._text = self._hypothesis()
            yield Heard(self._text, False, start_ms)

    def _hypothesis(self) -> str:
        found = self._decoder.hyp()
        return found.hypstr if found is not None else ""


class Vosk:
    """Vosk, with a model of any language.

    Args:
        recogniser: a `vosk.KaldiRecognizer` of 16,000 samples a second, with `SetWords(True)`.
    """

    sample_rate = RATE

    def __init__(self, recogniser: Any) -> None:
        self._recogniser = recogniser
        self._text = ""
        self._num_bytes = 0
        self._start_ms: float | None = None

    def accept(self, pcm: bytes) -> Iterator[Heard]:
        """Take the next piece of audio; yield what is new."""
        self._num_bytes += len(pcm)
        if self._recogniser.AcceptWaveform(pcm):
            yield from self._end(self._recogniser.Result())
            return
        text = orjson.loads(self._recogniser.PartialResult()).get("partial", "")
        if text and text != self._text:
            if self._start_ms is None:
                self._start_ms = self._now_ms
            self._text = text
            yield Heard(text, False, self._start_ms)

    def finish(self) -> Iterator[Heard]:
        """Yield the rest of what was being said."""
        yield from self._end(self._recogniser.FinalResult())

    @property
    def _now_ms(self) -> float:
        return self._num_bytes / 2 / RATE * 1000

    def _end(self, result: str) -> Iterator[Heard]:
        told = orjson.loads(result)
        text, words = told.get("text", ""), told.get("result", [])
        if text or self._text:
            start_ms = 1000 * words[0]["start"] if words else self._start_ms
            end_ms = 1000 * words[-1]["end"] if words else self._now_ms
            yield Heard(text, True, start_ms, end_ms)
        self._text, self._start_ms = "", None


class FasterWhisper:
    """faster-whisper: transcribes the whole utterance again every second, until a silence ends it.

    Args:
        transcribe: `faster_whisper.WhisperModel.transcribe`; takes float samples.
        language: of the speech; None lets the model detect it.
    """

    sample_rate = RATE

    def __init__(self, transcribe: Callable[..., Any], language: str | None) -> None:
        self._transcribe = transcribe
        self._language = language
        self._sound = b""
        self._heard_bytes = 0  # of it, that were transcribed last time
        self._begin_ms = 0.0  # of the audio that is kept
        self._text = ""

    def accept(self, pcm: bytes) -> Iterator[Heard]:
        """Take the next piece of audio; yield what is new."""
        self._sound += pcm
        if len(self._sound) - self._heard_bytes >= 2 * RATE:
            yield from self._listen(is_end=False)

    def finish(self) -> Iterator[Heard]:
        """Yield the rest of what was being said."""
        if self._sound:
            yield from self._listen(is_end=True)

    def _listen(self, is_end: bool) -> Iterator[Heard]:
        import numpy as np  # comes with faster-whisper

        samples = np.frombuffer(self._sound, dtype="<i2").astype(np.float32) / 32768
        self._heard_bytes = len(self._sound)
        found, _ = self._transcribe(samples, language=self._language, vad_filter=True)
        segments = list(found)
        text = " ".join(segment.text.strip() for segment in segments).strip()
        seconds = len(samples) / RATE
        is_silent = not segments or seconds - segments[-1].end > SILENCE_S
        start_ms = self._begin_ms + 1000 * (segments[0].start if segments else 0.0)
        if is_end or seconds > MAX_UTTERANCE_S or (is_silent and (text or seconds > SILENCE_S)):
            if text or self._text:
                end_ms = self._begin_ms + 1000 * (segments[-1].end if segments else seconds)
                yield Heard(text, True, start_ms, end_ms)
            self._begin_ms += 1000 * seconds
            self._sound, self._heard_bytes, self._text = b"", 0, ""
        elif text and text != self._text:
            self._text = text
            yield Heard(text, False, start_ms)


SILENCE_S: Final = 0.8  # after which an utterance is over
MAX_UTTERANCE_S: Final = 20.0  # the model hears 30 s at most


def _pocketsphinx(model: str | None, language: str) -> Recogniser:
    module = _package("pocketsphinx", "pocketsphinx")
    options = {"samprate": float(RATE), "loglevel": "FATAL"}
    decoder = module.Decoder(**options, **({} if model is None else {"hmm": model}))
    return PocketSphinx(decoder, module.Endpointer(sample_rate=RATE))


def _vosk(model: str | None, language: str) -> Recogniser:
    module = _package("vosk", "vosk")
    module.SetLogLevel(-1)
    if model is None:
        raise NoRecogniser("vosk needs a model's folder: --model DIR")
    try:
        recogniser = module.KaldiRecognizer(module.Model(model), RATE)
    except Exception as exc:  # Vosk raises nothing narrower
        raise NoRecogniser(f"vosk: {model}: {exc}") from exc
    recogniser.SetWords(True)
    return Vosk(recogniser)


def _faster_whisper(model: str | None, language: str) -> Recogniser:
    module = _package("faster_whisper", "faster-whisper")
    loaded = module.WhisperModel(model or "small", compute_type="int8")
    return FasterWhisper(loaded.transcribe, None if language == "auto" else language)


RECOGNISERS: Final[Mapping[str, Callable[[str | None, str], Recogniser]]] = {
    "pocketsphinx": _pocketsphinx,
    "vosk": _vosk,
    "faster-whisper": _faster_whisper,
}


def load(name: str, model: str | None = None, language: str = "auto") -> Recogniser:
    """Load a recogniser.

    Args:
        name: of `RECOGNISERS`.
        model: what that recogniser calls a model; None for its default, if it has one.
        language: of the speech.
    Raises:
        NoRecogniser: its package or its model is missing.
    """
    return RECOGNISERS[name](model, language)


def _package(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as exc:
        message = f"{exc}; install it: pip install 'tokenspeed-client[{extra}]'"
        raise NoRecogniser(message) from exc


def hear(recogniser: Recogniser, pieces: Iterable[bytes]) -> Iterator[Heard]:
    """Yield what a recogniser hears in the audio, to its end."""
    for piece in pieces:
        yield from recogniser.accept(piece)
    yield from recogniser.finish()
