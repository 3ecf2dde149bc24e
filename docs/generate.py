"""Fills in the parts of the pages that the sources know: the protocol and the settings.

A page says `<!-- settings -->` where the table goes. mkdocs calls `on_page_markdown` for each page
(`hooks` in mkdocs.yml); the tests call the functions that make the parts.
"""

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

sys.path.insert(0, str(Path(__file__).parents[1]))

from service.config import variables
from service.wire import protocol
from tokenspeed.bench.page import markdown_table


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts where the page names them."""
    for name, part in PARTS.items():
        mark = f"<!-- {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, part())
    return markdown


def settings_table() -> str:
    """Return every environment variable of the service, its default and its meaning."""
    rows = [(f"`{v.name}`", f"`{default}`" if default else "", v.meaning)
            for v, default in variables()]  # fmt: skip
    return markdown_table("variable | default | meaning", "lll", rows)


def protocol_reference() -> str:
    """Return every event with its fields, then the objects that these hold."""
    parts: dict[str, type] = {}
    text = "## What a client sends\n\n"
    text += "\n".join(_section(kind, parts) for kind in protocol.CLIENT_EVENTS.values())
    text += "\n## What the server sends\n\n"
    text += "\n".join(_section(kind, parts) for kind in protocol.SERVER_EVENTS.values())
    text += "\n## What events hold\n\n"
    described: set[str] = set()
    while waiting := [kind for name, kind in sorted(parts.items()) if name not in described]:
        for kind in waiting:
            described.add(kind.__name__)
            text += _section(kind, parts) + "\n"
    return text


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings_table, "protocol": protocol_reference,
}  # fmt: skip


def _section(kind: type, parts: dict[str, type]) -> str:
    is_event = issubclass(kind, protocol.ClientEvent | protocol.ServerEvent)
    name = kind.type if is_event else kind.__name__
    said = inspect.getdoc(kind) or ""
    hints, remarks = get_type_hints(kind), _remarks(kind)
    rows = []
    for item in fields(kind):
        shown = _type(hints[item.name], parts)
        rows.append((f"`{item.name}`", shown, _default(item), remarks.get(item.name, "")))
    title = f"### {name}" if name != kind.__name__ else f"### {name} {{ #{name.lower()} }}"
    table = markdown_table("field | type | default | remark", "llll", rows) if rows else ""
    return f"{title}\n\n{said}\n\n{table}\n"


def _type(hint: Any, parts: dict[str, type]) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_type(one, parts) for one in inner if one is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of {_type(inner[0], parts)}"
    if is_dataclass(hint):
        assert isinstance(hint, type)
        parts[hint.__name__] = hint
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return names.get(hint, str(hint))


def _default(item: "Field[Any]") -> str:
    if item.default is MISSING:
        return "**required**" if item.default_factory is MISSING else ""
    if item.default is None:
        return ""
    return f"`{str(item.default).lower() if isinstance(item.default, bool) else item.default!r}`"


def _remarks(kind: type) -> dict[str, str]:
    """Return the comments behind a class' fields, its bases' included."""
    found: dict[str, str] = {}
    for base in reversed([b for b in kind.__mro__ if is_dataclass(b)]):
        for line in inspect.getsource(base).splitlines():
            if said := re.match(r"    (\w+): .*  # (.+)", line):
                found[said[1]] = said[2]
    return found
