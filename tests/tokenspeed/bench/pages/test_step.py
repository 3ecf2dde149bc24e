"""The page of a step on a GPU: its figures and its picture are those of the committed results."""

import xml.etree.ElementTree as ElementTree

from tokenspeed.bench.pages.readme import ROOT, load
from tokenspeed.bench.pages.step import errors, picture, times

SVG = "{http://www.w3.org/2000/svg}"


def test_its_tables_are_those_of_the_results() -> None:
    page = (ROOT / "docs" / "step.md").read_text(encoding="utf-8")
    for name, table in (
        ("h100-launched-ahead.json", times),
        ("h200-two-gpus-one-kernel.json", errors),
    ):
        shown = page.split(f"<!-- {name} -->")[1].split(f"<!-- end {name} -->")[0]
        assert shown.strip() == table(load(name))


def test_its_picture_is_drawn_from_the_results_and_stays_inside() -> None:
    one_row = load("h100-one-row.json")
    (timeline,) = (one_row[key] for key in one_row if key.startswith("timeline"))
    drawn = picture(timeline)
    assert (ROOT / "docs" / "step.svg").read_text(encoding="utf-8") == drawn
    root = ElementTree.fromstring(drawn)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for box in root.iter(f"{SVG}rect"):
        x, y = float(box.attrib.get("x", 0)), float(box.attrib.get("y", 0))
        assert 0 <= x <= x + float(box.attrib["width"]) <= width
        assert 0 <= y <= y + float(box.attrib["height"]) <= height
