"""JSON: values are translated, and nothing else changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.documents.translators import same, shout, translate
from tokenspeed.documents.json_values import open_json

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text('abé:"\\$@', max_size=4), inner, max_size=3),
    ),
    max_leaves=10,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_any_json_survives(value: Any, is_ascii: bool, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode("utf-8", "surrogatepass")
    assert same(open_json(data, "de")) == data


def shape(value: Any) -> Any:
    """All but the words."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return list(map(shape, value))
    return None if isinstance(value, str) else value


@given(VALUES)
def test_keys_order_and_numbers_stay(value: Any) -> None:
    document = open_json(json.dumps(value).encode(), "de")
    assert shape(json.loads(translate(document, shout))) == shape(value)


def test_what_is_a_value_and_what_is_a_note() -> None:
    data = r"""{"title" : "Hello é", "@title": {"description": "note", "more": ["note"]},
  "list": [" Yes \n", 1.50, "42", {"deep": "Say \"hi\""}], "$schema": "note",
  "cups": "{n, plural, one {a cup} other {# cups}}", "last": "See {x}"}"""
    document = open_json(data.encode(), "de")
    assert document.texts == ("Hello é", "Yes", 'Say "hi"', "See {x}")
    expected = data.replace("Hello é", "Höhe").replace("Yes", "Ja").replace("Say", "Sag")
    translated = document.translated(["Höhe", "Ja", 'Sag "hi"', "See {x}"]).decode()
    assert translated == expected


def test_a_file_that_escapes_goes_on_to() -> None:
    assert (
        open_json(rb'["caf\u00e9", "a"]', "de").translated(["Höhe", "a"]) == rb'["H\u00f6he", "a"]'
    )
    assert open_json(b'["a"]', "de").translated(["Höhe"]) == '["Höhe"]'.encode()


@pytest.mark.parametrize("data", [b"", b"{", b"{'a': 1}", b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is not JSON"):
        open_json(data, "de")
