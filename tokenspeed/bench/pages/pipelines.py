"""Measure two frameworks for voice agents: they hear English and speak German.

    python -m tokenspeed.bench.pages.pipelines --json benchmarks/results/pipelines.json \\
        --page docs/voice.md

Like voice.py, but what that does by itself is done here by packages that people use: a running
pipecat pipeline, and a running AgentSession of LiveKit Agents. Recogniser and synthesiser implement
their interfaces (`STT`, `TTSService`) with PocketSphinx and espeak-ng.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from livekit import rtc
from livekit.agents import Agent, AgentSession, stt, tts
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
)
from livekit.agents.utils import AudioBuffer
from livekit.agents.voice import ModelSettings
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    StartFrame,
    TranscriptionFrame,
    TranslationFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TextAggregationMode, TTSService
from pipecat.workers.runner import WorkerRunner

from tokenspeed.bench.page import describe_machine, markdown_table, put_into_page
from tokenspeed.bench.pages.voice import PARAGRAPH, PIECE_S, Sentence, Voice, served, speak
from tokenspeed.bench.result import describe_cpu, make_result, write_result
from tokenspeed_client.captioning.heard import Heard
from tokenspeed_client.captioning.recognisers import RATE, load
from tokenspeed_client.livekit import FINAL, INTERIM, TranslatingSTT
from tokenspeed_client.pipecat import TokenSpeedTranslator

NAME: Final = "pipelines.json"
PAUSE_S: Final = 2.0  # between sentences, so that a recogniser does not join two
LATE_S: Final = 1.5  # for results after the last sound
OPTIONS: Final = {"min_update_interval_s": 0.0}


@dataclass
class Utterance:
    """One utterance, as the recogniser delimits it; times in seconds since the speaker began.

    Attributes:
        start_s: when its sound began. heard_s: of the first hypothesis. said_s: of its final.
        text: of the final.
        caption_s: when its whole translation came. caption: its text.
        sound_s: when German sound began.
    """

    start_s: float
    heard_s: float
    said_s: float = 0.0
    text: str = ""
    caption_s: float | None = None
    caption: str = ""
    sound_s: float | None = None


@dataclass
class Notes:
    """What happened, and when. Translations come in the order of the utterances."""

    began_s: float = 0.0
    utterances: list[Utterance] = field(default_factory=list)
    num_captions: int = 0
    num_sounds: int = 0
    num_pieces: int = 0  # pieces of sound processed
    is_open: bool = False
    has_news: asyncio.Event = field(default_factory=asyncio.Event)

    def now_s(self) -> float:
        """Return the seconds since the speaker began."""
        return time.monotonic() - self.began_s

    def heard(self, heard: Heard) -> None:
        """Note a hypothesis or a final."""
        if not self.is_open:
            self.utterances.append(Utterance((heard.start_ms or 0.0) / 1000, self.now_s()))
        self.is_open = not heard.is_final
        if heard.is_final:
            self.utterances[-1].said_s, self.utterances[-1].text = self.now_s(), heard.text
            if not heard.text.strip():
                self.utterances.pop()  # it was taken back

    def captioned(self, text: str) -> None:
        """Note the translation of a whole utterance; "" if none came in time."""
        utterance = self.utterances[self.num_captions]
        self.num_captions += 1
        if text:
            utterance.caption_s, utterance.caption = self.now_s(), text

    def sounded(self) -> None:
        """Note the first sound of an utterance."""
        while self.num_sounds < self.num_captions and (
            self.utterances[self.num_sounds].caption_s is None
        ):
            self.num_sounds += 1
        self.utterances[self.num_sounds].sound_s = self.now_s()
        self.num_sounds += 1


async def in_real_time(sound: bytes, notes: Notes, give: Callable[[bytes], Any]) -> None:
    """Give sound in real time; return once all is processed, and results had time to come."""
    size = 2 * round(PIECE_S * RATE)
    notes.began_s = time.monotonic()
    for at in range(0, len(sound), size):
        piece = sound[at : at + size].ljust(size, b"\0")
        spoken_s = (at + size) / 2 / RATE
        await asyncio.sleep(max(0.0, notes.began_s + spoken_s - time.monotonic()))
        await give(piece)
    while notes.num_pieces < -(-len(sound) // size):  # a busy machine is late
        notes.has_news.clear()
        await notes.has_news.wait()
    await asyncio.sleep(LATE_S)


class Ears:
    """PocketSphinx, fed piece by piece."""

    def __init__(self, notes: Notes) -> None:
        self._recogniser = load("pocketsphinx")
        self._notes = notes

    async def hear(self, piece: bytes) -> list[Heard]:
        """Return what this piece adds."""
        found = await asyncio.to_thread(lambda: list(self._recogniser.accept(piece)))
        self._notes.num_pieces += 1
        self._notes.has_news.set()
        for each in found:
            self._notes.heard(each)
        return found


# ---- pipecat ----


class PipecatEars(FrameProcessor):
    """Turns sound into transcriptions."""

    def __init__(self, ears: Ears) -> None:
        super().__init__()
        self._ears = ears

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Transcribe sound; pass on all other frames."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        for heard in await self._ears.hear(frame.audio):
            kind = TranscriptionFrame if heard.is_final else InterimTranscriptionFrame
            await self.push_frame(kind(heard.text, "speaker", ""))


class PipecatVoice(TTSService):
    """Speaks text as it comes: it only grows, so there is nothing to wait for."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(
            text_aggregation_mode=TextAggregationMode.TOKEN,
            push_start_frame=True,
            push_stop_frames=True,
            sample_rate=voice.rate,
            settings=TTSSettings(model=None, voice="de", language=None),
        )
        self._voice = voice

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Yield the sound of a text."""
        sound, _, _ = await asyncio.to_thread(self._voice.say, text, "de", 175)
        yield TTSAudioRawFrame(sound, self._voice.rate, 1, context_id=context_id)


class PipecatEnd(FrameProcessor):
    """The end of the pipeline: notes what comes out."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes
        self._spoken: str | None = None  # pipecat's id of the utterance being spoken
        self.has_begun = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note a frame, and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self.has_begun.set()
        elif isinstance(frame, TranslationFrame):
            self._notes.captioned(frame.text)
        elif isinstance(frame, TTSAudioRawFrame) and frame.context_id != self._spoken:
            self._spoken = frame.context_id
            self._notes.sounded()
        await self.push_frame(frame, direction)


async def measure_pipecat(url: str, voice: Voice, sound: bytes) -> Notes:
    """Speak to a pipeline of pipecat."""
    notes = Notes()
    end = PipecatEnd(notes)
    translator = TokenSpeedTranslator(url, source="en", target="de", options=OPTIONS)
    stages = [PipecatEars(Ears(notes)), translator, PipecatVoice(voice), end]
    worker = PipelineWorker(Pipeline(stages), cancel_on_idle_timeout=False, enable_rtvi=False)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await end.has_begun.wait()

    async def give(piece: bytes) -> None:
        await worker.queue_frame(InputAudioRawFrame(piece, RATE, 1))

    await in_real_time(sound, notes, give)
    await worker.queue_frame(EndFrame())
    await running
    return notes


# ---- LiveKit Agents ----


class LiveKitEars(stt.STT):  # type: ignore[type-arg]
    """A streaming speech-to-text."""

    def __init__(self, ears: Ears) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.ears = ears

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        raise NotImplementedError("it streams")

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Listen to a track."""
        return LiveKitHearing(stt=self, conn_options=conn_options, sample_rate=RATE)


class LiveKitHearing(stt.RecognizeStream):
    """One track."""

    async def _run(self) -> None:
        assert isinstance(self._stt, LiveKitEars)
        async for item in self._input_ch:
            if not isinstance(item, rtc.AudioFrame):
                continue
            for heard in await self._stt.ears.hear(bytes(item.data)):
                data = stt.SpeechData(language="en", text=heard.text)  # type: ignore[arg-type]
                kind = FINAL if heard.is_final else INTERIM
                self._event_ch.send_nowait(stt.SpeechEvent(kind, alternatives=[data]))


class LiveKitVoice(tts.TTS):  # type: ignore[type-arg]
    """A text-to-speech for whole texts."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=voice.rate,
            num_channels=1,
        )
        self.voice = voice

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak a text."""
        return LiveKitSpeech(tts=self, input_text=text, conn_options=conn_options)


class LiveKitSpeech(tts.ChunkedStream):
    """One text."""

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, LiveKitVoice)
        voice = self._tts.voice
        output_emitter.initialize(
            request_id="espeak-ng", sample_rate=voice.rate, num_channels=1, mime_type="audio/pcm"
        )
        sound, _, _ = await asyncio.to_thread(voice.say, self.input_text, "de", 175)
        output_emitter.push(sound)
        output_emitter.flush()


class Microphone(AudioInput):
    """Sound, given piece by piece."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        piece = await self.pieces.get()
        return rtc.AudioFrame(piece, RATE, 1, len(piece) // 2)


class Loudspeaker(AudioOutput):
    """Notes when sound begins, and counts it as played at once."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(label="loudspeaker", capabilities=AudioOutputCapabilities(pause=False))
        self._notes = notes
        self._length_s = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Take sound."""
        await super().capture_frame(frame)
        if not self._length_s:
            self._notes.sounded()
            self.on_playback_started(created_at=time.time())
        self._length_s += frame.duration

    def flush(self) -> None:
        """Note the end of an utterance."""
        super().flush()
        if self._length_s:
            self.on_playback_finished(playback_position=self._length_s, interrupted=False)
            self._length_s = 0.0

    def clear_buffer(self) -> None:
        """Nothing is kept."""


class Interpreter(Agent):
    """Says in German what was said."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(instructions="")
        self._notes = notes

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncGenerator[stt.SpeechEvent, None]:
        """Pass on what is heard, and speak its translation."""
        async for event in Agent.default.stt_node(self, audio, model_settings):
            if event.type == FINAL and event.alternatives[0].text.strip():
                (text,) = event.alternatives[0].target_texts or ("",)
                self._notes.captioned(text)
                if text:
                    self.session.say(text, allow_interruptions=False, add_to_chat_ctx=False)
            yield event


async def measure_livekit(url: str, voice: Voice, sound: bytes) -> Notes:
    """Speak to an agent of LiveKit."""
    notes = Notes()
    ears = LiveKitEars(Ears(notes))
    translating = TranslatingSTT(ears, url=url, source="en", targets=["de"], options=OPTIONS)
    session: AgentSession[None] = AgentSession(
        stt=translating,
        tts=LiveKitVoice(voice),
        vad=None,
        turn_handling={"turn_detection": "manual"},
    )
    microphone = Microphone()
    session.input.audio = microphone
    session.output.audio = Loudspeaker(notes)
    await session.start(Interpreter(notes))
    await in_real_time(sound, notes, microphone.pieces.put)
    await session.aclose()
    await translating.aclose()
    return notes


# ---- what came of it ----

MEASURES: Final = {
    "first hypothesis": "the speaker's first word is over, to the recogniser's first hypothesis",
    "first word": "the speaker's first word is over, to the first sound of German",
    "sentence": "the speaker's last word is over, to the whole sentence in German as text",
    "translate": "the recogniser's final, to the whole sentence in German as text",
}


def delays(sentences: Sequence[Sentence], notes: Notes) -> dict[str, list[float]]:
    """Return delays in ms; a sentence that was not recognised has none."""
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    by_sentence: dict[int, list[Utterance]] = {}
    for utterance in notes.utterances:
        begun = [sentence.words[0][0] <= utterance.start_s + 0.5 for sentence in sentences]
        by_sentence.setdefault(max(sum(begun) - 1, 0), []).append(utterance)
    for number, utterances in by_sentence.items():
        first, last, words = utterances[0], utterances[-1], sentences[number].words
        found["first hypothesis"].append(1e3 * (first.heard_s - words[0][1]))
        if first.sound_s is not None:
            found["first word"].append(1e3 * (first.sound_s - words[0][1]))
        if last.caption_s is not None:
            found["sentence"].append(1e3 * (last.caption_s - words[-1][1]))
            found["translate"].append(1e3 * (last.caption_s - last.said_s))
    return found


def rows(package: str, sentences: Sequence[Sentence], notes: Notes) -> list[dict[str, Any]]:
    """Return a row for each measure, then one with all utterances."""
    found: list[dict[str, Any]] = []
    for name, values in delays(sentences, notes).items():
        ordered = sorted(values)
        if ordered:
            found.append(
                {
                    "package": package,
                    "measure": name,
                    "count": len(ordered),
                    "p50_ms": round(ordered[len(ordered) // 2], 1),
                    "max_ms": round(ordered[-1], 1),
                }
            )
    return [*found, {"package": package, "utterances": [asdict(each) for each in notes.utterances]}]


def page_part(result: dict[str, Any]) -> str:
    """Return the table, for the page."""
    table = markdown_table(
        "package | | from, to | sentences | p50 ms | most",
        "lllrrr",
        [
            (
                row["package"],
                row["measure"],
                MEASURES[row["measure"]],
                row["count"],
                f"{row['p50_ms']:.1f}",
                f"{row['max_ms']:.1f}",
            )
            for row in result["rows"]
            if "measure" in row
        ],
    )
    return (
        f"{result['date']}, {describe_machine(result['machine'])}, commit "
        f"{result['versions']['commit']}: `{result['command']}`\n\n{table}"
    )


PACKAGES: Final = {"pipecat": measure_pipecat, "LiveKit Agents": measure_livekit}


async def _measure(
    url: str, paragraph: Sequence[str], names: Sequence[str]
) -> list[dict[str, Any]]:
    voice = Voice()
    sound, sentences = speak(voice, paragraph, PAUSE_S)
    found: list[dict[str, Any]] = []
    logger.disable("pipecat")
    for name in names:
        found += rows(name, sentences, await PACKAGES[name](url, voice, sound))
    return found


async def _run(
    url: str | None, paragraph: Sequence[str], names: Sequence[str]
) -> list[dict[str, Any]]:
    if url is not None:
        return await _measure(url, paragraph, names)
    async with served() as own:
        return await _measure(own, paragraph, names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or write the page from an existing result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="address of a running service (default: start one)")
    parser.add_argument(
        "--package", choices=PACKAGES, action="append", help="packages to measure (default: all)"
    )
    parser.add_argument("--sentences", type=int, default=len(PARAGRAPH))
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--page", type=Path, help="insert the table into this page")
    parser.add_argument("--from-json", type=Path, help="measure nothing: use this result")
    options = parser.parse_args(arguments)
    if options.from_json:
        result = json.loads(options.from_json.read_text(encoding="utf-8"))
    else:
        paragraph, names = PARAGRAPH[: options.sentences], options.package or list(PACKAGES)
        result = make_result(
            asyncio.run(_run(options.url, paragraph, names)),
            machine=describe_cpu(),
            packages=("torch", "pocketsphinx", "pipecat-ai", "livekit-agents"),
            program="python -m tokenspeed.bench.pages.pipelines",
        )
    if options.json:
        write_result(result, options.json)
    if options.page:
        put_into_page(options.page, NAME, page_part(result))
    print(page_part(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
