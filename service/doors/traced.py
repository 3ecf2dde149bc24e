"""Spans of HTTP requests, of sessions and of caption updates.

Imported where traces are wanted, and nowhere else. A path is named as the table of routes has it,
and neither a query nor an address is noted: they hold tokens, rooms and texts.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import QueryParams
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.captions.job import FollowJob, Job, Outcome
from service.captions.session import Session
from service.doors.guard import WATCHERS
from service.doors.record import Record
from service.doors.state import AppState
from service.driver import StartJob
from service.errors import TranslationFailed
from service.tracing import Tracing, caller
from service.wire import protocol
from tokenspeed.engine.engine import Cancellable

PARENT: Final = "traceparent"  # header of W3C's trace context
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class TracedApp:
    """Wraps the application: each request and each socket is a span, in the client's trace.

    Args:
        app: what answers.
        tracing: makes the spans.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one socket; probes are not traced."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in WATCHERS:
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        if scope["type"] == "websocket" and PARENT not in headers:
            # A browser sends no headers of a page's choice with a socket.
            asked = QueryParams(scope["query_string"]).get(PARENT)
            headers |= {} if asked is None else {PARENT: asked}
        method = scope.get("method", "GET")
        if method not in METHODS:
            method = "_OTHER"  # clients may invent any number of others
        span = self._tracing.tracer.start_span(
            method,
            caller(headers),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "network.protocol.name": scope["type"],
                "network.protocol.version": scope.get("http_version", "1.1"),
            },
        )

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                _note_status(span, message["status"])
            elif message["type"] == "websocket.close":
                span.set_attribute("tokenspeed.close_code", message.get("code", 1000))
            await send(message)

        # Neither the exception's text nor its traceback: they may contain a user's text.
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                await self._app(scope, receive, send_noted)
            except Exception as exc:
                span.set_attribute("error.type", type(exc).__name__)
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                route = scope.get("route")
                if isinstance(route, Route | WebSocketRoute):
                    span.update_name(f"{method} {route.path}")
                    span.set_attribute("http.route", route.path)
                span.end()


def _note_status(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


@dataclass(slots=True)
class _Update:
    """A revision on its way: from its arrival to the last change that it made.

    Attributes:
        num_jobs: its jobs under way. num_begun: all its jobs so far.
        changed_s: when the client was last told something of it.
    """

    span: Span
    below: Context  # the parent of its requests
    num_jobs: int = 0
    num_begun: int = 0
    changed_s: float = 0.0


class TracedRecord(Record):
    """Records spans as well.

    A revision is one span, with a job for each piece and language, or two through English. A long
    text may take several: a span ends once none of its jobs is under way.

    Args:
        state: has the metrics and the admission.
        session: that it is about.
        tracing: makes the spans.
    """

    def __init__(self, state: AppState, session: Session, tracing: Tracing) -> None:
        super().__init__(state, session)
        self._tracing = tracing
        self._updates: dict[tuple[str, int], _Update] = {}  # by segment and revision
        self._line: Context = contexts.get_current()

    def line_began(self) -> None:
        """What follows belongs to the span of a connection."""
        super().line_began()
        self._line = contexts.get_current()

    def began(self) -> None:
        """The session has a connection, and may speak."""
        super().began()
        trace.get_current_span(self._line).set_attribute("tokenspeed.session", self._session.id)

    def line_ended(self, code: int, seconds: float) -> None:
        """A line ended; nothing more will be told of what was under way."""
        super().line_ended(code, seconds)
        trace.get_current_span(self._line).set_attribute("tokenspeed.close_code", code)
        for key in list(self._updates):
            self._end(key, "lost")

    def starting(self, start: StartJob) -> StartJob:
        """Return what starts a job below the span of its revision."""

        def traced(job: Job, follow: FollowJob) -> Cancellable:
            token = contexts.attach(self._updates[_key(job)].below)
            try:
                return start(job, follow)
            finally:
                contexts.detach(token)

        return traced

    def job_started(self, job: Job) -> None:
        """A job of a revision starts; the span of the first begins when the revision arrived."""
        super().job_started(job)
        update = self._updates.get(_key(job))
        if update is None:
            span = self._tracing.tracer.start_span(
                "caption.update",
                self._line,
                attributes={
                    "tokenspeed.session": self._session.id,
                    "tokenspeed.rev": job.rev,
                    "tokenspeed.source": job.source_language or "auto",
                    "tokenspeed.is_final": job.is_final,
                },
                start_time=self._tracing.wall_ns(job.arrival_s),
            )
            update = _Update(span, trace.set_span_in_context(span, self._line))
            self._updates[_key(job)] = update
        update.num_jobs += 1
        update.num_begun += 1

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """A job of a revision has ended."""
        super().job_ended(job, outcome)
        self._job_over(job, "done" if outcome.is_current else "superseded")

    def job_failed(self, job: Job, problem: TranslationFailed) -> None:
        """A job of a revision could not be run."""
        super().job_failed(job, problem)
        update = self._updates.get(_key(job))
        if update is not None:
            update.span.set_attribute("error.type", problem.code)
            update.span.set_status(StatusCode.ERROR)
        self._job_over(job, "failed")

    def told(self, event: protocol.ServerEvent) -> None:
        """An event is on its way: perhaps the last change that a revision made."""
        super().told(event)
        if isinstance(event, protocol.TranslationDelta) and (event.append or event.unstable):
            update = self._updates.get((event.segment_id, event.source_rev))
            if update is not None:
                update.changed_s = self._state.now_s()

    def _job_over(self, job: Job, ending: str) -> None:
        update = self._updates.get(_key(job))
        if update is None:
            return
        update.num_jobs -= 1
        if not update.num_jobs:
            # Its last events, and a second pass, follow in this same turn of the event loop.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._end_if_over, _key(job), update, ending)

    def _end_if_over(self, key: tuple[str, int], update: _Update, ending: str) -> None:
        if self._updates.get(key) is update and not update.num_jobs:
            self._end(key, ending)

    def _end(self, key: tuple[str, int], ending: str) -> None:
        update = self._updates.pop(key)
        update.span.set_attributes(
            {"tokenspeed.ending": ending, "tokenspeed.jobs": update.num_begun}
        )
        at_s = update.changed_s or self._state.now_s()
        update.span.end(self._tracing.wall_ns(at_s))


def _key(job: Job) -> tuple[str, int]:
    return job.key.segment_id, job.rev
