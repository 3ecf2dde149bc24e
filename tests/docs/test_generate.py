"""The generated parts of the documentation: nothing that the sources have is left out."""

import re
from dataclasses import fields
from pathlib import Path

from docs.generate import PARTS, on_page_markdown, protocol_reference, settings_table
from service.config import variables
from service.wire import protocol
from tests.tokenspeed.model.test_prompt import UPDATES
from tokenspeed.model.profile import shipped_profiles

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
    assert "earlier sentence pairs for the model to see, 0 to 2" in shown  # the docstring's words


def test_every_setting_is_there_with_its_default() -> None:
    shown = settings_table()
    assert "| `TOKENSPEED_PORT` | `8000` |" in shown
    assert all(f"| `{variable.name}` |" in shown for variable, _ in variables())


def test_pages_name_the_parts_that_there_are() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    for name in PARTS:
        (page,) = [text for text in pages.values() if f"<!-- {name} -->" in text]
        assert f"<!-- {name} -->" not in on_page_markdown(page)


def test_each_profile_has_its_page_with_licence_memory_and_languages() -> None:
    for profile in shipped_profiles():
        if not profile.pairs:  # ours: they stand in the model's config.json
            continue
        text = PARTS[f"profile {profile.name}"]()
        assert profile.licence in text
        assert all(f"(`{code}`)" in text for code in profile.names)
        assert profile.wording("en", "de", text="TEXT", terms="") in text
        assert all(f"| {name} |" in text for name, _, _ in profile.sizes)
    # 9.15e9 parameters: 2 bytes each; in int8 but for the embedding of 0.52e9.
    assert "| 9B | 17.0 GiB | 9.0 GiB | 5.1 GiB |" in PARTS["profile eurollm"]()


def test_what_an_update_costs_is_what_the_test_counts() -> None:
    page = (DOCS / "model.md").read_text(encoding="utf-8")
    names = {"hy-mt": "HY-MT", "llama-3": "Llama 3", "eurollm": "EuroLLM", "generic": "ChatML"}
    for name, shown in names.items():
        again, last, *_ = UPDATES[name]
        assert re.search(rf"\| [^|\n]*{shown}[^|\n]* \| {again} \| {last} \|", page), name
