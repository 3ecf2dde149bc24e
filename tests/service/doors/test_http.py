"""Bodies of plain HTTP: JSON or a form, and nothing else."""

import pytest

from service.doors.http import parse_body
from service.errors import RestError

FORM = "application/x-www-form-urlencoded"


def test_a_form_and_json_say_the_same() -> None:
    assert parse_body(b'{"q": "Good morning", "target": "de"}', "application/json") == {
        "q": "Good morning",
        "target": "de",
    }
    assert parse_body(b"q=Good+morning&target=de", FORM) == {"q": "Good morning", "target": "de"}


def test_a_form_may_repeat_a_field_and_leave_one_empty() -> None:
    assert parse_body(b"q=a&q=b&source=", f"{FORM}; charset=utf-8") == {
        "q": ["a", "b"],
        "source": "",
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"{", "neither JSON nor a form"), (b"", "neither JSON"), (b"[1]", "must be a JSON object")],
)
def test_anything_else_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(RestError, match=problem) as caught:
        parse_body(data, "application/json")
    assert caught.value.status == 400
