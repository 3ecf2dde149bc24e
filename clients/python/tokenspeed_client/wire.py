"""Frames to typed events and back; what a newer server adds is not an error.

Knows `events.py`, which is generated from the service's own classes. Unlike the server this side
checks little: it reads what it knows and ignores the rest.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from tokenspeed_client.events import SERVER_EVENTS, SUBPROTOCOL, ClientEvent, ServerEvent

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a type that this client does not know yet.

    Attributes:
        name: the `type` of the frame.
        fields: the frame.
    """

    type: ClassVar[str] = "unknown"
    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FrameError:
    """A frame that is not an event, or lacks a required field; made here, never sent.

    Attributes:
        message: what is wrong with the frame.
    """

    type: ClassVar[str] = "frame_error"
    message: str


Received: TypeAlias = ServerEvent | UnknownEvent | FrameError


def parse(frame: str | bytes) -> Received:
    """Read one frame of a server."""
    try:
        raw = orjson.loads(frame)
        name = raw["type"]
        kind = SERVER_EVENTS.get(name)
        if kind is not None:
            return _read_object(kind, raw)
        if isinstance(name, str):
            return UnknownEvent(name, raw)
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        pass  # reported below
    start = frame[:80] if isinstance(frame, str) else frame[:80].decode(errors="replace")
    return FrameError(f"not an event of {SUBPROTOCOL}: {start}")


def serialise(event: ClientEvent) -> str:
    """Write an event as one JSON object; fields that are None are left out."""
    return orjson.dumps({"type": event.type, **_plain(event)}).decode()


@cache
def _fields_of(kind: type) -> tuple[tuple[str, Any, bool], ...]:
    """Return of each field its name, its type without None, and whether it is required."""
    hints = get_type_hints(kind)
    return tuple((f.name, _without_none(hints[f.name]), f.default is MISSING) for f in fields(kind))


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
    return hint


def _read_object(kind: type[_T], raw: Mapping[str, Any]) -> _T:
    values: dict[str, Any] = {}
    by_name: Any = kind  # typeshed does not count a type variable as hashable
    for name, hint, is_required in _fields_of(by_name):
        if raw.get(name) is not None:
            values[name] = _read(hint, raw[name])
        elif is_required:
            raise KeyError(name)
    return kind(**values)


def _read(hint: Any, raw: Any) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(raw, list):
            raise TypeError("not an array")
        return tuple(_read(get_args(hint)[0], value) for value in raw)
    if is_dataclass(hint):
        return _read_object(hint, raw)  # type: ignore[arg-type]
    return raw


def _plain(value: Any) -> Any:
    """Turn dataclasses into dicts and tuples into lists; None is left out."""
    if is_dataclass(value):
        found = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: _plain(item) for name, item in found if item is not None}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
