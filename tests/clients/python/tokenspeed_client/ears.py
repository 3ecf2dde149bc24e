"""A speech-to-text of LiveKit's own classes that hears what is written down.

LiveKit takes longer to import than its tests to run: these import it when they run.
"""

from collections.abc import Sequence
from typing import Any

from livekit import rtc
from livekit.agents import stt

from tests.clients.faults import Faults
from tokenspeed_client.livekit import FINAL, INTERIM, TranslatingSTT, TranslationStreams

__all__ = ["FINAL", "INTERIM", "TranslatingSTT", "TranslationStreams", "rtc"]

SILENCE = rtc.AudioFrame(bytes(3200), 16000, 1, 1600)
Script = Sequence[tuple[stt.SpeechEventType, str]]
START, END = stt.SpeechEventType.START_OF_SPEECH, stt.SpeechEventType.END_OF_SPEECH


def event(kind: stt.SpeechEventType, text: str) -> stt.SpeechEvent:
    heard = [stt.SpeechData(language="en", text=text, speaker_id="ann")] if text else []  # type: ignore[arg-type]
    return stt.SpeechEvent(kind, alternatives=heard)


class Written(stt.STT):  # type: ignore[type-arg]
    """Hears the next line of a script in each frame."""

    def __init__(self, script: Script, is_streaming: bool = True) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(streaming=is_streaming, interim_results=True)
        )
        self.script = script

    async def _recognize_impl(self, buffer: Any, **_: Any) -> stt.SpeechEvent:
        return event(*self.script[0])

    def stream(self, *, conn_options: Any = None, **_: Any) -> stt.RecognizeStream:
        return WrittenStream(stt=self, conn_options=conn_options)


class WrittenStream(stt.RecognizeStream):
    async def _run(self) -> None:
        assert isinstance(self._stt, Written)
        lines = iter(self._stt.script)
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                self._event_ch.send_nowait(event(*next(lines)))


class Spoken(Written):
    """Hears a script, with something that goes wrong before one of its lines."""

    def __init__(self, script: Script, faults: Faults) -> None:
        super().__init__(script)
        self.faults = faults

    def stream(self, *, conn_options: Any = None, **_: Any) -> stt.RecognizeStream:
        return SpokenStream(stt=self, conn_options=conn_options)


class SpokenStream(stt.RecognizeStream):
    async def _run(self) -> None:
        assert isinstance(self._stt, Spoken)
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                line, *self._stt.script = self._stt.script
                await self._stt.faults.next()
                self._event_ch.send_nowait(event(*line))


async def heard(wrapper: TranslatingSTT, num_frames: int) -> list[stt.SpeechEvent]:
    stream = wrapper.stream()
    for _ in range(num_frames):
        stream.push_frame(SILENCE)
    stream.end_input()
    found = [each async for each in stream]
    await stream.aclose()
    await wrapper.aclose()
    return found


def translations(found: stt.SpeechEvent) -> dict[str, str] | None:
    data = found.alternatives[0]
    if data.target_languages is None or data.target_texts is None:
        return None
    return dict(zip(map(str, data.target_languages), data.target_texts, strict=True))
