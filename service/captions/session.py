"""One session as a state machine: client events in; server events and translation jobs out.

Knows the protocol and which segments are open; their text is handled in `translations`. Does
no I/O and reads no clock: every call is given the time, in seconds on one monotonic clock, and
returns the actions to take.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from service.captions.actions import Action, Close, Counters, Send
from service.captions.dumps import Dumps
from service.captions.job import Job, Outcome
from service.captions.pacing import Pacing
from service.captions.policy import PRESETS, Preset
from service.captions.reports import source_delta_of, source_final_of
from service.captions.segment import Segment, digest_of
from service.captions.segments import Segments, over
from service.captions.settings import ModelInfo, Settings
from service.captions.translations import Translations
from service.errors import ProtocolError
from service.load.limits import Limits
from service.wire import protocol
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.steps import never

MAX_BACKLOG: Final = 64  # jobs waiting for the engine, above which a long text is not cut further


class Session:
    """The state of one session, on one connection after another.

    Args:
        session_id: names the session in events and job keys.
        model: what can be asked for.
        limits: bounds.
        new_detokenizer: makes a detokenizer for the ids of one output.
        now_s: when the session begins.
        presets: how eager translations are, by the name of a stability and "append_only".
        is_spent: whether there is no time for more in this turn; what is left waits for a tick.

    Attributes:
        pacing: when revisions are translated.
        counters: what happened, for metrics.
        is_closing: whether new source text is refused.
        is_full: whether so much awaits translation that nothing more should be read.
        backlog: jobs that wait for the engine, as reported by the driver.
    """

    def __init__(
        self,
        session_id: str,
        model: ModelInfo,
        limits: Limits,
        new_detokenizer: Callable[[], TokenText],
        now_s: float,
        presets: Mapping[str, Preset] = PRESETS,
        is_spent: Callable[[], bool] = never,
    ) -> None:
        self.id = session_id
        self.pacing = Pacing(limits.updates_per_s, now_s)
        self.counters = Counters()
        self.is_closing = False
        self.is_full = False
        self.backlog = 0
        self._model = model
        self._limits = limits
        self._is_spent = is_spent
        self._started_s = self._last_frame_s = now_s
        self._is_suspended = False
        self._segments = Segments(limits.open_segments, limits.segment_chars)
        self._translations = Translations(
            session_id,
            model,
            self._segments,
            self.pacing,
            new_detokenizer,
            presets,
            now_s,
            is_spent,
        )
        self._close: Close | None = None
        self._source_chars = 0
        self._dumps = Dumps(model, self._segments, self._translations, now_s)

    # ---- what comes in ----

    def open(self, now_s: float, epoch: str, resume_token: str | None = None) -> list[Action]:
        """Greet the client."""
        limits = self._limits
        info = protocol.SessionInfo(
            id=self.id,
            epoch=epoch,
            limits=protocol.LimitsInfo(
                limits.frame_bytes, limits.segment_chars, limits.updates_per_s, limits.idle_s
            ),
            model=self._model.name,
            languages=self._model.languages,
            resume_token=resume_token,
        )
        self._last_frame_s = now_s
        return [Send(protocol.SessionCreated(info))]

    def receive(
        self,
        event: protocol.ClientEvent,
        now_s: float,
        wall_time_s: float = 0.0,
        waited_s: float = 0.0,
    ) -> list[Action]:
        """Take an event.

        Args:
            wall_time_s: seconds since 1970, for `pong` alone.
            waited_s: how long it waited for its turn after it arrived.
        """
        self._last_frame_s = now_s
        self._translations.waited_s = waited_s
        try:
            if isinstance(event, protocol.Ping):
                return [Send(protocol.Pong(wall_time_s, event.id))]
            if self.is_closing:
                raise ProtocolError("invalid_event", "the session is closing")
            actions = self._handlers[type(event)](self, event, now_s)
            return self._go_on(actions, now_s)
        except ProtocolError as exc:
            exc.event_id = event.event_id
            return [self._error(exc)]
        finally:
            self._translations.waited_s = 0.0

    def refuse(self, exc: ProtocolError, now_s: float) -> list[Action]:
        """Take a frame that is not a valid event."""
        self._last_frame_s = now_s
        return [self._error(exc)]

    def progress(self, job: Job, tokens: tuple[int, ...], now_s: float) -> list[Action]:
        """Take an output that is still being decoded."""
        return self._translations.progress(job, tokens, now_s)

    def complete(self, job: Job, outcome: Outcome, now_s: float) -> list[Action]:
        """Take a finished output."""
        return self._finish(self._translations.complete(job, outcome, now_s), now_s)

    def fail(self, job: Job, code: str, message: str, now_s: float) -> list[Action]:
        """Note that a job could not be run; a final is sent anyway, with what there is."""
        return self._finish(self._translations.fail(job, code, message, now_s), now_s)

    def tick(self, now_s: float) -> list[Action]:
        """Do whatever is due."""
        actions: list[Action] = []
        if not self.pacing.is_thinned(now_s):
            for segment in self._segments:
                if segment.is_dirty and self.pacing.take(now_s):
                    self._translations.revise(segment)
        if not self._translations.is_waiting and (long := self._next_long()) is not None:
            # One part per tick, its pieces in later ticks: a page that is pasted at once must not
            # hold up other connections.
            return self._cut(long, now_s)
        if now_s >= self._idle_s():
            actions += self._begin_close("idle", protocol.CLOSE_IDLE, now_s)
        return self._go_on(actions, now_s)

    def next_tick_s(self) -> float:
        """Return when `tick` is due next."""
        if self._translations.is_waiting or self._next_long() is not None:
            return 0.0
        if any(segment.is_dirty for segment in self._segments):
            return min(self._idle_s(), self.pacing.ready_s())
        return self._idle_s()

    @property
    def settings(self) -> Settings:
        """The settings as applied."""
        return self._translations.settings

    def preparation(self, event: protocol.ClientEvent) -> Callable[[], None] | None:
        """Return what makes an event cheap that would take long; it may run in a thread.

        Until the event itself comes, nothing of it is applied.
        """
        if not isinstance(event, protocol.SessionUpdate):
            return None
        try:
            settings = self.settings.merged(event.session, self._model, self._limits.targets)
        except ProtocolError:
            return None  # it is refused when it comes
        return self._translations.preparation(settings)

    def hold(self, targets: frozenset[str]) -> bool:
        """Hand nothing to translations until `let_go`, if `set_audience` would take long else.

        Returns:
            Whether it does, so that what `compiling` returns has to be done first.
        """
        if self._translations.preparation(self.settings, targets) is not None:
            self._translations.is_held = True
        return self._translations.is_held

    def compiling(self) -> Callable[[], None] | None:
        """Return what is to be done while nothing is handed over; it may run in a thread."""
        return self._translations.compiling()

    def let_go(self) -> None:
        """Hand texts to translations again, at the next tick."""
        self._translations.is_held = False

    def preparation_to_load(self, parts: Mapping[str, Any]) -> Callable[[], None] | None:
        """Return what makes `load` cheap if it would take long, or raise what that would."""
        own = self._dumps.own(parts)
        settings = Settings.loaded(parts["settings"], self._model, self._limits.targets)
        return self._translations.preparation(settings, frozenset(own["translations"]["audience"]))

    def set_audience(self, targets: frozenset[str], now_s: float) -> list[Action]:
        """Translate into these languages as well: readers of the session's room want them.

        While the connection is lost they are only noted; `wake` asks for them.
        """
        actions = self._translations.set_audience(targets, is_suspended=self._is_suspended)
        return actions if self._is_suspended else self._go_on(actions, now_s)

    def drain(self, time_left_s: float, now_s: float) -> list[Action]:
        """The server is shutting down: finish every segment, then close."""
        if self.is_closing:
            return []
        notice = Send(protocol.SessionGoingAway(time_left_s * 1e3, "shutdown"))
        return [notice, *self._begin_close("shutdown", protocol.CLOSE_DRAINED, now_s)]

    def suspend(self) -> None:
        """The connection was lost: stop waiting for jobs."""
        self._is_suspended = True
        self._translations.suspend()

    def wake(self, now_s: float) -> list[Action]:
        """The client is back: ask again for what was not finished."""
        self._is_suspended = False
        self._last_frame_s = now_s
        for segment in self._segments:
            self._translations.revise(segment)
        return self._go_on([], now_s)

    def measure_pending(self, now_s: float) -> list[Action]:
        """Check whether so much awaits translation that nothing more should be read.

        What has been read already is still taken, so that nothing committed is dropped.
        """
        pending = self._segments.pending_chars
        bound = self._limits.pending_chars
        if self.is_full:
            self.is_full = pending > bound // 2
            self._last_frame_s = now_s  # the client may have spoken while nobody was listening
            return []
        self.is_full = pending > bound
        if not self.is_full:
            return []
        waiting = f"{pending} characters wait for their translation; no more is read meanwhile"
        return [Send(protocol.SessionNotice("backlog", waiting))]

    @property
    def is_pending(self) -> bool:
        """Whether anything committed still lacks finals."""
        return self._segments.pending_chars > 0

    def snapshot(self) -> tuple[protocol.SnapshotSegment, ...]:
        """Return the open segments as the client was told them."""
        return self._translations.snapshot()

    # ---- written down for another replica ----

    def dump(self, *, is_whole: bool) -> dict[str, Any]:
        """Return the session's state as plain values, as it will be once no job is under way.

        Args:
            is_whole: all of it; otherwise only what changed since the last call.
        Returns:
            Parts by name; None for a part that no longer exists.
        """
        own = {
            "is_closing": self.is_closing,
            "close": None if self._close is None else (self._close.code, self._close.reason),
            "source_chars": self._source_chars,
        }
        return self._dumps.write(own, is_whole=is_whole)

    def load(self, parts: Mapping[str, Any]) -> None:
        """Restore the state of another session whose connection was lost; `wake` resumes it.

        Args:
            parts: everything that `dump` returned for it, the newest of each name.
        Raises:
            ValueError: it comes from another version or model.
            ProtocolError: the model cannot do what that session asked for.
        """
        own = self._dumps.own(parts)
        self._is_suspended = True
        self.is_closing = own["is_closing"]
        self._close = None if own["close"] is None else Close(*own["close"])
        self._source_chars = own["source_chars"]
        self._dumps.restore(parts, self._limits.targets)

    # ---- handlers of client events ----

    def _on_session_update(self, event: protocol.SessionUpdate, now_s: float) -> list[Action]:
        settings = self.settings.merged(event.session, self._model, self._limits.targets)
        actions = self._translations.follow(settings, now_s)
        return [Send(protocol.SessionUpdated(settings.applied())), *actions]

    def _on_source_update(self, event: protocol.SourceUpdate, now_s: float) -> list[Action]:
        text = event.stable + event.unstable
        closed = self._segments.closed(self._segments.name(event.segment_id))
        if closed is not None and closed.repeats_update(event.rev, text):
            self.counters.stale_revisions += 1
            return []
        segment = self._open_segment(event.segment_id, now_s, event.speaker)
        if event.rev <= segment.rev:
            self.counters.stale_revisions += 1
            return []
        segment.rev, segment.stable, segment.unstable = event.rev, event.stable, event.unstable
        segment.last_update = (event.rev, digest_of(text))
        segment.start_ms = segment.start_ms if event.start_ms is None else event.start_ms
        segment.end_ms = segment.end_ms if event.end_ms is None else event.end_ms
        segment.is_appended = False
        return self._updated(segment, now_s)

    def _on_source_append(self, event: protocol.SourceAppend, now_s: float) -> list[Action]:
        segment = self._open_segment(event.segment_id, now_s, event.speaker)
        if segment.rev >= protocol.MAX_INT:
            raise ProtocolError("invalid_event", f"no revision comes after {segment.rev}", "type")
        segment.stable = segment.stable + segment.unstable + event.text
        segment.unstable = ""
        segment.rev += 1
        segment.is_appended = True
        return self._updated(segment, now_s)

    def _on_source_commit(self, event: protocol.SourceCommit, now_s: float) -> list[Action]:
        name = self._segments.name(event.segment_id)
        closed = self._segments.closed(name)
        is_nothing = closed is None and event.text is None and self._segments.named(name) is None
        if is_nothing and event.segment_id is not None:
            raise ProtocolError("unknown_segment", f"no segment {name!r} is open", "segment_id")
        if closed is not None and not closed.repeats_commit(event.rev, event.text):
            raise over(name)
        if closed is not None or is_nothing:
            self.counters.repeated_commits += 1
            return []
        segment = self._open_segment(event.segment_id, now_s, event.speaker)
        if event.text is not None:
            segment.stable, segment.unstable = event.text, ""
        segment.rev = max(segment.rev, event.rev or 0, 0)
        return self._commit(segment, now_s)

    def _on_source_cancel(self, event: protocol.SourceCancel, now_s: float) -> list[Action]:
        name = self._segments.name(event.segment_id)
        wanted = self._segments.of_name(name)
        if not wanted:
            raise ProtocolError("unknown_segment", f"no segment {name!r} is open", "segment_id")
        actions: list[Action] = []
        for segment in wanted:
            self._segments.close(segment)
            actions += self._translations.withdraw(segment)
            if not segment.is_committed:
                actions += self._told(source_final_of(segment, self.settings.source, ""))
        # Finals may have been held up by some that will not come now.
        return actions + self._translations.all_finals(now_s)

    def _on_source_flush(self, event: protocol.SourceFlush, now_s: float) -> list[Action]:
        return self._commit_all(now_s)

    def _on_session_resume(self, event: protocol.SessionResume, now_s: float) -> list[Action]:
        raise ProtocolError(
            "session_expired", "the session no longer exists; continue with the new one"
        )

    def _on_session_close(self, event: protocol.SessionClose, now_s: float) -> list[Action]:
        return self._begin_close("client", protocol.CLOSE_DONE, now_s)

    _handlers: dict[type, Callable[..., list[Action]]] = {
        protocol.SessionUpdate: _on_session_update,
        protocol.SourceUpdate: _on_source_update,
        protocol.SourceAppend: _on_source_append,
        protocol.SourceCommit: _on_source_commit,
        protocol.SourceCancel: _on_source_cancel,
        protocol.SourceFlush: _on_source_flush,
        protocol.SessionResume: _on_session_resume,
        protocol.SessionClose: _on_session_close,
    }

    @property
    def worth(self) -> int:
        """What would be lost with it. 2: text without finals, 1: text that has them, 0: none."""
        return 2 if len(self._segments) else int(self._source_chars > 0)

    # ---- segments ----

    def _open_segment(self, client_id: str | None, now_s: float, speaker: str | None) -> Segment:
        if not self.settings.targets and self.settings.room is None:
            raise ProtocolError(
                "invalid_event", "no target language is set; send session.update first", "type"
            )
        segment = self._segments.open(client_id, now_s)
        segment.speaker = speaker or segment.speaker
        return segment

    def _updated(self, segment: Segment, now_s: float) -> list[Action]:
        """A segment has changed: translate it, or leave it for later if there are too many."""
        segment.arrival_s = now_s - self._translations.waited_s
        if not self._segments.check_length(segment):
            return []
        told = self._told(source_delta_of(segment, self.settings.source))
        if self.pacing.admit(now_s):
            self._translations.revise(segment)
            return told
        self.counters.coalesced += 1
        segment.is_dirty = True
        notice = self.pacing.notice(now_s)
        return told if notice is None else [*told, Send(notice)]

    def _told(self, event: protocol.SourceDelta | protocol.SourceFinal) -> list[Action]:
        """Tell the room what was said; the speaker needs no echo."""
        return [] if self.settings.room is None else [Send(event)]

    def _cut(self, segment: Segment, now_s: float) -> list[Action]:
        """Force a boundary in a segment that is too long; the rest becomes a segment of its own."""
        rest = self._segments.cut(segment, now_s, self._is_spent)
        if rest is None:
            return []
        message = (
            f"segment {segment.segment_id!r} is longer than {self._limits.segment_chars} "
            f"characters: it is cut and goes on as {rest.segment_id!r}"
        )
        notice = protocol.SessionNotice(
            "segment_cut",
            message,
            segment_id=segment.segment_id,
            next_segment_id=rest.segment_id,
        )
        told = Send(notice)
        actions = [told, *self._commit_whole(segment, now_s)]
        if rest.is_ending:
            return actions + self._commit(rest, now_s)
        return actions + self._updated(rest, now_s)

    def _next_long(self) -> Segment | None:
        """Return a segment to cut a part from now; text waits as text rather than as jobs."""
        return self._segments.next_long() if self.backlog < MAX_BACKLOG else None

    def _idle_s(self) -> float:
        """Return when the client will have been silent for too long."""
        is_heard = not (self.is_closing or self.is_full)
        return self._last_frame_s + self._limits.idle_s if is_heard else float("inf")

    def _commit(self, segment: Segment, now_s: float) -> list[Action]:
        """The source of a segment is complete; if it is too long it is cut first, tick by tick."""
        if self._segments.check_length(segment):
            return self._commit_whole(segment, now_s)
        segment.is_ending = True
        self._segments.touch(segment)
        return []

    def _commit_whole(self, segment: Segment, now_s: float) -> list[Action]:
        segment.committed_s = segment.arrival_s = now_s - self._translations.waited_s
        self._source_chars += len(segment.text)
        self._segments.close(segment)
        self._translations.commit(segment)
        return self._told(source_final_of(segment, self.settings.source, segment.text))

    def _commit_all(self, now_s: float) -> list[Action]:
        waiting = [segment for segment in self._segments if not segment.is_committed]
        return [action for segment in waiting for action in self._commit(segment, now_s)]

    # ---- what goes out ----

    def _error(self, exc: ProtocolError) -> Send:
        self.counters.errors += 1
        return Send(protocol.error_event(exc))

    def _begin_close(self, reason: str, code: int, now_s: float) -> list[Action]:
        actions = self._commit_all(now_s)
        self.is_closing = True
        self._close = Close(code, reason)
        return self._go_on(actions, now_s)

    def _go_on(self, actions: list[Action], now_s: float) -> list[Action]:
        """After other actions, hand some pieces of text to the translations."""
        return self._finish(actions + self._translations.take(now_s), now_s)

    def _finish(self, actions: list[Action], now_s: float) -> list[Action]:
        """After other actions, end the session if nothing is open."""
        if self._close is None or len(self._segments):
            return actions
        close, self._close = self._close, None
        usage = protocol.Usage(
            self._source_chars, self._translations.num_tokens, round(now_s - self._started_s, 3)
        )
        return [*actions, Send(protocol.SessionClosed(close.reason, usage)), close]
