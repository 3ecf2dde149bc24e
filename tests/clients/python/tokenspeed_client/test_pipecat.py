"""The processor in a running pipeline of pipecat's own, against a real service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StartFrame,
    TextFrame,
    TranscriptionFrame,
    TranslationFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from tests.clients.faults import Faults, Restarted
from tests.clients.network import Network
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine
from tokenspeed_client import connect
from tokenspeed_client.pipecat import TokenSpeedTranslator


class Seen(FrameProcessor):
    """The last of the pipeline: keeps what comes by."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.news = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction == FrameDirection.DOWNSTREAM:
            self.frames.append(frame)
            self.news.set()
        await self.push_frame(frame, direction)

    async def until(self, is_there: Callable[[list[Frame]], object]) -> None:
        async with asyncio.timeout(20):
            while not is_there(self.frames):
                self.news.clear()
                await self.news.wait()

    @property
    def captions(self) -> list[TranslationFrame]:
        return [frame for frame in self.frames if isinstance(frame, TranslationFrame)]

    @property
    def spoken(self) -> str:
        """What a synthesiser says: it ends a sentence where a response ends."""
        ends = (LLMFullResponseEndFrame, InterruptionFrame)
        return "".join(
            frame.text if type(frame) is TextFrame else " " * isinstance(frame, ends)
            for frame in self.frames
        )


@asynccontextmanager
async def running(translator: TokenSpeedTranslator) -> AsyncIterator[tuple[PipelineWorker, Seen]]:
    """Run a pipeline; at the end of the block it is ended, and waited for."""
    seen = Seen()
    worker = PipelineWorker(
        Pipeline([translator, seen]), cancel_on_idle_timeout=False, enable_rtvi=False
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    run = asyncio.create_task(runner.run())
    try:
        await seen.until(lambda frames: any(isinstance(each, StartFrame) for each in frames))
        yield worker, seen
        await worker.queue_frame(EndFrame())
        await asyncio.wait_for(run, 20)
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def asked(engine: FakeEngine) -> None:
    """Wait until an engine has something to answer."""
    async with asyncio.timeout(20):
        while not (engine.running or engine.requests):  # noqa: ASYNC110  the engine is in another thread
            await asyncio.sleep(0.01)


def heard(text: str, user: str = "ann") -> InterimTranscriptionFrame:
    return InterimTranscriptionFrame(text, user, "2026-11-26T12:00:00")


def said(text: str, user: str = "ann") -> TranscriptionFrame:
    return TranscriptionFrame(text, user, "2026-11-26T12:00:01")


def translator(service: Service, **options: object) -> TokenSpeedTranslator:
    return TokenSpeedTranslator(service.http, source="en", target="de", **options)  # type: ignore[arg-type]


async def test_sentences_come_out_to_read_and_to_speak(service: Service) -> None:
    async with running(translator(service)) as (worker, seen):
        for text in ("good", "good morning", "good morning and welcome"):
            await worker.queue_frame(heard(text))
        await worker.queue_frame(said("Good morning and welcome."))
        await worker.queue_frame(said("Thank you."))
    assert [(each.text, each.user_id, str(each.language)) for each in seen.captions] == [
        ("GOOD MORNING AND WELCOME.", "ann", "de"),
        ("THANK YOU.", "ann", "de"),
    ]
    assert all(each.skip_tts for each in seen.captions)
    assert seen.spoken.split() == "GOOD MORNING AND WELCOME. THANK YOU.".split()
    # What was heard goes on, and the end comes after the last sentence.
    assert sum(isinstance(each, InterimTranscriptionFrame) for each in seen.frames) == 3
    assert isinstance(seen.frames[-1], EndFrame)
    begun = 0
    for frame in seen.frames:
        begun += isinstance(frame, LLMFullResponseStartFrame)
        begun -= isinstance(frame, LLMFullResponseEndFrame)
        assert type(frame) is not TextFrame or begun > 0  # a synthesiser knows where speech ends
    assert begun == 0


async def test_speech_begins_before_the_sentence_ends(service: Service) -> None:
    text = "we want"
    async with running(translator(service)) as (worker, seen), asyncio.timeout(30):
        while not seen.spoken:
            text += " to see the old church and"
            await worker.queue_frame(heard(text))
            await asyncio.sleep(0.15)
        before = seen.spoken
        await worker.queue_frame(said(text))
    assert seen.spoken.startswith(before)
    kinds = [type(frame) for frame in seen.frames]
    assert kinds.index(TextFrame) < kinds.index(TranscriptionFrame)
    assert seen.captions[0].text.startswith("WE WANT TO SEE")


async def test_an_interruption_ends_the_speech_of_what_was_said_before_it(
    run: Run,
) -> None:
    engine = FakeEngine()
    async with running(translator(run(engine))) as (worker, seen):
        await worker.queue_frame(said("One."))
        await worker.queue_frame(said("Two."))
        await seen.until(lambda _: len(seen.captions) == 2)
        engine.delay_s = 60.0
        await worker.queue_frame(said("Three."))
        await asked(engine)
        await seen.until(lambda frames: getattr(frames[-1], "text", "") == "Three.")
        await worker.queue_frame(InterruptionFrame())
        await seen.until(lambda frames: isinstance(frames[-1], InterruptionFrame))
        engine.delay_s = 0.0
        for generation in list(engine.running.values()):
            generation._loop.call_soon_threadsafe(generation.end, "stop")
        await worker.queue_frame(said("Four."))
    assert [each.text for each in seen.captions] == ["ONE.", "TWO.", "THREE.", "FOUR."]
    assert seen.spoken.split() == ["ONE.", "TWO.", "FOUR."]


async def test_two_users_speak_at_once_and_an_empty_transcription_is_withdrawn(
    service: Service,
) -> None:
    async with running(translator(service, is_spoken=False)) as (worker, seen):
        await worker.queue_frame(heard("good mor", "ann"))
        await worker.queue_frame(heard("thank", "bob"))
        await worker.queue_frame(heard("uh", "eve"))
        await worker.queue_frame(said("", "eve"))
        await worker.queue_frame(said("Thank you.", "bob"))
        await worker.queue_frame(said("Good morning.", "ann"))
    assert {(each.user_id, each.text) for each in seen.captions} == {
        ("bob", "THANK YOU."),
        ("ann", "GOOD MORNING."),
    }
    assert seen.spoken == ""


async def test_a_service_that_is_not_there_is_an_error_frame_and_no_more() -> None:
    absent = TokenSpeedTranslator(
        "http://127.0.0.1:9", target="de", options={"connect_timeout_s": 0.2}
    )
    errors: list[ErrorFrame] = []

    @absent.event_handler("on_error")  # type: ignore[untyped-decorator]
    async def on_error(_: FrameProcessor, frame: ErrorFrame) -> None:
        errors.append(frame)

    async with running(absent) as (worker, seen):
        await worker.queue_frame(said("Good morning."))
    assert [each.text for each in seen.frames if isinstance(each, TranscriptionFrame)] == [
        "Good morning."
    ]
    assert len(errors) == 1
    assert "Connect call failed" in errors[0].error


# ---- what goes wrong on the way ----


@pytest.mark.parametrize("fault", ["restart", "cut", "deaf", "slow"])
async def test_nothing_is_lost_or_spoken_twice_whatever_happens_in_mid_sentence(fault: str) -> None:
    server = Restarted()
    sentences = ["we want to see the old church and the river", "and then we go home again"]
    try:
        async with Network(server.service.port).running() as network:
            options = {"min_update_interval_s": 0.0}
            process = TokenSpeedTranslator(network.http, source="en", target="de", options=options)
            async with running(process) as (worker, seen), asyncio.timeout(40):
                before = ""
                for sentence in sentences:
                    words = sentence.split()
                    for end in range(1, len(words)):
                        await worker.queue_frame(heard(" ".join(words[:end])))
                        await asyncio.sleep(0.02)
                        if end == len(words) // 2:
                            await seen.until(lambda _: seen.spoken != before)  # noqa: B023
                            await Faults(network, server, [fault]).next()
                            if fault == "restart":  # the new one is told what was said before
                                await asked(server.service.engine)
                    await worker.queue_frame(said(sentence))
                    before = seen.spoken
    finally:
        await asyncio.to_thread(server.stack.close)
    assert [each.text for each in seen.captions] == [each.upper() for each in sentences]
    assert seen.spoken.split() == " ".join(sentences).upper().split()


async def test_a_token_that_expired_is_an_error_frame_and_a_fresh_one_is_asked_for(
    run: Run,
) -> None:
    key = "a-key-of-more-than-16"
    service = run(api_keys=(key,))
    given = iter(["expired", key])

    async def fresh() -> str:
        return next(given)

    async with running(translator(service, options={"token": fresh})) as (worker, seen):
        await worker.queue_frame(said("Good morning."))
    assert [each.text for each in seen.captions] == ["GOOD MORNING."]
    async with running(translator(service, options={"token": "expired"})) as (worker, seen):
        await worker.queue_frame(said("Good morning."))
    assert seen.captions == []


async def test_a_full_server_is_waited_for(run: Run) -> None:
    service = run(max_sessions=1)
    async with connect(service.http, source="en", targets=["de"]) as first:
        process = translator(service, options={"connect_timeout_s": 20})
        async with asyncio.TaskGroup() as group:

            async def speak() -> list[str]:
                async with running(process) as (worker, seen):
                    await worker.queue_frame(said("Good morning."))
                return [each.text for each in seen.captions]

            captions = group.create_task(speak())
            await asyncio.sleep(0.2)
            await first.close()
    assert captions.result() == ["GOOD MORNING."]
