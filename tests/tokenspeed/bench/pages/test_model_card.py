"""The tables about the default model are those of the committed results."""

from tokenspeed.bench.pages.model_card import NAME, PAGES, load, scores_of


def test_the_pages_hold_the_tables_of_the_result_files() -> None:
    for path, name, made in PAGES:
        text = path.read_text(encoding="utf-8")
        shown = text.split(f"<!-- {name} -->")[1].split(f"<!-- end {name} -->")[0].strip()
        assert shown == made(load(name)).strip(), (path.name, name)


def test_scores_are_found_by_set_and_direction() -> None:
    found = scores_of(load(NAME)["runs"]["shipped"])
    assert {row["variant"] for row in found.values()} == {"whole"}
    for (name, direction), row in found.items():
        assert (row["set"], row["direction"]) == (name, direction)
