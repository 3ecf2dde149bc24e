"""Tables in Markdown, and putting them into pages. Needs no other package."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def markdown_table(titles: str, aligned: str, rows: Iterable[Sequence[object]]) -> str:
    """Return a table.

    Args:
        titles: separated by bars, "set | lines".
        aligned: l or r for each column.
        rows: their cells.
    """
    rule = "".join("---|" if side == "l" else "--:|" for side in aligned)
    body = (f"| {' | '.join(map(str, row))} |" for row in rows)
    return "\n".join([f"| {titles} |", f"|{rule}", *body])


def cell(value: object, form: str, absent: str = "–") -> str:
    """Return a value in a format such as "{:.1f}", or `absent` for None."""
    return absent if value is None else form.format(value)


def put_into_page(page: Path, name: str, text: str) -> None:
    """Replace what is between the marks of a result file in a page.

    Args:
        name: of the result file; the marks are `<!-- NAME -->` and `<!-- end NAME -->`.
    Raises:
        ValueError: the page has no such marks.
        OSError: the page cannot be read or written.
    """
    before = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    head, found_begin, rest = before.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{page} has no {begin} ... {end}")
    page.write_text(f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}", encoding="utf-8")


def describe_machine(machine: dict[str, Any] | str) -> str:
    """Return one line about a machine of a result file."""
    if isinstance(machine, str):
        return machine
    parts = [str(machine[key]) for key in ("gpu", "cpu") if key in machine]
    if "read_tb_per_s" in machine:
        parts.append(f"reads {machine['read_tb_per_s']} TB/s measured")
    return ", ".join(parts)
