"""LiveKit's own classes round hypotheses that are written down, and a real service."""

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import stt

from tests.clients.faults import Faults, Restarted
from tests.clients.network import Network
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine
from tokenspeed_client import connect
from tokenspeed_client.livekit import FINAL, INTERIM, TranslatingSTT, TranslationStreams

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


async def test_finals_carry_their_translations_and_all_else_goes_on(service: Service) -> None:
    script: Script = [
        (START, ""), (INTERIM, "good"), (INTERIM, "good morning"), (FINAL, "Good morning."),
        (INTERIM, "thank"), (FINAL, "Thank you."), (END, ""),
    ]  # fmt: skip
    wrapper = TranslatingSTT(
        Written(script), url=service.http, source="en", targets=["de", "fr"], final_s=20
    )
    found = await heard(wrapper, len(script))
    assert [(each.type, each.alternatives[0].text if each.alternatives else "")
            for each in found] == list(script)  # fmt: skip
    finals = [each for each in found if each.type == FINAL]
    assert [translations(each) for each in finals] == [
        {"de": "GOOD MORNING.", "fr": "GOOD MORNING."},
        {"de": "THANK YOU.", "fr": "THANK YOU."},
    ]
    assert all(each.alternatives[0].speaker_id == "ann" for each in finals)
    assert all(translations(each) is None for each in found if each.type == INTERIM)


async def test_a_final_without_words_withdraws_what_was_heard(service: Service) -> None:
    script: Script = [(INTERIM, "uh"), (FINAL, " "), (FINAL, "Yes.")]
    wrapper = TranslatingSTT(Written(script), url=service.http, targets=["de"], final_s=20)
    found = await heard(wrapper, len(script))
    assert [translations(each) for each in found] == [None, None, {"de": "YES."}]


async def test_a_final_does_not_wait_for_ever(run: Run) -> None:
    script: Script = [(INTERIM, "yes"), (FINAL, "Yes.")]
    url = run(FakeEngine(delay_s=60.0)).http
    wrapper = TranslatingSTT(Written(script), url=url, targets=["de"], final_s=0.05)
    found = await heard(wrapper, len(script))
    assert [(each.type, translations(each)) for each in found] == [(INTERIM, None), (FINAL, None)]


async def test_without_a_service_it_is_a_speech_to_text() -> None:
    script: Script = [(INTERIM, "yes"), (FINAL, "Yes.")]
    options = {"connect_timeout_s": 0.2}
    wrapper = TranslatingSTT(
        Written(script), url="http://127.0.0.1:9", targets=["de"], options=options
    )
    found = await heard(wrapper, len(script))
    assert [(each.type, translations(each)) for each in found] == [(INTERIM, None), (FINAL, None)]


async def test_a_recording_is_translated_too(service: Service) -> None:
    wrapper = TranslatingSTT(
        Written([(FINAL, "Good morning.")]), url=service.http, source="en", targets=["de"],
        final_s=20,
    )  # fmt: skip
    assert translations(await wrapper.recognize(SILENCE)) == {"de": "GOOD MORNING."}


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="StreamAdapter"):
        TranslatingSTT(Written([], is_streaming=False), url="http://127.0.0.1:9", targets=["de"])
    with pytest.raises(ValueError, match="http"):
        TranslatingSTT(Written([]), url="nowhere", targets=["de"])


# ---- what goes wrong on the way ----


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


@pytest.mark.parametrize("fault", ["restart", "cut", "deaf", "slow"])
async def test_each_final_is_translated_once_whatever_happens_in_mid_sentence(fault: str) -> None:
    server = Restarted()
    script: Script = [
        (INTERIM, "good"), (INTERIM, "good morning"), (FINAL, "Good morning."),
        (INTERIM, "thank"), (FINAL, "Thank you."),
    ]  # fmt: skip
    try:
        async with Network(server.service.port).running() as network:
            faults = Faults(network, server, ["nothing", "nothing", fault])
            wrapper = TranslatingSTT(
                Spoken(script, faults), url=network.http, source="en", targets=["de"], final_s=30
            )
            found = await heard(wrapper, len(script))
    finally:
        await asyncio.to_thread(server.stack.close)
    finals = [each for each in found if each.type == FINAL]
    assert [translations(each) for each in finals] == [
        {"de": "GOOD MORNING."},
        {"de": "THANK YOU."},
    ]


async def test_a_token_that_expired_leaves_a_speech_to_text_and_a_fresh_one_is_asked_for(
    run: Run,
) -> None:
    key = "a-key-of-more-than-16"
    service = run(api_keys=(key,))
    given = iter(["expired", key])

    async def fresh() -> str:
        return next(given)

    for token, expected in ((fresh, {"de": "YES."}), ("expired", None)):
        script: Script = [(FINAL, "Yes.")]
        wrapper = TranslatingSTT(
            Written(script), url=service.http, targets=["de"], final_s=20, options={"token": token}
        )
        assert [translations(each) for each in await heard(wrapper, 1)] == [expected]


async def test_a_full_server_is_waited_for(run: Run) -> None:
    service = run(max_sessions=1)
    script: Script = [(INTERIM, "yes"), (FINAL, "Yes.")]
    async with connect(service.http, source="en", targets=["de"]) as first:
        options = {"connect_timeout_s": 20}
        wrapper = TranslatingSTT(
            Written(script), url=service.http, targets=["de"], final_s=20, options=options
        )
        hearing = asyncio.create_task(heard(wrapper, len(script)))
        await asyncio.sleep(0.2)
        await first.close()
        assert [translations(each) for each in await hearing] == [None, {"de": "YES."}]


# ---- for everybody in the room ----


class Published:
    """A participant of a room that nobody is in."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str, dict[str, str]]] = []

    async def send_text(
        self, text: str, *, topic: str = "", attributes: dict[str, str] | None = None
    ) -> None:
        self.texts.append((text, topic, attributes or {}))


async def test_translations_are_published_where_clients_look_for_captions(service: Service) -> None:
    script: Script = [(INTERIM, "yes"), (FINAL, "Yes."), (FINAL, "No.")]
    wrapper = TranslatingSTT(
        Written(script), url=service.http, source="en", targets=["de", "fr"], final_s=20
    )
    participant = Published()
    streams = TranslationStreams(participant, track_id="TR_1")
    for each in await heard(wrapper, len(script)):
        await streams.publish(each)
    shown = [(text, topic, told["language"]) for text, topic, told in participant.texts]
    assert shown == [
        (text, "lk.transcription", language)
        for text in ("YES.", "NO.")
        for language in ("de", "fr")
    ]
    assert len({told["lk.segment_id"] for _, _, told in participant.texts}) == 4
    assert all(told["lk.transcription_final"] == "true" for _, _, told in participant.texts)
    assert all(told["lk.transcribed_track_id"] == "TR_1" for _, _, told in participant.texts)


def test_a_participant_of_livekits_own_takes_what_is_published() -> None:
    wanted = inspect.signature(Published.send_text).parameters
    taken = inspect.signature(rtc.LocalParticipant.send_text).parameters
    assert wanted.keys() <= taken.keys()
