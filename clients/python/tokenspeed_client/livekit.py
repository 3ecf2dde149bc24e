"""A speech-to-text for LiveKit Agents that also translates what it hears.

    stt = TranslatingSTT(deepgram.STT(), url="http://127.0.0.1:8000", source="en", targets=["de"])
    session = AgentSession(stt=stt, ...)

Its finals carry `target_languages` and `target_texts`; `TranslationStreams` shows them to
everybody in the room. Needs `tokenspeed-client[livekit]`.
"""

import asyncio
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol

from livekit.agents import stt, utils
from livekit.agents.language import LanguageCode
from livekit.agents.types import (
    ATTRIBUTE_TRANSCRIPTION_FINAL,
    ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID,
    ATTRIBUTE_TRANSCRIPTION_TRACK_ID,
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    TOPIC_TRANSCRIPTION,
    APIConnectOptions,
    NotGivenOr,
)
from livekit.agents.utils import AudioBuffer

from tokenspeed_client.captioning.heard import agreed
from tokenspeed_client.client import Session, connect
from tokenspeed_client.errors import ClientError
from tokenspeed_client.events import SessionNotice, TranslationFinal

FINAL_S: Final = 2.0  # how long a final waits for its translations, before it goes on without them
INTERIM: Final = stt.SpeechEventType.INTERIM_TRANSCRIPT
FINAL: Final = stt.SpeechEventType.FINAL_TRANSCRIPT


class TranslatingSTT(stt.STT):  # type: ignore[type-arg]
    """Wraps a speech-to-text that streams.

    Its events are passed on unchanged and in order. A final waits for its translations, which began
    with the hypotheses before it.

    Args:
        wrapped: the speech-to-text.
        url: of the service.
        source: language that is spoken; `auto` detects it.
        targets: languages to translate into.
        final_s: how long a final waits, at most.
        options: for `tokenspeed_client.connect`.
    Raises:
        ValueError: `wrapped` does not stream, or the address is not that of a service.
    """

    def __init__(
        self,
        wrapped: "stt.STT[Any]",
        *,
        url: str,
        source: str = "auto",
        targets: Sequence[str],
        final_s: float = FINAL_S,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not wrapped.capabilities.streaming:
            raise ValueError("a speech-to-text that does not stream needs a stt.StreamAdapter")
        super().__init__(capabilities=wrapped.capabilities)
        self.wrapped = wrapped
        self.targets = tuple(targets)
        self.final_s = final_s
        self._connect: dict[str, Any] = {
            "url": url, "source": source, "targets": self.targets, **(options or {}),
        }  # fmt: skip
        self.session()  # raises if the address is wrong
        wrapped.on("metrics_collected", self._on_metrics)
        self._recognize_metrics_needed = False  # the wrapped one's are passed on

    @property
    def model(self) -> str:
        """Return the model of the wrapped speech-to-text."""
        return self.wrapped.model

    @property
    def provider(self) -> str:
        """Return the provider of the wrapped speech-to-text."""
        return self.wrapped.provider

    def session(self) -> Session:
        """Return a session that has not been entered yet."""
        return connect(**self._connect)

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        event = await self.wrapped.recognize(buffer, language=language, conn_options=conn_options)
        with suppress(ClientError):  # without a service it is a plain speech-to-text
            async with self.session() as session:
                event = await Translations(session, self.targets, self.final_s).translated(event)
                await session.close(self.final_s)
        return event

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> "TranslatingStream":
        """Listen to a track."""
        return TranslatingStream(self, language, conn_options)

    async def aclose(self) -> None:
        """Leave the wrapped speech-to-text open: its owner closes it."""
        self.wrapped.off("metrics_collected", self._on_metrics)

    def _on_metrics(self, *found: Any) -> None:
        self.emit("metrics_collected", *found)


class TranslatingStream(stt.RecognizeStream):
    """One track."""

    def __init__(
        self, outer: TranslatingSTT, language: NotGivenOr[str], conn_options: APIConnectOptions
    ) -> None:
        super().__init__(stt=outer, conn_options=conn_options)
        self._outer = outer
        self._language = language

    async def _metrics_monitor_task(self, event_aiter: AsyncIterable[stt.SpeechEvent]) -> None:
        async for _ in event_aiter:  # the wrapped one has counted them
            pass

    async def _run(self) -> None:
        outer = self._outer
        inner = outer.wrapped.stream(language=self._language, conn_options=self._conn_options)
        pushing = asyncio.create_task(self._push(inner))
        try:
            async with outer.session() as session:
                translations = Translations(session, outer.targets, outer.final_s)
                async for event in inner:
                    self._event_ch.send_nowait(await translations.translated(event))
                await session.close(outer.final_s)  # not longer: the speaker has hung up
        except ClientError:
            async for event in inner:  # without a service it is a plain speech-to-text
                self._event_ch.send_nowait(event)
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
            await inner.aclose()

    async def _push(self, inner: stt.RecognizeStream) -> None:
        async for item in self._input_ch:
            if isinstance(item, self._FlushSentinel):
                inner.flush()
            else:
                inner.push_frame(item)
        inner.end_input()


class Publisher(Protocol):
    """The part of `livekit.rtc.LocalParticipant` that is used."""

    async def send_text(
        self, text: str, *, topic: str = "", attributes: dict[str, str] | None = None
    ) -> Any:
        """Send a text to everybody in the room."""
        ...


class TranslationStreams:
    """Publishes translations as text streams on `lk.transcription`, where clients expect captions.

    A stream has LiveKit's own attributes, and `language`. Streams of one sentence have the same
    segment id followed by their language, so that a client that shows the newest text of a segment
    shows each language.

    Args:
        participant: who publishes: `room.local_participant` of an agent.
        track_id: of the transcribed track, if captions are to be shown beside its speaker.
    """

    def __init__(self, participant: Publisher, track_id: str | None = None) -> None:
        self._participant = participant
        self._track_id = track_id

    async def publish(self, event: stt.SpeechEvent) -> None:
        """Publish the translations of a final; other events have none."""
        if event.type != FINAL or not event.alternatives:
            return
        best = event.alternatives[0]
        segment_id = utils.shortuuid("SG_")
        languages, texts = best.target_languages or (), best.target_texts or ()
        for language, text in zip(languages, texts, strict=True):
            attributes = {
                ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID: f"{segment_id}-{language}",
                ATTRIBUTE_TRANSCRIPTION_FINAL: "true",
                "language": str(language),
            }
            if self._track_id is not None:
                attributes[ATTRIBUTE_TRANSCRIPTION_TRACK_ID] = self._track_id
            await self._participant.send_text(
                text, topic=TOPIC_TRANSCRIPTION, attributes=attributes
            )


class Translations:
    """Adds translations to the events of one track."""

    def __init__(self, session: Session, targets: Sequence[str], final_s: float) -> None:
        self._session = session
        self._targets = targets
        self._final_s = final_s
        self._before = ""
        self._parts: list[str] = []  # segments of the sentence
        self._finals: dict[tuple[str, str], str] = {}  # by segment and language

    async def translated(self, event: stt.SpeechEvent) -> stt.SpeechEvent:
        """Return the event; a final with its translations."""
        if not event.alternatives or event.type not in (INTERIM, FINAL):
            return event
        best = event.alternatives[0]
        if event.type == INTERIM:
            stable = agreed(self._before, best.text)
            self._before = best.text
            await self._session.update(best.text[len(stable) :], stable=stable)
            return event
        was_open, self._before = bool(self._before), ""
        if not best.text.strip():
            if was_open:
                await self._session.cancel()
            return event
        name = await self._session.commit(best.text)
        self._parts, self._finals = [name], {}
        with suppress(TimeoutError):
            async with asyncio.timeout(self._final_s):
                await self._read()
        texts = {target: self._text(target) for target in self._targets}
        targets = [target for target, text in texts.items() if text]
        if not targets:
            return event
        data = replace(
            best,
            target_languages=[LanguageCode(target) for target in targets],
            target_texts=[texts[target] for target in targets],
        )
        return replace(event, alternatives=[data, *event.alternatives[1:]])

    def _text(self, target: str) -> str:
        """Return a translation, "" if parts of it are missing."""
        found = [self._finals.get((part, target), "") for part in self._parts]
        return " ".join(found) if all(found) else ""

    async def _read(self) -> None:
        """Read events until the sentence is complete in each language."""
        async for event in self._session:
            if isinstance(event, SessionNotice) and event.segment_id == self._parts[-1]:
                if event.next_segment_id is not None:  # a long text was cut
                    self._parts.append(event.next_segment_id)
            elif isinstance(event, TranslationFinal):
                self._finals[event.segment_id, event.target] = event.text
                wanted = ((part, target) for part in self._parts for target in self._targets)
                if all(each in self._finals for each in wanted):
                    return
