"""The rules by which the service keeps a session for a client, over lines that a test can cut."""

from dataclasses import dataclass, field, replace

from tokenspeed_client import events as e
from tokenspeed_client.wire import Received

LIMITS = e.LimitsInfo(1, 1, 1, 1.0)
STATS = e.FinalStats(1, 0, 1.0, 1.0)


def translate(text: str, target: str) -> str:
    """Grows at its end alone when the text does."""
    return f"{target}: {text.upper()}"


@dataclass
class ModelSession:
    """What the service knows of one session."""

    id: str
    epoch: str
    targets: tuple[str, ...] = ()
    open: dict[str, int] = field(default_factory=dict)  # newest rev
    appended: dict[tuple[str, str], str] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    committed: list[tuple[str, str]] = field(default_factory=list)
    log: list[Received] = field(default_factory=list)

    def created(self) -> None:
        info = e.SessionInfo(self.id, self.epoch, LIMITS, "m", (), f"token of {self.id}")
        self.tell(e.SessionCreated(info))

    def tell(self, event: e.ServerEvent) -> None:
        self.log.append(replace(event, seq=len(self.log) + 1))

    def refuse(self, code: e.ErrorCode, event_id: str | None = None) -> None:
        self.tell(e.Error(e.ErrorInfo("limit", code, code, None, event_id)))

    def take(self, event: e.ClientEvent) -> None:
        match event:
            case e.SessionUpdate(session=e.SessionParams(targets=wanted)):
                assert wanted is not None
                self.targets = tuple(target.language for target in wanted)
            case e.SourceUpdate(segment_id=str(name)):
                self._update(name, event)
            case e.SourceCommit(segment_id=str(name), text=str(text), rev=int(rev)):
                if name in self.closed:
                    return
                self.open.pop(name, None)
                self.closed[name] = rev
                self.committed.append((name, text))
                for target in self.targets:
                    said = translate(text, target)
                    self.tell(e.TranslationFinal(name, target, said, text, STATS))
            case e.SourceCancel(segment_id=str(name)):
                if self.open.pop(name, None) is None:
                    self.refuse("unknown_segment", event.event_id)
                    return
                self.closed[name] = 0
                for target in self.targets:
                    self.tell(e.TranslationRetracted(name, target))
            case e.Ping(id=asked):
                self.tell(e.Pong(0.0, asked))
            case e.SessionClose():
                self.tell(e.SessionClosed("client", e.Usage(0, 0, 0.0)))

    def _update(self, name: str, event: e.SourceUpdate) -> None:
        if name in self.closed or event.rev <= self.open.get(name, -1):
            return
        self.open[name] = event.rev
        for target in self.targets:
            after = translate(event.stable, target)
            before = self.appended.get((name, target), "")
            self.appended[name, target] = after
            self.tell(e.TranslationDelta(name, target, event.rev, after[len(before) :], ""))

    def snapshot(self) -> None:
        found = [
            e.SnapshotSegment(name, target, text)
            for (name, target), text in self.appended.items()
            if name in self.open
        ]
        self.tell(e.SessionSnapshot(tuple(found)))


@dataclass
class Line:
    """A connection: what is on its way, and what was given already."""

    session: ModelSession
    incoming: list[e.ClientEvent] = field(default_factory=list)
    first: list[Received] = field(default_factory=list)
    given: int = 0


class ModelServer:
    """Keeps sessions for clients that come back, until it is restarted.

    Args:
        max_replay: events that can be sent again.
    """

    def __init__(self, max_replay: int) -> None:
        self.max_replay = max_replay
        self.sessions: dict[str, ModelSession] = {}
        self.epoch = 1
        self.line: Line | None = None
        self._num_sessions = 0

    def connect(self) -> None:
        self._num_sessions += 1
        session = ModelSession(f"session {self._num_sessions}", str(self.epoch))
        session.created()
        self.sessions[session.id] = session
        self.line = Line(session)

    def restart(self) -> None:
        self.sessions.clear()
        self.epoch += 1
        self.line = None

    def take_one(self) -> bool:
        if self.line is None or not self.line.incoming:
            return False
        event = self.line.incoming.pop(0)
        if isinstance(event, e.SessionResume):
            self._resume(self.line, event)
        else:
            self.line.session.take(event)
        return True

    def next_event(self) -> Received | None:
        """Return the next event on its way to the client."""
        if self.line is None:
            return None
        if self.line.first:
            return self.line.first.pop(0)
        log = self.line.session.log
        if self.line.given >= len(log):
            return None
        self.line.given += 1
        return log[self.line.given - 1]

    def _resume(self, line: Line, event: e.SessionResume) -> None:
        older = self.sessions.get(event.session_id)
        if older is None or event.epoch != str(self.epoch):
            line.session.refuse("session_expired")
            return
        del self.sessions[line.session.id]
        missed = older.log[event.last_seq :]
        is_whole = len(missed) <= self.max_replay
        resumed = e.SessionResumed(is_whole, event.last_seq + 1, seq=event.last_seq)
        line.session, line.first, line.given = older, [resumed], event.last_seq
        if not is_whole:
            finals = [each for each in missed if isinstance(each, e.TranslationFinal)]
            line.first += [replace(each, seq=event.last_seq) for each in finals]
            line.given = len(older.log)
            older.snapshot()
