"""The tables about the default model are those of the committed result."""

import json

from tokenspeed.bench.pages.model_card import NAME, PAGES, ROOT, page, scores_of

RESULT = json.loads((ROOT / "benchmarks" / "results" / NAME).read_text(encoding="utf-8"))


def test_both_pages_hold_the_tables_of_the_result_file() -> None:
    made = page(RESULT).strip()
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        shown = text.split(f"<!-- {NAME} -->")[1].split(f"<!-- end {NAME} -->")[0].strip()
        assert shown == made, path.name


def test_scores_are_found_by_set_and_direction() -> None:
    found = scores_of(RESULT["runs"]["shipped"])
    assert {row["variant"] for row in found.values()} == {"whole"}
    for (name, direction), row in found.items():
        assert (row["set"], row["direction"]) == (name, direction)
