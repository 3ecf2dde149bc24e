"""The generated files: fresh, and true to the dataclasses."""

import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service.wire import generate, protocol
from tests.service.asyncapi import document

EVENTS: dict[str, Any] = {**protocol.CLIENT_EVENTS, **protocol.SERVER_EVENTS}


def test_what_is_committed_is_fresh() -> None:
    generate.main(["--check"])


@pytest.mark.parametrize("name", ["DOCUMENT", "TYPES", "CONSTANTS", "EVENTS"])
def test_a_stale_file_fails_the_check_and_is_written_anew(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = getattr(generate, name)
    path = tmp_path / before.name
    shutil.copy(before, path)
    monkeypatch.setattr(generate, name, path)
    generate.main(["--check"])
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub("1[0-9]{3}|session.created", "1", text), encoding="utf-8")
    with pytest.raises(SystemExit, match=f"stale: {path.name}; run `make generate`"):
        generate.main(["--check"])
    generate.main([])
    assert path.read_text(encoding="utf-8") == text


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(SystemExit, match="unknown arguments: --chekc"):
        generate.main(["--chekc"])


def test_the_document_has_every_message_and_every_field() -> None:
    messages = document()["components"]["messages"]
    assert {message["name"] for message in messages.values()} == EVENTS.keys()
    for message in messages.values():
        payload = message["payload"]
        Draft202012Validator.check_schema(payload)
        (base,) = payload["allOf"]
        shared = document()["components"]["schemas"][base["$ref"].rpartition("/")[2]]
        named = {**payload["properties"], **shared["properties"]}
        assert named.keys() == {f.name for f in fields(EVENTS[message["name"]])} | {"type"}
        assert all("description" in value for name, value in named.items() if name != "type")


def test_every_reference_leads_somewhere() -> None:
    text = generate.asyncapi()
    for pointer in set(re.findall(r"#/([\w/]+)", text)):
        found: Any = document()
        for part in pointer.split("/"):
            found = found[part]


def test_the_document_says_what_no_message_says() -> None:
    about = generate.about()
    for code, text in protocol.CLOSE_CODES.items():
        mark = "*" if code in protocol.RETRYABLE_CLOSE_CODES else ""
        assert f"- {code}{mark}: {text}\n" in about
    assert "{" not in about


def test_the_types_have_every_message_and_every_field() -> None:
    text = generate.types()
    for name, kind in EVENTS.items():
        (block,) = [part for part in text.split("/**\n") if f'{{"{name}"}} type\n' in part]
        for field in fields(kind):
            assert re.search(rf"}} \[?{field.name}\]?\s", block), (name, field.name)
    assert "@property {boolean | undefined} [case_sensitive] " in text  # a client may leave it out
    assert "@property {number} violations " in text  # the server always sends it
    assert max(map(len, text.splitlines())) <= 100


def test_no_browser_loads_the_types() -> None:
    for path in generate.PAGE.glob("*.js"):
        imported = re.findall(r"^import .*messages\.js", path.read_text(), re.MULTILINE)
        assert imported == [], path.name
