"""What is recorded of one session: for metrics, for admission, and in the log.

Decides nothing.
"""

import logging

from service.captions.job import Job, Outcome
from service.captions.session import Session
from service.doors.state import AppState
from service.errors import TranslationFailed
from service.logs import text_data
from service.wire import protocol

logger = logging.getLogger("service.session")


class Record:
    """Records what happens to a session.

    Args:
        state: has the metrics and the admission.
        session: the session.
    """

    def __init__(self, state: AppState, session: Session) -> None:
        self._state = state
        self._session = session

    def line_began(self) -> None:
        """A connection exists; whether its session may speak is not known yet."""

    def began(self) -> None:
        """The session has a connection, and may speak."""
        self._state.metrics.sessions.inc()
        self._state.admission.open(self._session.id, self._state.now_s())

    def stopped(self) -> None:
        """It has none any more."""
        self._state.metrics.sessions.dec()
        self._state.admission.close(self._session.id, self._state.now_s())

    def line_ended(self, code: int, seconds: float) -> None:
        """A connection ended with a close code, after so many seconds."""
        self._state.metrics.closed.labels(_code_label(code)).inc()
        data = {"session": self._session.id, "code": code, "seconds": round(seconds, 3)}
        logger.info("connection ended", extra={"data": data})

    def retired(self, coalesced_deltas: int) -> None:
        """Nobody will resume the session."""
        metrics, counters = self._state.metrics, self._session.counters
        metrics.stale.inc(counters.stale_revisions)
        metrics.coalesced.labels("revisions").inc(counters.coalesced)
        metrics.coalesced.labels("deltas").inc(coalesced_deltas)

    def told(self, event: protocol.ServerEvent) -> None:
        """An event is on its way to the client."""
        metrics = self._state.metrics
        if isinstance(event, protocol.Error):
            metrics.errors.labels(event.error.code).inc()
        if isinstance(event, protocol.TranslationFinal):
            metrics.count_faults(event.target, event.stats.faults, event.stats.untranslated)
            self._log_final(event)

    def read_too_slowly(self) -> None:
        """The client did not take what it was sent."""
        self._state.metrics.slow.inc()

    def job_started(self, job: Job) -> None:
        """An update begins."""
        self._state.metrics.updates.labels(*_labels(job)).inc()

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """An update has ended; admission learns how late it was."""
        state, labels = self._state, _labels(job)
        pair = labels[:2]
        if outcome.is_current:
            now_s = state.now_s()
            state.metrics.update_seconds.labels(*labels).observe(now_s - job.arrival_s)
            state.measure()
            # Text that a reader reaches later is not late before then: a paste must not close the
            # door.
            late_s = max(now_s - max(job.arrival_s, job.reached_s), 0.0)
            state.admission.observe(self._session.id, late_s, now_s, is_final=job.is_final)
        else:
            state.metrics.superseded.labels(*pair).inc()
        if outcome.timing is not None:
            state.metrics.queue_seconds.labels(*pair).observe(outcome.timing.queue_ms / 1e3)
            state.metrics.tokens.labels(*pair, "accepted").inc(outcome.timing.accepted)
            state.metrics.tokens.labels(*pair, "decoded").inc(outcome.timing.decoded)

    def job_failed(self, job: Job, problem: TranslationFailed) -> None:
        """An update could not be run."""
        data = {"session": self._session.id, "target": job.target, "problem": str(problem)}
        logger.warning("translation failed", extra={"data": data})

    def _log_final(self, event: protocol.TranslationFinal) -> None:
        data = {
            "session": self._session.id,
            "target": event.target,
            "updates": event.stats.updates,
            "erased": event.stats.erased,
            "final_ms": event.stats.final_ms,
            **text_data(self._state.config.log_text, source=event.source_text, text=event.text),
        }
        logger.debug("segment done", extra={"data": data})


def _code_label(code: int) -> str:
    """Return a close code as a metrics label: clients may invent any number of others."""
    return str(code) if code in protocol.CLOSE_CODES or 1000 <= code <= 1015 else "other"


def _labels(job: Job) -> tuple[str, str, str]:
    """Return source, target and kind of an update as metrics labels."""
    return job.source_language or "auto", job.target, "final" if job.is_final else "partial"
