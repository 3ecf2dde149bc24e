"""What the server may not know yet: open text, commits without finals, and withdrawals.

Decides what to send, and whether an answer is new; opens no socket and reads no clock. After a lost
connection all of it is sent again, to the same session or to a new one. That does no harm: a
segment is named by its id, and a server ignores what it already knows.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tokenspeed_client.events import (
    ClientEvent,
    Error,
    ErrorInfo,
    Ping,
    Pong,
    SessionSnapshot,
    SnapshotSegment,
    SourceCancel,
    SourceCommit,
    SourceUpdate,
    TranslationDelta,
    TranslationFinal,
    TranslationRetracted,
)
from tokenspeed_client.wire import Received

MAX_FINALS: Final = 1_000  # more than a server repeats
MAX_SAID: Final = 32  # finished commits that a room may not have heard


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text of an open segment.

    Attributes:
        stable: text that will not be rewritten.
        unstable: text after it that may be.
        start_ms: when it begins, on the caller's clock.
        end_ms: when it ends.
        speaker: who says it.
    """

    stable: str = ""
    unstable: str = ""
    start_ms: float | None = None
    end_ms: float | None = None
    speaker: str | None = None


@dataclass(slots=True)
class _Open:
    text: SourceText = SourceText()
    rev: int = 0
    sent_rev: int = 0
    is_refused: bool = False


@dataclass(slots=True)
class _Commit:
    """A segment that waits for finals.

    Attributes:
        waiting: how many characters have no final yet, by target. Empty for a speaker in a room
            who shows no translation: no finals come, so the answer to a later `ping` is awaited.
        ping: the one sent after it, on the present connection.
    """

    message: SourceCommit
    waiting: dict[str, int]
    is_refused: bool = False
    ping: str | None = None


@dataclass(slots=True)
class Pending:
    """Text that the server may not have yet."""

    _open: dict[str, _Open] = field(default_factory=dict)
    _commits: dict[str, _Commit] = field(default_factory=dict)
    _cancels: dict[str, SourceCancel] = field(default_factory=dict)  # until the server knows
    _finals: dict[tuple[str, str], None] = field(default_factory=dict)  # the newest ones
    _said: dict[str, SourceCommit] = field(default_factory=dict)  # the newest finished ones
    _num_events: int = 0

    @property
    def open_ids(self) -> Sequence[str]:
        """The open segments, the newest last."""
        return tuple(self._open)

    @property
    def num_commits(self) -> int:
        """How many segments wait for finals."""
        return len(self._commits)

    def update(self, segment_id: str, text: SourceText) -> None:
        """Note the text of a segment as it is now."""
        was = self._open.setdefault(segment_id, _Open())
        was.text, was.rev = text, was.rev + 1

    def text_of(self, segment_id: str) -> SourceText:
        """Return the text of an open segment, empty if it is not known."""
        return self._open[segment_id].text if segment_id in self._open else SourceText()

    def updates(self) -> list[ClientEvent]:
        """Take the open texts that have changed since they were last taken."""
        return [
            self._message_of(segment_id, open_)
            for segment_id, open_ in self._open.items()
            if open_.sent_rev != open_.rev
        ]

    @property
    def has_update(self) -> bool:
        """Whether `updates` has any."""
        return any(open_.sent_rev != open_.rev for open_ in self._open.values())

    def commit(
        self, segment_id: str, text: str | None, targets: Iterable[str], speaker: str | None
    ) -> ClientEvent:
        """End a segment; it is kept until all its finals have come.

        Args:
            text: of the whole segment; None for the text of the last update.
            targets: whose finals it waits for.
        Raises:
            ValueError: the segment is not known and no text was given.
        """
        if text is None and segment_id not in self._open:
            raise ValueError(f"segment {segment_id!r} has no text to commit")
        was = self._open.pop(segment_id, _Open())
        whole = was.text.stable + was.text.unstable if text is None else text
        message = SourceCommit(
            segment_id,
            was.rev + 1,
            whole,
            speaker or was.text.speaker,
            event_id=self.next_id("commit"),
        )
        waiting = {target: len(whole) for target in targets}
        self._commits[segment_id] = _Commit(message, waiting)
        return message

    @property
    def wants_ping(self) -> bool:
        """Whether a commit needs the answer to a `ping` to be known as arrived."""
        return any(not c.waiting and c.ping is None for c in self._commits.values())

    def ping(self) -> Ping:
        """Ask for an answer: servers handle messages in order, so it confirms all earlier ones."""
        message = Ping(self.next_id("ping"))
        for commit in self._commits.values():
            if not commit.waiting and commit.ping is None and not commit.is_refused:
                commit.ping = message.id
        return message

    def cancel(self, segment_id: str) -> ClientEvent | None:
        """Withdraw a segment; None if no server has heard of it."""
        was = self._open.pop(segment_id, None)
        is_committed = self._commits.pop(segment_id, None) is not None
        if not (is_committed or (was is not None and was.sent_rev > 0)):
            return None
        message = SourceCancel(segment_id, event_id=self.next_id("cancel"))
        self._cancels[segment_id] = message
        return message

    def take(self, event: Received) -> Received | None:
        """Note what the server says.

        Returns:
            The event as far as it is new: nothing of a translation that already has its final,
            which a new session repeats, or of a segment that was withdrawn.
        """
        match event:
            case SessionSnapshot():
                wanted = tuple(found for found in event.segments if self._is_wanted(found))
                return replace(event, segments=wanted)
            case TranslationDelta() if not self._is_wanted(event):
                return None
            case TranslationFinal():
                if not self._is_wanted(event):
                    return None
                self._finish(event)
            case TranslationRetracted():
                self._cancels.pop(self._name_of(event.segment_id), None)
            case Pong():
                self._answered(event.id)
            case Error() if not self._refuse(event.error):
                return None
        return event

    def keep_targets(self, targets: Collection[str]) -> None:
        """Stop waiting for the finals of other targets."""
        for commit in self._commits.values():
            commit.waiting = {t: left for t, left in commit.waiting.items() if t in targets}

    @property
    def has_refused(self) -> bool:
        """Whether to send `refused()` again after a while."""
        is_open_refused = any(open_.is_refused for open_ in self._open.values())
        return is_open_refused or any(commit.is_refused for commit in self._commits.values())

    def refused(self) -> list[ClientEvent]:
        """Take the refused commits and the open texts."""
        return self._again([c for c in self._commits.values() if c.is_refused])

    def said(self) -> list[ClientEvent]:
        """Return the newest commits that have their finals, oldest first.

        A session that could not be resumed may have ended with its replica, before the room heard
        what the client did. A room ignores what it knows.
        """
        return list(self._said.values())

    def begin_room(self) -> None:
        """Forget what was said in an earlier room."""
        self._said.clear()

    def begin_session(self) -> None:
        """Forget what a new session need not be told: withdrawals from an earlier one."""
        self._cancels.clear()

    def begin_line(self) -> None:
        """Forget the pings of an earlier connection: their answers no longer come."""
        for commit in self._commits.values():
            commit.ping = None

    def everything(self) -> list[ClientEvent]:
        """Take everything that the server may not have received, oldest first."""
        return [*self._cancels.values(), *self._again(list(self._commits.values()))]

    def open_again(self) -> list[ClientEvent]:
        """Take the open texts, in revisions that no server has seen."""
        return self._again([])

    def _again(self, commits: Iterable[_Commit]) -> list[ClientEvent]:
        messages: list[ClientEvent] = []
        for commit in commits:
            commit.is_refused = False
            messages.append(commit.message)
        for open_ in self._open.values():
            open_.rev += 1
            open_.is_refused = False
        return messages + self.updates()

    def _message_of(self, segment_id: str, open_: _Open) -> ClientEvent:
        open_.sent_rev = open_.rev
        text = open_.text
        return SourceUpdate(
            open_.rev,
            text.stable,
            text.unstable,
            segment_id,
            text.start_ms,
            text.end_ms,
            text.speaker,
            event_id=self.next_id("update"),
        )

    def next_id(self, prefix: str) -> str:
        """Return a name for a message."""
        self._num_events += 1
        return f"{prefix}-{self._num_events}"

    def _is_wanted(self, event: SnapshotSegment | TranslationDelta | TranslationFinal) -> bool:
        is_cancelled = self._name_of(event.segment_id) in self._cancels
        return not is_cancelled and (event.segment_id, event.target) not in self._finals

    def _finish(self, event: TranslationFinal) -> None:
        self._finals[event.segment_id, event.target] = None
        if len(self._finals) > MAX_FINALS:
            del self._finals[next(iter(self._finals))]
        name = self._name_of(event.segment_id)
        commit = self._commits.get(name)
        if commit is None:
            return
        left = commit.waiting.pop(event.target, 0) - len(event.source_text)
        if left > 0:
            commit.waiting[event.target] = left
        if not commit.waiting:
            self._end(name)

    def _end(self, name: str) -> None:
        self._said.pop(name, None)
        self._said[name] = self._commits.pop(name).message
        if len(self._said) > MAX_SAID:
            del self._said[next(iter(self._said))]

    def _answered(self, ping: str | None) -> None:
        for segment_id, commit in list(self._commits.items()):
            if commit.ping is not None and commit.ping == ping and not commit.is_refused:
                self._end(segment_id)

    def _name_of(self, segment_id: str) -> str:
        """Return the caller's name of a segment; a server cuts long ones into s1, s1~2, ..."""
        held = (self._commits, self._cancels, self._open)
        is_ours = any(segment_id in each for each in held)
        return segment_id if is_ours else re.sub(r"~\d+$", "", segment_id)

    def _refuse(self, error: ErrorInfo) -> bool:
        """Note a message that the server refused; return whether that is new.

        Text that it had no room for is kept; a commit that it will never accept is forgotten. A
        segment that it does not know need not be withdrawn.
        """
        if error.event_id is None:
            return True
        if error.event_id.startswith("cancel-"):
            for segment_id, cancel in list(self._cancels.items()):
                if cancel.event_id == error.event_id:
                    del self._cancels[segment_id]
            return False  # it was sent twice, and refused the second time
        for segment_id, commit in list(self._commits.items()):
            if commit.message.event_id == error.event_id:
                if error.retryable:
                    commit.is_refused = True
                else:
                    del self._commits[segment_id]
                return True
        if error.retryable:
            for open_ in self._open.values():
                open_.is_refused = True
        return True
