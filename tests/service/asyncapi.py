"""Holds frames against the published AsyncAPI document."""

from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml
from jsonschema import Draft202012Validator

import service.wire

PATH = Path(service.wire.__file__).parent / "asyncapi.yaml"


@cache
def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


@cache
def _validators() -> dict[str, Draft202012Validator]:
    found = {}
    for name in document()["components"]["messages"]:
        pointer = {"$ref": f"#/components/messages/{name}/payload"}
        payload = document()["components"]["messages"][name]["payload"]
        validator = Draft202012Validator({**pointer, "components": document()["components"]})
        found[payload["properties"]["type"]["const"]] = validator
    return found


def check_frame(frame: str | bytes) -> dict[str, Any]:
    """Return the frame's object.

    Raises:
        jsonschema.ValidationError: the frame does not fit the document.
    """
    raw = orjson.loads(frame)
    _validators()[raw["type"]].validate(raw)
    return raw
