"""Fills in the parts of the pages that the sources know: the protocol and the settings.

A page says `<!-- settings -->` where the table goes. mkdocs calls `on_page_markdown` for each page
(`hooks` in mkdocs.yml); the tests call the functions that make the parts.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import MISSING, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin

sys.path.insert(0, str(Path(__file__).parents[1]))

from service.config import variables
from service.wire import protocol
from service.wire.describe import Field, description_of, fields_of, literals
from service.wire.generate import about
from tokenspeed.bench.page import markdown_table
from tokenspeed.model.profile import CHAT_TEMPLATE, Profile, shipped_profiles


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts where the page names them."""
    for name, part in PARTS.items():
        mark = f"<!-- {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, part())
    return markdown


def settings_table() -> str:
    """Return every environment variable of the service, its default and its meaning."""
    rows = [
        (f"`{v.name}`", f"`{default}`" if default else "", v.meaning) for v, default in variables()
    ]
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


def profile_part(profile: Profile) -> str:
    """Return what a profile says: the models, their memory, languages and wording."""
    codes = {code for pair in profile.pairs for code in pair}
    languages = ", ".join(f"{profile.names[code]} (`{code}`)" for code in sorted(codes))
    facts = [
        f"Models: {', '.join(f'`{model}`' for model in profile.models)}.",
        f"Licence: {profile.licence}.",
        f"An output ends {_ends(profile)}.",
        f"Profile: `{profile.name}`, after {', '.join(f'<{each}>' for each in profile.sources)}.",
        *filter(None, [profile.notes]),
    ]
    text = "".join(f"- {fact}\n" for fact in facts)
    if profile.sizes:
        rows = [(name, *_memory(parameters, of)) for name, parameters, of in profile.sizes]
        table = markdown_table("weights | 16 bits | int8 | int4", "lrrr", rows)
        text += f"\n{table}\n"
    is_own = profile.turns == CHAT_TEMPLATE
    turns = (profile.fallback_turns or ("{message}",)) if is_own else (profile.turns,)
    begin = "(begin mark)" if profile.begins else ""
    message = profile.wording("en", "de", text="TEXT", terms="")
    asked = [f"{begin}{each.replace('{message}', message)}" for each in turns]
    by = " through the model's own chat template" if is_own else ""
    blocks = "\nor\n\n".join(f"```text\n{each}\n```\n" for each in asked)
    text += f"\nIt is asked like this{by}:\n\n{blocks}"
    for told, wording in _told(profile).items():
        text += f"\n{told}, the message is:\n\n```text\n{wording}\n```\n"
    count = f"{len(codes)} languages in {len(profile.pairs)} pairs"
    return f"{text}\n{count}: {languages}.\n"


def _told(profile: Profile) -> dict[str, str]:
    """Return the wordings for what not every text has."""
    terms = profile.listed([("TERM", "TRANSLATION")]) if profile.term else ""
    wordings = {
        "Between Chinese and another language": profile.wording("zh", "de", text="TEXT")
        if profile.message_with_chinese
        else "",
        "With words of a glossary": profile.wording("en", "de", text="TEXT", terms=terms)
        if terms
        else "",
        "With earlier sentences": profile.wording("en", "de", text="TEXT", context="SENTENCES")
        if profile.message_context
        else "",
    }
    return {told: wording for told, wording in wordings.items() if wording}


def _ends(profile: Profile) -> str:
    marks = ", ".join(f"`{piece}`" for piece in profile.stop)
    at = ["the end marks of the model's files", *filter(None, [marks])]
    return f"at {' and '.join(at)}{', or at a line break' if profile.ends_at else ''}"


def _memory(parameters: float, embedding: float) -> tuple[str, str, str]:
    """Return what weights take in each form; the embedding stays in 16 bits."""
    rest = parameters - embedding
    # int4 in groups of 128 has a scale of 16 bits a group.
    sizes = (2 * parameters, rest + 2 * embedding, rest * 4.125 / 8 + 2 * embedding)
    return tuple(f"{size * 1e9 / 2**30:.1f} GiB" for size in sizes)  # type: ignore[return-value]


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "about the protocol": about,
    "protocol": protocol_reference,
    **{f"profile {p.name}": partial(profile_part, p) for p in shipped_profiles() if p.pairs},
}


def _section(kind: type, parts: dict[str, type]) -> str:
    name: str = getattr(kind, "type", kind.__name__)  # of an event; a part has none
    rows = [
        (f"`{field.name}`", _type(field.hint, parts), _default(field), field.description)
        for field in fields_of(kind)
    ]
    title = f"### {name}" if name != kind.__name__ else f"### {name} {{ #{name.lower()} }}"
    table = markdown_table("field | type | default | remark", "llll", rows) if rows else ""
    return f"{title}\n\n{description_of(kind)[0]}\n\n{table}\n"


def _type(hint: Any, parts: dict[str, type]) -> str:
    if literals(hint):
        return ", ".join(f"`{value}`" for value in literals(hint))
    if get_origin(hint) is tuple:
        return f"list of {_type(get_args(hint)[0], parts)}"
    if is_dataclass(hint):
        assert isinstance(hint, type)
        parts[hint.__name__] = hint
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    return {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]


def _default(field: Field) -> str:
    if field.is_required:
        return "**required**"
    if field.default is MISSING:
        return ""
    return f"`{json.dumps(field.default)}`"
