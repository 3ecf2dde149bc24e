"""A processor for pipecat that translates what users say, to be read and spoken.

    translator = TokenSpeedTranslator("http://127.0.0.1:8000", source="en", target="de")
    Pipeline([transport.input(), stt, translator, tts, transport.output()])

Needs the extra `tokenspeed-client[pipecat]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
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
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transcriptions.language import Language

from tokenspeed_client.captioning.heard import agreed
from tokenspeed_client.client import Session, connect
from tokenspeed_client.errors import ClientError
from tokenspeed_client.events import (
    Error,
    SessionCreated,
    SessionSnapshot,
    SnapshotSegment,
    TranslationDelta,
    TranslationFinal,
    TranslationRetracted,
)

CLOSE_S: Final = 10.0  # for the last finals


@dataclass
class _Utterance:
    """One utterance of a user, and its translation so far.

    Attributes:
        before: the hypothesis before this one.
        said: the part of its translation that was passed on to be spoken.
        behind: how much of `said` a new session has sent again so far; None if it has caught up.
        is_speaking: whether a response has begun.
        is_muted: whether the user has interrupted it; captions still come.
    """

    name: str
    user_id: str = ""
    timestamp: str = ""
    before: str = ""
    said: str = ""
    behind: str | None = None
    is_speaking: bool = False
    is_muted: bool = False

    def news(self, text: str) -> str:
        """Take more of its translation; return the part that is new."""
        received = (self.said if self.behind is None else self.behind) + text
        if not received.startswith(self.said):
            self.behind = received
            return ""
        news = received[len(self.said) :]
        self.said, self.behind = received, None
        return news


class TokenSpeedTranslator(FrameProcessor):
    """Translates transcriptions.

    Takes `InterimTranscriptionFrame` and `TranscriptionFrame`, and passes them on unchanged. Adds
    `TextFrame`s with text that only grows, between the start and the end of a response as
    synthesisers expect, and a `TranslationFrame` for each finished sentence, for captions, which is
    not spoken. An `InterruptionFrame` ends the speech of sentences that were complete before it.

    Args:
        url: of the service.
        source: language that is spoken; `auto` detects it.
        target: language to translate into.
        is_spoken: whether `TextFrame`s come out.
        options: for `tokenspeed_client.connect`, such as `token` and `glossary`.
    Raises:
        ValueError: this is not the address of a service.
    """

    def __init__(
        self,
        url: str,
        *,
        source: str = "auto",
        target: str,
        is_spoken: bool = True,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._target = target
        self._is_spoken = is_spoken
        self._session: Session = connect(
            url, source=source, targets=[target], mode="append_only", **(options or {})
        )
        self._utterances: dict[str, _Utterance] = {}
        self._count = 0
        self._open: dict[str, _Utterance] = {}  # by user
        self._task: Any = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame, and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self.push_frame(frame, direction)
            await self._start()
            return
        if self._task is None:
            pass  # not connected, which was reported; the rest of the pipeline works
        elif isinstance(frame, InterimTranscriptionFrame):
            await self._hear(frame)
        elif isinstance(frame, TranscriptionFrame):
            await self._commit(frame)
        elif isinstance(frame, InterruptionFrame):
            self._interrupt()
        elif isinstance(frame, EndFrame):
            await self._stop(CLOSE_S)  # the last sentences come before the end
        elif isinstance(frame, CancelFrame):
            await self._stop(0.0)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop what still runs, if the pipeline is torn down without an end."""
        if self._task is not None:
            await self._stop(0.0)
        await super().cleanup()  # type: ignore[no-untyped-call]

    # ---- what is said ----

    async def _start(self) -> None:
        try:
            await self._session.__aenter__()
        except ClientError as exc:
            await self.push_error(f"TokenSpeed: {exc}", exception=exc)
            return
        self._task = self.create_task(self._follow())

    async def _stop(self, timeout_s: float) -> None:
        task, self._task = self._task, None
        await self._session.close(timeout_s)
        if timeout_s:
            await task
        else:
            await self.cancel_task(task)

    def _interrupt(self) -> None:
        """Stop speaking complete sentences; open ones are what the user is saying now."""
        for utterance in self._utterances.values():
            utterance.is_speaking = False  # the synthesiser has ended its response
            utterance.is_muted = utterance.name not in {each.name for each in self._open.values()}

    def _utterance(self, frame: InterimTranscriptionFrame | TranscriptionFrame) -> _Utterance:
        """Return the open utterance of a user; each user has a segment of their own."""
        found = self._open.get(frame.user_id)
        if found is None:
            self._count += 1
            found = self._open[frame.user_id] = _Utterance(f"u{self._count}")
            self._utterances[found.name] = found
        found.user_id, found.timestamp = frame.user_id, frame.timestamp
        return found

    async def _hear(self, frame: InterimTranscriptionFrame) -> None:
        utterance = self._utterance(frame)
        stable = agreed(utterance.before, frame.text)
        utterance.before = frame.text
        await self._session.update(
            frame.text[len(stable) :],
            stable=stable,
            segment_id=utterance.name,
            speaker=frame.user_id or None,
        )

    async def _commit(self, frame: TranscriptionFrame) -> None:
        utterance = self._utterance(frame)
        del self._open[frame.user_id]
        if frame.text.strip():
            await self._session.commit(
                frame.text, segment_id=utterance.name, speaker=frame.user_id or None
            )
        else:
            await self._session.cancel(utterance.name)
            del self._utterances[utterance.name]

    # ---- what it means ----

    async def _follow(self) -> None:
        try:
            async for event in self._session:
                if isinstance(event, TranslationDelta):
                    await self._say(self._of(event.segment_id), event.append)
                elif isinstance(event, TranslationFinal):
                    await self._finish(event)
                elif isinstance(event, SessionCreated):
                    self._begin_anew()
                elif isinstance(event, SessionSnapshot):
                    for segment in event.segments:
                        await self._catch_up(segment)
                elif isinstance(event, TranslationRetracted):
                    await self._end_response(self._of(event.segment_id))
                elif isinstance(event, Error):
                    await self.push_error(f"TokenSpeed: {event.error.message}")
        except ClientError as exc:
            await self.push_error(f"TokenSpeed: {exc}", exception=exc)

    def _of(self, segment_id: str) -> _Utterance | None:
        # Parts of a long text that was cut carry its name: u1, u1~2.
        return self._utterances.get(segment_id.partition("~")[0])

    def _begin_anew(self) -> None:
        """Prepare for a new session, which sends open segments again from their beginning."""
        for utterance in self._utterances.values():
            utterance.behind = "" if utterance.said else None

    async def _catch_up(self, segment: SnapshotSegment) -> None:
        """Take the whole text of a segment after a gap, whose pieces are not known."""
        utterance = self._of(segment.segment_id)
        if utterance is not None:
            utterance.behind = ""
            await self._say(utterance, segment.text)

    async def _say(self, utterance: _Utterance | None, text: str) -> None:
        if utterance is None:
            return
        text = utterance.news(text)
        if utterance.is_muted or not self._is_spoken or not text:
            return
        if not utterance.is_speaking:
            utterance.is_speaking = True
            await self.push_frame(LLMFullResponseStartFrame())
        frame = TextFrame(text)
        frame.includes_inter_frame_spaces = True
        await self.push_frame(frame)

    async def _finish(self, event: TranslationFinal) -> None:
        utterance = self._of(event.segment_id)
        if utterance is None:
            return
        utterance.behind = None
        if event.text.startswith(utterance.said):
            await self._say(utterance, event.text[len(utterance.said) :])
        caption = TranslationFrame(
            event.text, utterance.user_id, utterance.timestamp, _language(self._target)
        )
        caption.skip_tts = True  # it has been spoken piece by piece
        await self.push_frame(caption)
        await self._end_response(utterance)
        utterance.said = ""
        if utterance is not self._open.get(utterance.user_id):
            self._done(utterance)

    async def _end_response(self, utterance: _Utterance | None) -> None:
        if utterance is not None and utterance.is_speaking:
            utterance.is_speaking = False
            if not utterance.is_muted:
                await self.push_frame(LLMFullResponseEndFrame())

    def _done(self, utterance: _Utterance) -> None:
        # Its other parts may still come: keep the last few.
        names = list(self._utterances)
        for name in names[: max(0, names.index(utterance.name) - 8)]:
            del self._utterances[name]


def _language(code: str) -> Language | None:
    try:
        return Language(code)
    except ValueError:
        return None
