"""The generated parts of the documentation: nothing that the sources have is left out."""

from dataclasses import fields
from pathlib import Path

from docs.generate import PARTS, on_page_markdown, protocol_reference, settings_table
from service.config import variables
from service.wire import protocol

DOCS = Path(__file__).parents[2] / "docs"


def test_every_event_and_each_of_its_fields_is_there() -> None:
    shown = protocol_reference()
    kinds: dict[str, type[protocol.ClientEvent | protocol.ServerEvent]]
    kinds = {**protocol.CLIENT_EVENTS, **protocol.SERVER_EVENTS}
    for name, kind in kinds.items():
        section = shown.split(f"### {name}\n")[1].split("\n### ")[0]
        for item in fields(kind):
            assert f"| `{item.name}` |" in section


def test_what_events_hold_is_described_once_and_linked() -> None:
    shown = protocol_reference()
    assert shown.count("### SessionParams {") == 1
    assert "| `session` | [SessionParams](#sessionparams) | **required** |" in shown
    assert "list of [TargetParams](#targetparams)" in shown
    assert "earlier sentence pairs that go along, 0 to 2" in shown  # the docstring's words


def test_every_setting_is_there_with_its_default() -> None:
    shown = settings_table()
    assert "| `TOKENSPEED_PORT` | `8000` |" in shown
    assert all(f"| `{variable.name}` |" in shown for variable, _ in variables())


def test_pages_name_the_parts_that_there_are() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    for name in PARTS:
        (page,) = [text for text in pages.values() if f"<!-- {name} -->" in text]
        assert "<!--" not in on_page_markdown(page)
