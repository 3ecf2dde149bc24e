"""Frames to events and back: each field is checked against the type that its dataclass declares."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from service.errors import ProtocolError
from service.wire.protocol.client import CLIENT_EVENTS, ClientEvent
from service.wire.protocol.codes import ERROR_TYPES, RETRYABLE_ERRORS, ErrorCode, ErrorType
from service.wire.protocol.parts import ErrorInfo
from service.wire.protocol.server import SERVER_EVENTS, Error, ServerEvent

_T = TypeVar("_T")

MAX_ID_CHARS: Final = 128
MAX_ITEMS: Final = 1000  # in an array of settings; each takes a microsecond to be read
MAX_INT: Final = 2**53 - 1  # the largest integer that a JavaScript number holds exactly
ID_FIELDS: Final = frozenset(
    {"segment_id", "event_id", "id", "language", "speaker", "room", "source_id"}
)  # 1 to MAX_ID_CHARS


def parse_client(frame: str | bytes) -> ClientEvent:
    """Read a frame from a client; unknown fields are ignored.

    Raises:
        ProtocolError: it is not a JSON object, its type is unknown, or a field is wrong.
    """
    return _parse(frame, CLIENT_EVENTS)


def parse_server(frame: str | bytes) -> ServerEvent:
    """Read a frame from the server, for clients and tests; unknown fields are ignored.

    Raises:
        ProtocolError: it is not a JSON object, its type is unknown, or a field is wrong.
    """
    return _parse(frame, SERVER_EVENTS)


def serialise(event: ClientEvent | ServerEvent) -> str:
    """Write an event as one JSON object; fields that are None are omitted."""
    return orjson.dumps({"type": event.type, **_plain(event)}).decode()


def write_part(part: Any) -> bytes:
    """Serialise a part of many events once."""
    return orjson.dumps(_plain(part))


def join_parts(parts: Iterable[bytes]) -> orjson.Fragment:
    """Join serialised parts that follow each other in a list; the result stands for all of them."""
    return orjson.Fragment(b",".join(parts))


def error_event(exc: ProtocolError) -> Error:
    """Turn a refused frame into the event that tells the client."""
    return make_error(exc.code, exc.message, exc.param, exc.event_id)


def make_error(
    code: str, message: str, param: str | None = None, event_id: str | None = None
) -> Error:
    """Build an `error`; its category and retryability follow from the code."""
    assert code in get_args(ErrorCode), code
    kind: ErrorType = ERROR_TYPES.get(code, "invalid_request")
    retryable = code in RETRYABLE_ERRORS
    return Error(ErrorInfo(kind, code, message, param, event_id, retryable))  # type: ignore[arg-type]


def _parse(frame: str | bytes, kinds: Mapping[str, type[_T]]) -> _T:
    try:
        raw = orjson.loads(frame)
    except orjson.JSONDecodeError as exc:
        raise ProtocolError("invalid_event", f"not JSON: {exc}") from exc
    if not isinstance(raw, dict):
        raise ProtocolError("invalid_event", f"expected a JSON object, got {_name(raw)}")
    event_id = raw.get("event_id")
    if not isinstance(event_id, str) or not 0 < len(event_id) <= MAX_ID_CHARS:
        event_id = None  # cannot be echoed; the field check below reports it
    try:
        kind = kinds.get(raw["type"]) if isinstance(raw.get("type"), str) else None
        if kind is None:
            raise ProtocolError("invalid_event", f"unknown type {_said(raw.get('type'))}", "type")
        return _read_object(kind, raw, "")
    except ProtocolError as exc:
        raise ProtocolError(exc.code, exc.message, exc.param, event_id) from exc


_Reader = Callable[[Any, str], Any]
"""Checks a JSON value, of the given path, and returns it as a field has it."""


@cache
def _fields_of(kind: type) -> tuple[tuple[str, _Reader, bool], ...]:
    """Name, reader and whether it is required, for each field of a dataclass."""
    hints = get_type_hints(kind)
    return tuple(
        (f.name, _reader(hints[f.name], f.name), f.default is MISSING) for f in fields(kind)
    )


def _read_object(kind: type[_T], raw: Mapping[str, Any], path: str) -> _T:
    """Read the fields of the dataclass; anything else in the object is ignored."""
    values: dict[str, Any] = {}
    by_name: Any = kind  # typeshed does not count a type variable as hashable
    prefix = f"{path}." if path else ""
    for name, read, is_required in _fields_of(by_name):
        value = raw.get(name)
        if value is not None:
            values[name] = read(value, prefix + name)
        elif is_required:
            raise _wrong("is missing", prefix + name)
    return kind(**values)


def _reader(hint: Any, name: str) -> _Reader:
    """Return what reads the values of a field; looked up once, as there may be thousands."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
        origin = get_origin(hint)
    if origin is Literal:
        return partial(_read_choice, get_args(hint))
    if origin is tuple:
        return partial(_read_array, _reader(get_args(hint)[0], name))
    if is_dataclass(hint):
        return partial(_read_part, hint)
    if hint is str:
        return _read_id if name in ID_FIELDS else _read_text
    return partial(_read_scalar, hint)


def _read_choice(choices: tuple[Any, ...], raw: Any, path: str) -> Any:
    if raw not in choices:
        raise _wrong(f"is {_said(raw)}, expected one of {', '.join(choices)}", path)
    return raw


def _read_array(read: _Reader, raw: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise _wrong(f"expected an array, got {_name(raw)}", path)
    if len(raw) > MAX_ITEMS and path.startswith("session."):
        raise _wrong(f"has {len(raw)} items, at most {MAX_ITEMS}", path)
    return tuple([read(value, f"{path}[{i}]") for i, value in enumerate(raw)])


def _read_part(kind: Any, raw: Any, path: str) -> Any:
    if not isinstance(raw, dict):
        raise _wrong(f"expected an object, got {_name(raw)}", path)
    return _read_object(kind, raw, path)


def _read_id(raw: Any, path: str) -> str:
    text = _read_text(raw, path)
    if not 0 < len(text) <= MAX_ID_CHARS:
        raise _wrong(f"has {len(text)} characters, expected 1 to {MAX_ID_CHARS}", path)
    return text


def _read_text(raw: Any, path: str) -> str:
    if type(raw) is not str:
        raise _wrong(f"expected {_JSON_NAMES[str]}, got {_name(raw)}", path)
    return raw


def _read_scalar(hint: Any, raw: Any, path: str) -> Any:
    if hint is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        if not -MAX_INT <= raw <= MAX_INT:
            raise _wrong(f"is {raw}, expected a number up to 2**53 - 1", path)
        return float(raw)
    if type(raw) is not hint:
        raise _wrong(f"expected {_JSON_NAMES[hint]}, got {_name(raw)}", path)
    if hint is int and not 0 <= raw <= MAX_INT:
        raise _wrong(f"is {raw}, expected 0 to 2**53 - 1", path)
    return raw


_JSON_NAMES: Final[Mapping[Any, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
    NoneType: "null",
}


def _name(raw: Any) -> str:
    return _JSON_NAMES[type(raw)]


def _said(raw: Any) -> str:
    """Return the beginning of a value; of an array or an object, which may be deep, what it is."""
    return _name(raw) if isinstance(raw, list | dict) else repr(str(raw)[:80])


def _wrong(message: str, path: str) -> ProtocolError:
    code = "glossary_invalid" if ".glossary[" in path else "invalid_event"
    return ProtocolError(code, message, path)


def _plain(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists; None is omitted."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    kind: Any = type(value)  # typeshed does not count it as hashable
    names = _names_of(kind)
    if not names:
        return value
    found = [(name, getattr(value, name)) for name in names]
    return {name: _plain(item) for name, item in found if item is not None}


@cache
def _names_of(kind: type) -> tuple[str, ...]:
    """Return the fields of a dataclass; none of any other type."""
    return tuple(f.name for f in fields(kind)) if is_dataclass(kind) else ()
