"""Structured logs: one JSON object per line, and never the text that users send.

Callers put facts into `extra={"data": {...}}`. Text goes through `text_data`, which is empty unless
the operator asked for it.
"""

import logging
from typing import Any

import orjson


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class Seldom(logging.Filter):
    """Lets a message through once a second, and says how many were suppressed in between."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}  # message: last logged, suppressed since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it has been a second."""
        said, left_out = self._seen.get(record.msg, (float("-inf"), 0))
        if record.created - said < 1.0:
            self._seen[record.msg] = (said, left_out + 1)
            return False
        if len(self._seen) > 100:  # some contain names of objects
            self._seen.clear()
        self._seen[record.msg] = (record.created, 0)
        if left_out:
            record.data = {**getattr(record, "data", {}), "left_out": left_out}
        return True


def configure(level: str) -> None:
    """Send all logs to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # uvicorn logs each request's query, and a query may contain a token.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel("WARNING")
    # Messages that anybody can trigger, as often as they like.
    for name in ("uvicorn.error", "asyncio", "service.doors.lines"):
        logging.getLogger(name).filters[:] = [Seldom()]


def text_data(is_wanted: bool, **texts: str) -> dict[str, str]:
    """Return the texts, if logging them was enabled."""
    return texts if is_wanted else {}
