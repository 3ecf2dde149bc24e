"""One session over lines that come and go: what to say, what to tell the caller, when to try again.

All decisions of `client.py`, as values: it opens no socket, reads no clock and starts no task; time
is an argument, in seconds. A lost line is recovered in one way: ask for the session that was there;
where the server has forgotten it, go on with the new one. In both cases say all of `pending.py`
again.
"""

import random
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Literal

from tokenspeed_client.backoff import next_delay_s
from tokenspeed_client.events import (
    CLOSE_REASONS,
    IDLE_CODE,
    RETRYABLE_CODES,
    SUPERSEDED_CODE,
    UNAUTHENTICATED_CODE,
    ClientEvent,
    Error,
    Formality,
    GlossaryEntry,
    Mode,
    Ping,
    Pong,
    SessionClose,
    SessionClosed,
    SessionCreated,
    SessionParams,
    SessionResume,
    SessionResumed,
    SessionUpdate,
    SourceParams,
    Stability,
    TargetParams,
)
from tokenspeed_client.pending import Pending, SourceText
from tokenspeed_client.wire import Received

STABLE_AFTER_S: Final = 10.0  # a connection that lived this long resets the backoff
RESEND_S: Final = 0.3  # after the server had no room for a text
LOST_CODE: Final = 1006  # of a line that ended without a close
LATE_S: Final = 60.0  # that a server may take to hear what was asked on a line given up meanwhile
# With these a server says that it does not know the session that it was asked for.
FORGOTTEN: Final = ("session_expired", "unauthorized")

State = Literal["connecting", "open", "waiting", "idle", "closed"]


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The line has changed; made here, never sent by a server.

    Attributes:
        state: `waiting` is offline and tries again by itself; `idle` means that the server let go
            of a silent session, and the next text wakes it; `closed` is over.
        attempt: tries in a row that have failed.
        retry_in_s: until the next try, where one is planned.
        code: of the WebSocket's close, 0 where none was closed.
        reason: why, in English.
    """

    type: ClassVar[str] = "connection"
    state: State
    attempt: int = 0
    retry_in_s: float = 0.0
    code: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """How long a `ping` took there and back."""

    type: ClassVar[str] = "round_trip"
    seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session is to do.

    Attributes:
        source: language of the text; with `auto` the server finds it out.
        targets: languages to translate into.
        formality: by target, how whoever is spoken to is addressed.
        room: id of the room where readers follow what is said.
        host_token: of that room.
        source_id: of an earlier session there, to say segments of it again by the same names;
            else one is drawn, and readers would see them twice.
    """

    source: str = "auto"
    targets: tuple[str, ...] = ()
    mode: Mode = "captions"
    stability: Stability = "balanced"
    formality: Mapping[str, Formality] = field(default_factory=dict)
    glossary: tuple[GlossaryEntry, ...] | None = None
    do_not_translate: tuple[str, ...] | None = None
    room: str | None = None
    host_token: str | None = None
    source_id: str | None = None

    def message(self) -> SessionUpdate:
        """Return what tells a server."""
        targets = tuple(TargetParams(code, self.formality.get(code)) for code in self.targets)
        params = SessionParams(
            source=SourceParams(self.source),
            targets=targets,
            mode=self.mode,
            stability=self.stability,
            glossary=self.glossary,
            do_not_translate=self.do_not_translate,
            partials=True,
            timing=True,
            room=self.room,
            source_id=None if self.room is None else self.source_id,
        )
        return SessionUpdate(params, self.host_token)


SessionEvent = Received | ConnectionChanged | RoundTrip


class Dialogue:
    """The client's side of one session.

    Args:
        settings: to begin with.
        min_update_interval_s: updates are thinned to one in this time; the newest wins.
        ping_interval_s: between questions whether the server is there.
        may_ask_again: whether fresh credentials can be had when the first are refused.
        draw: returns a number in [0, 1), for the backoff.

    Attributes:
        state: of the connection.
        settings: as they are wanted now.
        events: for the caller, oldest first; whoever reads them removes them.
        pending: text on its way.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        min_update_interval_s: float = 0.1,
        ping_interval_s: float = 5.0,
        may_ask_again: bool = False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.state: State = "connecting"
        self.settings = settings
        # An earlier session may have begun to count as well.
        self._names = "" if settings.source_id is None else f"{secrets.token_hex(4)}-"
        if settings.source_id is None:
            self.settings = replace(settings, source_id=secrets.token_urlsafe(18))
        self.events: deque[SessionEvent] = deque()
        self.pending = Pending()
        self._min_update_interval_s = min_update_interval_s
        self._ping_interval_s = ping_interval_s
        self._may_ask_again = may_ask_again
        self._draw = draw
        self._outgoing: deque[ClientEvent] = deque()
        self._resume: SessionResume | None = None
        self._greeting: SessionCreated | None = None  # of the session to go on with otherwise
        self._attempt = 0
        self._retry_delay_s = 0.0
        self._retry_at_s: float | None = None
        self._opened_s: float | None = None
        self._heard_s = 0.0
        self._updated_s = -1e9
        self._resend_at_s: float | None = None
        self._ping_at_s: float | None = None
        self._ping: tuple[str | None, float] | None = None  # that was not answered yet
        self._num_refusals = 0  # of credentials, in a row
        self._is_asking = False  # for the session that was there, without an answer yet
        self._unanswered_s: list[float] = []  # when lines were given up on which it was asked for
        self._is_closing = False
        self._is_close_sent = False
        self._num_names = 0
        self._current: str | None = None  # the segment that the caller did not name

    # ---- what the caller wants ----

    def segment_id(self, given: str | None) -> str:
        """Return the segment that is meant: the given one, or the one that is open."""
        if given is not None:
            return given
        if self._current is None:
            self._num_names += 1
            self._current = f"{self._names}{self._num_names}"
        return self._current

    def configure(self, settings: Settings) -> None:
        """Change the settings while the session runs."""
        self.settings = settings
        self.pending.keep_targets(settings.targets)
        if self.state == "open":
            self._outgoing.append(settings.message())
            # A server that refused the languages before does not know the text.
            self._outgoing.extend(self.pending.open_again())

    def update(self, text: SourceText, segment_id: str | None = None) -> None:
        """Take what a segment reads now."""
        self.pending.update(self.segment_id(segment_id), text)
        self._wake()

    def append(self, text: str, segment_id: str | None = None, speaker: str | None = None) -> None:
        """Take more text at the end of a segment."""
        name = self.segment_id(segment_id)
        was = self.pending.text_of(name)
        stable = was.stable + was.unstable + text
        self.update(replace(was, stable=stable, unstable="", speaker=speaker or was.speaker), name)

    def commit(
        self, text: str | None = None, segment_id: str | None = None, speaker: str | None = None
    ) -> str:
        """End a segment; return its name.

        Raises:
            ValueError: nothing is known of it and no text was given.
        """
        name = self.segment_id(segment_id)
        message = self.pending.commit(name, text, self.settings.targets, speaker)
        if name == self._current:
            self._current = None
        self._wake()
        self._say(message)
        return name

    def cancel(self, segment_id: str | None = None) -> None:
        """Withdraw a segment."""
        name = self.segment_id(segment_id)
        if name == self._current:
            self._current = None
        message = self.pending.cancel(name)
        if message is not None:
            self._say(message)

    def flush(self) -> None:
        """Commit all that is open."""
        for name in self.pending.open_ids:
            self.commit(segment_id=name)

    def close(self) -> None:
        """End the session once all finals are there."""
        self.flush()
        self._is_closing = True
        if self.state != "open" and not self.pending.num_commits:
            self.finish(1000, "closed")

    def finish(self, code: int, reason: str) -> None:
        """End it now."""
        if self.state != "closed":
            self._forget_line()
            self._tell(ConnectionChanged("closed", self._attempt, 0.0, code, reason))

    # ---- what the line does ----

    @property
    def is_resuming(self) -> bool:
        """Whether an older session is asked for; its own token is the credential then."""
        return self._resume is not None

    def dialling(self) -> None:
        """The line is being opened."""
        self._retry_at_s = None
        self._tell(ConnectionChanged("connecting", self._attempt))

    def connected(self, now_s: float) -> None:
        """The line is open; nothing was said yet."""
        self._greeting = None
        self._heard_s = now_s
        # Always a first word: a server without a place for another session waits for it, to hear
        # whether an older one is asked for.
        self._outgoing.append(self._resume or Ping())
        self._is_asking = self._resume is not None

    def received(self, event: Received, now_s: float) -> bool:
        """Take an event of the server; return whether the line must be opened anew, at once."""
        self._heard_s = now_s
        if self.state == "open":
            self._take(event, now_s)
            return False
        match event:
            case SessionResumed():
                self._begin(event, now_s)
            case SessionCreated():
                self._greeting = event
                if self._resume is None:
                    self._begin_new(event, now_s)
            case Error() if self._resume is not None and event.error.code in FORGOTTEN:
                self._resume = None
                self._is_asking = False
                if self._greeting is None:
                    return True  # such a server wants credentials before it gives a new session
                self._begin_new(self._greeting, now_s)
                self._count(event)
            case _:
                self.events.append(event)
        return False

    def lost(self, code: int, reason: str, now_s: float) -> None:
        """The line is gone: decide between another try, rest, and the end."""
        if self.state == "closed":
            return
        opened_s = self._opened_s
        if self._is_asking and code == LOST_CODE:
            self._unanswered_s.append(now_s)
        self._forget_line()
        reason = reason or CLOSE_REASONS.get(code, f"closed with code {code}")
        if code == UNAUTHENTICATED_CODE and self._may_ask_again and not self._num_refusals:
            self._num_refusals += 1
            self._retry(code, reason, opened_s, now_s)
        elif self._is_closing and not self.pending.num_commits:
            self.finish(code, reason)
        elif code == IDLE_CODE and not self._is_closing:
            self._tell(ConnectionChanged("idle", self._attempt, 0.0, code, reason))
        elif code in RETRYABLE_CODES or (code == SUPERSEDED_CODE and self._was_us(now_s)):
            self._retry(code, reason, opened_s, now_s)
        else:
            self.finish(code, reason)

    def _was_us(self, now_s: float) -> bool:
        """Whether it may be a line of our own, given up since, on which the session went on.

        A slow server hears late of what was asked there. Each such line excuses one end, so that
        two clients with one session do not take it from each other for ever.
        """
        self._unanswered_s = [each for each in self._unanswered_s if now_s - each < LATE_S]
        if self._unanswered_s:
            self._unanswered_s.pop(0)
            return True
        return False

    @property
    def retry_at_s(self) -> float | None:
        """When to open the line again; None: not before something happens."""
        return self._retry_at_s

    def messages(self, now_s: float) -> Sequence[ClientEvent]:
        """Take what is to be said now."""
        if self.state == "open":
            self._add_due(now_s)
        found = tuple(self._outgoing)
        self._outgoing.clear()
        return found

    def is_silent(self, now_s: float) -> bool:
        """Whether the server has not answered for too long."""
        return self._silent_at_s is not None and self._silent_at_s <= now_s

    @property
    def _silent_at_s(self) -> float | None:
        if self._ping is None or self._heard_s > self._ping[1]:
            return None
        return self._ping[1] + self._ping_interval_s

    def next_s(self) -> float:
        """When `messages` may have something by itself, or the server may have gone silent."""
        if self.state != "open":
            return float("inf")
        at_s = (self._ping_at_s, self._resend_at_s, self._silent_at_s)
        due = [each for each in at_s if each is not None]
        if self.pending.has_update:
            due.append(self._updated_s + self._min_update_interval_s)
        return min(due, default=float("inf"))

    # ---- inside ----

    def _tell(self, event: ConnectionChanged) -> None:
        self.state = event.state
        self.events.append(event)

    def _say(self, message: ClientEvent) -> None:
        """Say it now, where there is a session; what is said after a lost line is `pending`'s."""
        if self.state == "open":
            self._outgoing.append(message)

    def _wake(self) -> None:
        if self.state == "idle":
            self._retry_at_s = 0.0

    def _forget_line(self) -> None:
        self._outgoing.clear()
        self._ping = self._ping_at_s = self._resend_at_s = None
        self._opened_s = None
        self._is_asking = self._is_close_sent = False

    def _retry(self, code: int, reason: str, opened_s: float | None, now_s: float) -> None:
        if opened_s is not None and now_s - opened_s > STABLE_AFTER_S:
            self._attempt, self._retry_delay_s = 0, 0.0
        self._attempt += 1
        self._retry_delay_s = next_delay_s(self._retry_delay_s, self._draw)
        self._retry_at_s = now_s + self._retry_delay_s
        self._tell(ConnectionChanged("waiting", self._attempt, self._retry_delay_s, code, reason))

    def _begin_new(self, event: SessionCreated, now_s: float) -> None:
        told = event.session
        self._resume = (
            None
            if told.resume_token is None
            else SessionResume(told.id, told.resume_token, 0, told.epoch)
        )
        self.pending.begin_session()
        self._begin(event, now_s)

    def _begin(self, event: SessionCreated | SessionResumed, now_s: float) -> None:
        """The session is there: say what is wanted, then what it does not know yet."""
        self._outgoing.clear()
        self._is_asking = False
        self.pending.begin_line()
        self._take(event, now_s)
        self._opened_s = self._ping_at_s = now_s
        self._num_refusals = 0
        self._outgoing.append(self.settings.message())
        self._outgoing.extend(self.pending.everything())
        self._tell(ConnectionChanged("open", self._attempt))

    def _count(self, event: Received) -> None:
        """The event need not be sent again."""
        seq = getattr(event, "seq", None)
        if self._resume is not None and seq is not None:
            self._resume = replace(self._resume, last_seq=seq)

    def _take(self, event: Received, now_s: float) -> None:
        self._count(event)
        news = self.pending.take(event)
        if self.pending.has_refused and self._resend_at_s is None:
            self._resend_at_s = now_s + RESEND_S
        if isinstance(event, Pong):
            if self._ping is not None and event.id == self._ping[0]:
                self.events.append(RoundTrip(now_s - self._ping[1]))
                self._ping = None
        elif news is not None:
            self.events.append(news)
        if isinstance(event, SessionClosed) and self._is_closing:
            self.finish(1000, event.reason)

    def _add_due(self, now_s: float) -> None:
        if self._resend_at_s is not None and self._resend_at_s <= now_s:
            self._resend_at_s = None
            self._outgoing.extend(self.pending.refused())
        if self._updated_s + self._min_update_interval_s <= now_s:
            updates = self.pending.updates()
            if updates:
                self._updated_s = now_s
            self._outgoing.extend(updates)
        if self._ping_at_s is not None and self._ping_at_s <= now_s:
            self._ping_at_s = now_s + self._ping_interval_s
            if self._ping is None:
                self._send_ping(now_s)
        if not self._is_closing or self._is_close_sent:
            return
        if not self.pending.num_commits:
            self._is_close_sent = True
            self._outgoing.append(SessionClose())
        elif self._ping is None and self.pending.wants_ping:
            self._send_ping(now_s)

    def _send_ping(self, now_s: float) -> None:
        ping = self.pending.ping()
        self._ping = (ping.id, now_s)
        self._outgoing.append(ping)
