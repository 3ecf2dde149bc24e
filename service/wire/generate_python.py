"""Generates the Python client's types: the protocol's dataclasses, without the service.

The client imports nothing from the service, so it has a copy of the classes, ordered so that each
follows whatever it refers to. Reads and writes no files.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from typing import Final

from service.wire import protocol
from service.wire.describe import literals, objects

_HEAD: Final = '''\
"""The messages of the protocol `tokenspeed.v1`, as frozen dataclasses: an event is its frame.

Made by `make generate` from the service's own classes; edit those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

'''


def events() -> str:
    """Return the module."""
    kinds = _classes()
    named = {name: None for kind in kinds for name in _literals_of(kind)}
    aliases = "".join(_alias(name, values) for name, values in named)
    blocks = [
        _HEAD + _constants() + "\n" + aliases.rstrip("\n"),
        *(inspect.getsource(kind).rstrip("\n") for kind in kinds),
    ]
    return "\n\n\n".join([*blocks, _table()])


def _classes() -> list[type]:
    """Return all classes, each after the ones that its fields hold."""
    found: dict[type, None] = {}
    by_name = {kind.__name__: kind for kind in objects()}

    def add(kind: type) -> None:
        for base in kind.__bases__:
            if base is not object:
                add(base)
        for name in _names(kind):
            if name in by_name:
                add(by_name[name])
        found.setdefault(kind)

    for kinds in (protocol.CLIENT_EVENTS, protocol.SERVER_EVENTS):
        for kind in kinds.values():
            add(kind)
    return list(found)


@cache
def _names(kind: type) -> tuple[str, ...]:
    """Return the names in the annotations of a class's own fields."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    annotations = [each.annotation for each in node.body if isinstance(each, ast.AnnAssign)]
    parts = [part for annotation in annotations for part in ast.walk(annotation)]
    return tuple(part.id for part in parts if isinstance(part, ast.Name))


def _literals_of(kind: type) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the names that stand for literals, with their values."""
    module = vars(sys.modules[kind.__module__])
    for name in _names(kind):
        if values := literals(module.get(name)):
            yield name, values


def _alias(name: str, values: tuple[str, ...]) -> str:
    return f"{name} = Literal[\n" + "".join(f'    "{value}",\n' for value in values) + "]\n"


def _constants() -> str:
    retryable = ", ".join(map(str, sorted(protocol.RETRYABLE_CLOSE_CODES)))
    reasons = "".join(f'    {code}: "{text}",\n' for code, text in protocol.CLOSE_CODES.items())
    return (
        f'SUBPROTOCOL: Final = "{protocol.SUBPROTOCOL}"\n'
        f"IDLE_CODE: Final = {protocol.CLOSE_IDLE}\n"
        f"UNAUTHENTICATED_CODE: Final = {protocol.CLOSE_UNAUTHENTICATED}\n"
        f"SUPERSEDED_CODE: Final = {protocol.CLOSE_SUPERSEDED}\n"
        f"RETRYABLE_CODES: Final = frozenset({{{retryable}}})\n"
        f"CLOSE_REASONS: Final[Mapping[int, str]] = {{\n{reasons}}}\n"
    )


def _table() -> str:
    kinds = "".join(f"        {kind.__name__},\n" for kind in protocol.SERVER_EVENTS.values())
    return (
        "SERVER_EVENTS: Final[Mapping[str, type[ServerEvent]]] = {\n"
        f"    kind.type: kind\n    for kind in (\n{kinds}    )\n}}\n"
    )
