"""The protocol's dataclasses and their docstrings, as values.

All documentation of the protocol is generated from these. Knows dataclasses; does not know what the
messages mean, nor the formats of the documents.
"""

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from service.wire import protocol


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a JSON object.

    Attributes:
        hint: its type, without None.
        description: without its full stop.
        is_required: whether it is always present; the server omits only None.
        default: what its absence means, MISSING if that is nothing.
        owner: the class that declares it.
    """

    name: str
    hint: Any
    description: str
    is_required: bool
    default: Any
    owner: type


def description_of(kind: type) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and the descriptions under `Attributes:`."""
    text, _, attributes = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(attributes).splitlines():
        if line[:1].isspace():
            found[name] += f" {line.strip()}"
        else:
            name, _, found[name] = (part.strip() for part in line.partition(":"))
    return text, {name: text.removesuffix(".") for name, text in found.items()}


def fields_of(kind: type) -> list[Field]:
    """Return the fields of an object, in order.

    Raises:
        ValueError: the docstring does not describe exactly these, or omits a value of a literal.
    """
    hints = _hints(kind)
    is_sent = kind in parts_of(protocol.SERVER_EVENTS) - parts_of(protocol.CLIENT_EVENTS)
    owners = [owner for owner in reversed(kind.__mro__) if is_dataclass(owner)]
    described = {name: (o, text) for o in owners for name, text in description_of(o)[1].items()}
    names = [field.name for field in fields(kind)]
    if set(names) != set(described):
        differing = ", ".join(sorted(set(names) ^ set(described)))
        raise ValueError(f"{kind.__name__}: only declared or only described: {differing}")
    found = []
    for field in fields(kind):
        owner, text = described[field.name]
        hint = _without_none(hints[field.name])
        missing = [value for value in literals(hint) if f"`{value}`" not in text]
        if missing:
            raise ValueError(f"{kind.__name__}.{field.name} does not explain {missing}")
        # The server omits only None, a client anything that has a default.
        is_required = field.default is MISSING or (is_sent and field.default is not None)
        default = MISSING if is_required or field.default is None else field.default
        found.append(Field(field.name, hint, text, is_required, default, owner))
    return found


def parts_of(kinds: Mapping[str, type]) -> set[type]:
    """Return messages and every object inside them."""
    return {part for kind in kinds.values() for part in _parts(kind)}


def literals(hint: Any) -> tuple[str, ...]:
    """Return the values of a literal, none for other types."""
    return get_args(hint) if get_origin(hint) is Literal else ()


def objects() -> list[type]:
    """Return what messages contain, each once, in order of appearance."""
    events = [*protocol.CLIENT_EVENTS.values(), *protocol.SERVER_EVENTS.values()]
    return list(dict.fromkeys(part for kind in events for part in _parts(kind) if part is not kind))


def _parts(kind: type) -> Iterator[type]:
    """Yield a dataclass and everything its fields hold."""
    yield kind
    for hint in _hints(kind).values():
        inner = _without_none(hint)
        inner = get_args(inner)[0] if get_origin(inner) is tuple else inner
        if is_dataclass(inner):
            yield from _parts(inner)  # type: ignore[arg-type]


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields; generating asks for them thousands of times."""
    return get_type_hints(kind)


def _without_none(hint: Any) -> Any:
    inner = [kind for kind in get_args(hint) if kind is not NoneType]
    return inner[0] if NoneType in get_args(hint) else hint
