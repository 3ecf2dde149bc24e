"""The page of a step on a GPU: its figures and its picture are those of the committed results."""

import xml.etree.ElementTree as ElementTree

from tokenspeed.bench.pages.readme import ROOT, load
from tokenspeed.bench.pages.step import TABLES, errors, picture

SVG = "{http://www.w3.org/2000/svg}"


def test_its_tables_are_those_of_the_results() -> None:
    page = (ROOT / "docs" / "step.md").read_text(encoding="utf-8")
    for name, table in TABLES.items():
        shown = page.split(f"<!-- {name} -->")[1].split(f"<!-- end {name} -->")[0]
        assert shown.strip() == table(load(name))


def test_errors_are_shown_of_what_there_is() -> None:
    row = {"largest_error": 0.12345, "rms_error": 0.01234, "same_best": 99, "clear": 200}
    of_graph = {"engine": "tokenspeed", "form": "fp8", "path": "graph"}
    rows = [of_graph | row, of_graph | row | {"path": "one kernel", "same_best": 0}]
    rows.append({"engine": "vllm", "form": "fp8", **row, "same_best": 200})
    *_, last = errors({"rows": rows}).splitlines()
    assert last == "| fp8 | 0.123, 0.0123, 49.5% | – | 0.123, 0.0123, 100.0% |"


def test_a_graph_and_one_kernel_have_the_same_bits_as_the_page_says() -> None:
    kernels = [row for row in load("h200-numerics.json")["rows"] if row.get("path") == "one kernel"]
    assert {row["form"] for row in kernels if row["equals_graph"]} == {"bf16", "int8", "int4"}


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
