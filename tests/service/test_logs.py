"""Logs are JSON lines without users' text."""

import json
import logging
import sys

from service.logs import JsonFormatter, text_data


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
