"""Logs are JSON lines without users' text."""

import json
import logging
import sys

from service.logs import JsonFormatter, Seldom, text_data


def test_a_record_is_one_line_of_json() -> None:
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        record = logging.LogRecord(
            "service.x", logging.ERROR, "x.py", 1, "failed %s", ("twice",), sys.exc_info()
        )
    record.data = {"session": "ab", "code": 1000}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["level"], found["session"]) == ("failed twice", "error", "ab")
    assert "ValueError" in found["traceback"]


def test_text_is_logged_only_where_it_is_wanted() -> None:
    assert text_data(False, source="private") == {}
    assert text_data(True, source="private") == {"source": "private"}


def test_what_anybody_can_cause_is_said_once_a_second() -> None:
    seldom = Seldom()

    def said(message: str, at_s: float) -> dict[str, int] | None:
        record = logging.LogRecord("a", logging.WARNING, "", 0, message, None, None)
        record.created = at_s
        return getattr(record, "data", {}) if seldom.filter(record) else None

    times = [0.0, 0.1, 0.9, 1.0, 1.5, 3.0]
    assert [said("no room", at_s) for at_s in times] == [
        {},
        None,
        None,
        {"left_out": 2},
        None,
        {"left_out": 1},
    ]
    assert [said(f"no room {number}", 3.0) for number in range(300)] == [{}] * 300
