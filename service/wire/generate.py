"""Generates what clients read of the protocol: `asyncapi.yaml`, JavaScript and Python types.

    python -m service.wire.generate [--check]

Everything comes from the dataclasses of `protocol` and their docstrings; what belongs to no message
is in `asyncapi.template.yaml`. `--check` writes nothing and fails if a file is stale.
"""

import sys
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import yaml

from service.wire import generate_python, protocol
from service.wire.describe import Field, description_of, fields_of, literals, objects, parts_of

HERE: Final = Path(__file__).parent
DOCUMENT: Final = HERE / "asyncapi.yaml"
TEMPLATE: Final = HERE / "asyncapi.template.yaml"
PAGE: Final = HERE.parents[1] / "web" / "src"
TYPES: Final = PAGE / "messages.js"
CONSTANTS: Final = PAGE / "protocol.js"  # in part
EVENTS: Final = HERE.parents[1] / "clients" / "python" / "tokenspeed_client" / "events.py"
BEGIN: Final = "// ---- made by `make generate` from service/wire/protocol/ ----\n"
END: Final = "// ---- end of what is made ----\n"


# ---- asyncapi.yaml -----------------------------------------------------------------------------


def asyncapi() -> str:
    """Return the AsyncAPI document."""
    document = _template()
    channel = document["channels"]["stream"]
    kinds: dict[str, Mapping[str, type[protocol.ClientEvent | protocol.ServerEvent]]] = {
        "fromClient": protocol.CLIENT_EVENTS,
        "fromServer": protocol.SERVER_EVENTS,
    }
    messages = {kind.__name__: kind for found in kinds.values() for kind in found.values()}
    bindings = channel.pop("bindings")
    channel["messages"] = {name: _ref("components/messages", name) for name in messages}
    channel["bindings"] = bindings
    for name, found in kinds.items():
        document["operations"][name]["channel"] = _ref("channels", "stream")
        document["operations"][name]["messages"] = [
            _ref("channels/stream/messages", kind.__name__) for kind in found.values()
        ]
    bases = [protocol.ClientEvent, protocol.ServerEvent]
    document["components"] = {
        "messages": {name: _message(kind) for name, kind in messages.items()},
        "schemas": {kind.__name__: _schema(kind) for kind in (*bases, *objects())},
    }
    first = "# Made by `make generate` from the protocol and asyncapi.template.yaml; edit those.\n"
    return first + yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def about() -> str:
    """Return the description of the protocol as a whole, as Markdown."""
    text: str = _template()["info"]["description"]
    return text


def _template() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    text = document["info"]["description"]
    document["info"]["description"] = text.replace("{close_codes}", _close_codes())
    return document


def _close_codes() -> str:
    retryable = protocol.RETRYABLE_CLOSE_CODES
    lines = [
        f"- {code}{'*' if code in retryable else ''}: {text}"
        for code, text in protocol.CLOSE_CODES.items()
    ]
    return "\n".join(lines)


def _message(kind: type[protocol.ClientEvent | protocol.ServerEvent]) -> dict[str, Any]:
    summary, _, rest = description_of(kind)[0].partition("\n\n")
    base = kind.__mro__[1]
    schema = _schema(kind)
    own = {field.name for field in fields_of(kind) if field.owner is kind}
    properties = {n: value for n, value in schema["properties"].items() if n in own}
    required = [name for name in schema.get("required", ()) if name in own]
    return {
        "name": kind.type,
        "summary": _joined(summary),
        **({"description": _joined(rest)} if rest else {}),
        "payload": {
            "allOf": [_ref("components/schemas", base.__name__)],
            "type": "object",
            "required": ["type", *required],
            "properties": {"type": {"const": kind.type}, **properties},
        },
    }


def _schema(kind: type) -> dict[str, Any]:
    found = fields_of(kind)
    required = [field.name for field in found if field.is_required]
    return {
        "type": "object",
        "description": _joined(description_of(kind)[0]),
        **({"required": required} if required else {}),
        "properties": {field.name: _property(field) for field in found},
    }


def _property(field: Field) -> dict[str, Any]:
    schema = _value(field.hint)
    if field.hint is str and field.name in protocol.ID_FIELDS:
        schema |= {"minLength": 1, "maxLength": protocol.MAX_ID_CHARS}
    if field.default is not MISSING:
        schema["default"] = field.default
    return {**schema, "description": field.description}


def _value(hint: Any) -> dict[str, Any]:
    if literals(hint):
        return {"type": "string", "enum": list(literals(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _value(get_args(hint)[0])}
    if is_dataclass(hint):
        return _ref("components/schemas", hint.__name__)  # type: ignore[union-attr]
    if hint is int:
        return {"type": "integer", "minimum": 0}
    return {"type": {str: "string", float: "number", bool: "boolean"}[hint]}


def _ref(where: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/{where}/{name}"}


def _joined(text: str) -> str:
    """Undo the line breaks inside paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


class _Dumper(yaml.SafeDumper):
    """Block style for multi-line texts, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


# ---- JavaScript --------------------------------------------------------------------------------

_ABOUT_TYPES: Final = """\
/**
 * The messages of the protocol `tokenspeed.v1`, as types. Names are those of the wire, so that an
 * event is its frame. There is no code in here, and no browser loads it.
 *
 * Made by `make generate` from service/wire/protocol/; edit that.
 *
 * @module
 */

export {};
"""


def types() -> str:
    """Return the module of types."""
    events = (protocol.CLIENT_EVENTS, protocol.SERVER_EVENTS)
    kinds = [*objects(), *(kind for found in events for kind in found.values())]
    blocks = [_ABOUT_TYPES, *(_typedef(kind) for kind in kinds)]
    for name, found in zip(("ClientEvent", "ServerEvent"), events, strict=True):
        union = " | ".join(_js_name(kind) for kind in found.values())
        blocks.append(f"/**\n{_wrapped(f'@typedef {{{union}}} {name}')}\n */\n")
    return "\n".join(blocks)


def constants(before: str) -> str:
    """Return a module with the part between the marks regenerated."""
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, f"{CONSTANTS.name} lacks its marks"
    assert end, f"{CONSTANTS.name} lacks its marks"
    retryable = ", ".join(map(str, sorted(protocol.RETRYABLE_CLOSE_CODES)))
    reasons = "".join(f'  {code}: "{text}",\n' for code, text in protocol.CLOSE_CODES.items())
    made = (
        f'export const SUBPROTOCOL = "{protocol.SUBPROTOCOL}";\n'
        f"export const IDLE_CODE = {protocol.CLOSE_IDLE};\n"
        f"export const UNAUTHENTICATED_CODE = {protocol.CLOSE_UNAUTHENTICATED};\n"
        f"export const SUPERSEDED_CODE = {protocol.CLOSE_SUPERSEDED};\n"
        f"export const RETRYABLE_CODES = new Set([{retryable}]);\n"
        "export const CLOSE_REASONS = /** @type {Readonly<Record<number, string>>} */ ({\n"
        f"{reasons}}});\n"
    )
    return head + begin + made + end + tail


def _typedef(kind: type) -> str:
    # A client may set a field to undefined: then it is not sent.
    is_taken = kind in parts_of(protocol.CLIENT_EVENTS)
    about = description_of(kind)[0].splitlines()
    lines = [f" * {line}".rstrip() for line in about]
    lines += [" *", f" * @typedef {{object}} {_js_name(kind)}"]
    if hasattr(kind, "type") and isinstance(kind.type, str):
        lines.append(f' * @property {{"{kind.type}"}} type')
    for field in fields_of(kind):
        hint = _js_type(field.hint)
        if not field.is_required and is_taken:
            hint += " | undefined"
        name = field.name if field.is_required else f"[{field.name}]"
        lines.append(_wrapped(f"@property {{{hint}}} {name} {field.description}"))
    return "\n".join(["/**", *lines, " */", ""])


def _js_type(hint: Any) -> str:
    if literals(hint):
        return " | ".join(f'"{value}"' for value in literals(hint))
    if get_origin(hint) is tuple:
        return f"readonly {_js_type(get_args(hint)[0])}[]"
    if is_dataclass(hint):
        return _js_name(hint)  # type: ignore[arg-type]
    return {str: "string", int: "number", float: "number", bool: "boolean"}[hint]


def _js_name(kind: type) -> str:
    return {"Error": "ErrorEvent"}.get(kind.__name__, kind.__name__)  # `Error` is JavaScript's own


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent=" * ", subsequent_indent=" *   ")


# ---- files -------------------------------------------------------------------------------------


def generated() -> dict[Path, str]:
    """Return what each file should contain."""
    return {
        DOCUMENT: asyncapi(),
        TYPES: types(),
        CONSTANTS: constants(CONSTANTS.read_text(encoding="utf-8")),
        EVENTS: generate_python.events(),
    }


def main(arguments: list[str]) -> None:
    """Write the files; with `--check`, fail if one is stale instead."""
    stale = {
        path: text
        for path, text in generated().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    if arguments == ["--check"]:
        if stale:
            names = ", ".join(path.name for path in stale)
            raise SystemExit(f"stale: {names}; run `make generate`")
        return
    if arguments:
        raise SystemExit(f"unknown arguments: {' '.join(arguments)}")
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
