"""A model's own chat template: Jinja that came with its files, run in a sandbox.

Rendered at start, around a placeholder; no request's text ever goes through it. Knows files and
strings; does not know ids or requests.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jinja2
from jinja2.ext import Extension
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tokenspeed.errors import ProfileError
from tokenspeed.model.families import read_object

PLACEHOLDER: Final = "xSOURCEx"  # for the text; letters, which no filter of a template changes


class ChatTemplate:
    """Writes a user's message with the turns around it.

    Args:
        source: Jinja, as transformers runs it. path: where it came from, for errors.
        pieces: variables that the template may use, such as `bos_token`.
    Raises:
        ProfileError: it is not valid Jinja.
    """

    def __init__(self, source: str, path: Path, pieces: Mapping[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        self.source = source
        self._path, self._pieces = path, pieces
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as exc:
            raise ProfileError(path, f"its chat template is not readable: {exc}") from exc

    def around(self, message: str, system: str = "") -> tuple[str, str]:
        """Return what comes before and after the text.

        Args:
            message: the user's, with `PLACEHOLDER` in place of the text. system: "": none.
        Raises:
            ProfileError: the template fails, or loses the text.
        """
        said = [{"role": "system", "content": system}] if system else []
        try:
            rendered = self._template.render(
                messages=[*said, {"role": "user", "content": message}],
                add_generation_prompt=True,
                enable_thinking=False,  # for models that would reason aloud first
                tools=None,
                documents=None,
                **self._pieces,
            )
        # A template is a program: it can fail with any Python error.
        except Exception as exc:
            raise ProfileError(self._path, f"its chat template fails: {exc}") from exc
        before, *after = rendered.split(PLACEHOLDER)
        if len(after) != 1:
            raise ProfileError(
                self._path, f"its chat template gives the text {len(after)} times, expected once"
            )
        return before, after[0]


def find_chat_template(directory: Path) -> ChatTemplate | None:
    """Open the chat template of a model directory; None where it has none.

    It is in `chat_template.jinja`, `chat_template.json` or `tokenizer_config.json`.

    Raises:
        CheckpointError: a JSON file cannot be read.
        ProfileError: the template cannot be read, or is not valid Jinja.
    """
    config_path = directory / "tokenizer_config.json"
    config = _read_if_there(config_path)
    map_path = directory / "special_tokens_map.json"
    pieces = {
        name: content
        for name, said in (_read_if_there(map_path) | config).items()
        if name.endswith("_token")
        and isinstance(content := said.get("content") if isinstance(said, dict) else said, str)
    }
    path = directory / "chat_template.jinja"
    if path.exists():
        try:
            return ChatTemplate(path.read_text(encoding="utf-8"), path, pieces)
        except (OSError, UnicodeDecodeError) as exc:
            raise ProfileError(path, f"cannot be read: {exc}") from exc
    own_path = directory / "chat_template.json"
    for path, said in ((own_path, _read_if_there(own_path)), (config_path, config)):
        found = said.get("chat_template")
        if isinstance(found, list):  # several, by name
            both = [each for each in found if isinstance(each, dict)]
            found = {each.get("name"): each.get("template") for each in both}.get("default")
        if found is not None and not isinstance(found, str):
            raise ProfileError(path, f"chat_template is {found!r}, expected a string")
        if found:
            return ChatTemplate(found, path, pieces)
    return None


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_object(path) if path.exists() else {}


class _Generation(Extension):
    """`{% generation %}` marks an assistant's words for training; here it renders its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """Write JSON; jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
