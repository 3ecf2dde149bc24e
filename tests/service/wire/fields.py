"""The fields of messages as paths, such as `session.update.session.targets[].language`.

Where a field has few values each of them is a path of its own, `session.notice.code=degraded`: one
that nobody ever sends is as fictional as a field.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def paths_of(kinds: Mapping[str, type]) -> set[str]:
    """Every field of these messages, each value of those that have few."""
    return {path for name, kind in kinds.items() for path in _declared(kind, name)}


def without_values(paths: set[str]) -> set[str]:
    """The fields alone."""
    return {path.partition("=")[0] for path in paths}


def said_by(event: Any) -> set[str]:
    """What an event really says: not None, not nothing, not the value that stands for nothing."""
    return set(_said(event, event.type))


def _declared(kind: Any, at: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        hint = hints[field.name]
        if NoneType in get_args(hint):
            (hint,) = (inner for inner in get_args(hint) if inner is not NoneType)
        yield from _of_hint(hint, f"{at}.{field.name}")


def _of_hint(hint: Any, at: str) -> Iterator[str]:
    if get_origin(hint) is tuple:
        yield from _of_hint(get_args(hint)[0], f"{at}[]")
    elif get_origin(hint) is Literal:
        yield from (f"{at}={value}" for value in get_args(hint))
    elif hint is bool:
        yield from (f"{at}=True", f"{at}=False")
    elif is_dataclass(hint):
        yield from _declared(hint, at)
    else:
        yield at


def _said(value: Any, at: str) -> Iterator[str]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _said(getattr(value, field.name), f"{at}.{field.name}")
    elif isinstance(value, tuple):
        for item in value:
            yield from _said(item, f"{at}[]")
    elif value or value is False:
        yield at
        yield f"{at}={value}"
