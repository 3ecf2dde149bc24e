"""One session over connections that come and go: what to send, what to report, when to reconnect.

All decisions of `client.py`, as values: it opens no socket, reads no clock and starts no task; time
is an argument, in seconds. A lost connection is recovered in one way: ask to resume the session; if
the server has forgotten it, continue with a new one. In both cases send all of `pending.py` again.
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
LATE_S: Final = 60.0  # for how long a server may still act on a connection that was given up
# Errors by which a server says that it does not know the session to resume.
FORGOTTEN: Final = ("session_expired", "unauthorized")

State = Literal["connecting", "open", "waiting", "idle", "closed"]


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The state of the connection has changed; made here, never sent by a server.

    Attributes:
        state: `waiting` is offline and reconnects by itself; `idle` means that the server closed a
            silent session, and the next text opens it again; `closed` is final.
        attempt: how many attempts in a row have failed.
        retry_in_s: until the next attempt, if one is planned.
        code: of the WebSocket's close, 0 if none was closed.
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
    """The round-trip time of a `ping`."""

    type: ClassVar[str] = "round_trip"
    seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session is asked for.

    Attributes:
        source: language of the text; with `auto` the server detects it.
        targets: languages to translate into.
        formality: form of address, by target.
        room: id of the room where readers follow what is said.
        host_token: of that room.
        source_id: of an earlier session there, if its segments are to be sent again under the same
            names; by default a new one is drawn, and readers would see them twice.
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
        """Return the message that tells a server."""
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
        settings: at the beginning.
        min_update_interval_s: between updates; of more the newest is sent.
        ping_interval_s: between pings, by which the server shows that it is there.
        may_ask_again: whether fresh credentials can be had when the first are refused.
        draw: returns a number in [0, 1), for the backoff.

    Attributes:
        state: of the connection.
        settings: the current ones.
        events: for the caller, oldest first; whoever reads them removes them.
        pending: what the server may not have yet.
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
        # Names are counted, and an earlier session with this id may have used the same numbers.
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
        self._greeting: SessionCreated | None = None  # if the old one cannot be resumed
        self._attempt = 0
        self._retry_delay_s = 0.0
        self._retry_at_s: float | None = None
        self._opened_s: float | None = None
        self._heard_s = 0.0
        self._updated_s = -1e9
        self._resend_at_s: float | None = None
        self._ping_at_s: float | None = None
        self._ping: tuple[str | None, float] | None = None  # not answered yet
        self._num_refusals = 0  # of credentials, in a row
        self._is_asking = False  # to resume, without an answer yet
        self._unanswered_s: list[float] = []  # when connections ended without an answer to that
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
        if settings.room != self.settings.room:
            self.pending.begin_room()
        self.settings = settings
        self.pending.keep_targets(settings.targets)
        if self.state == "open":
            self._outgoing.append(settings.message())
            # A server that refused the languages before does not know the text.
            self._outgoing.extend(self.pending.open_again())

    def update(self, text: SourceText, segment_id: str | None = None) -> None:
        """Take the text of a segment as it is now."""
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
            ValueError: the segment is not known and no text was given.
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
        """Commit all open segments."""
        for name in self.pending.open_ids:
            self.commit(segment_id=name)

    def close(self) -> None:
        """End the session once all finals have come."""
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
        """Whether to resume an earlier session; its own token is the credential then."""
        return self._resume is not None

    def dialling(self) -> None:
        """The connection is being opened."""
        self._retry_at_s = None
        self._tell(ConnectionChanged("connecting", self._attempt))

    def connected(self, now_s: float) -> None:
        """The connection is open; nothing has been sent yet."""
        self._greeting = None
        self._heard_s = now_s
        # Always send a first message: a server that has no place for another session waits for it,
        # as it may ask to resume an earlier one.
        self._outgoing.append(self._resume or Ping())
        self._is_asking = self._resume is not None

    def received(self, event: Received, now_s: float) -> bool:
        """Take an event of the server; return whether to reconnect at once."""
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
                if isinstance(event, Error):  # it has no place, and will not act on it later
                    self._is_asking = False
                self.events.append(event)
        return False

    def lost(self, code: int, reason: str, now_s: float) -> None:
        """The connection is lost: decide whether to reconnect, stay idle, or end."""
        if self.state == "closed":
            return
        opened_s = self._opened_s
        # Whatever the code: a proxy closes with one of its own, and a server may still get the
        # message. Who closes as superseded has acted on it already.
        if self._is_asking and code != SUPERSEDED_CODE:
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
        """Whether an earlier connection of our own may have taken the session from this one.

        A slow server may act late on a connection that was given up. Each of those excuses one
        takeover, so that two clients with one session do not take it from each other for ever.
        """
        self._unanswered_s = [each for each in self._unanswered_s if now_s - each < LATE_S]
        if self._unanswered_s:
            self._unanswered_s.pop(0)
            return True
        return False

    @property
    def retry_at_s(self) -> float | None:
        """When to reconnect; None: not before something happens."""
        return self._retry_at_s

    def messages(self, now_s: float) -> Sequence[ClientEvent]:
        """Take the messages to send now."""
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
        """When `messages` may have something without new input, or the server may be too silent."""
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
        """Send it now if there is a session; otherwise `pending` has it sent later."""
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
        # Nobody remembers the earlier session, and its room may lack the last of it.
        self._begin(event, now_s, [] if self.settings.room is None else self.pending.said())

    def _begin(
        self,
        event: SessionCreated | SessionResumed,
        now_s: float,
        again: Sequence[ClientEvent] = (),
    ) -> None:
        """There is a session: send the settings, then all that it may not know yet."""
        self._outgoing.clear()
        self._is_asking = False
        self.pending.begin_line()
        self._take(event, now_s)
        self._opened_s = self._ping_at_s = now_s
        self._num_refusals = 0
        self._outgoing.append(self.settings.message())
        self._outgoing.extend(again)
        self._outgoing.extend(self.pending.everything())
        self._tell(ConnectionChanged("open", self._attempt))

    def _count(self, event: Received) -> None:
        """Note that the event need not be sent again."""
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
