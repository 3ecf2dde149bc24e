"""Markdown tables and SVG plots from result files, for `tokenspeed bench report`.

Reads only what is in the files; never measures, never rounds a goal into reach.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from tokenspeed.bench.page import cell, describe_machine, markdown_table
from tokenspeed.bench.result import Row

_COLUMNS = (
    ("engine", "engine", "{}"),
    ("shape", "model", "{}"),
    ("dtype", "weights", "{}"),
    ("streams", "streams", "{}"),
    ("first_token_ms_p50", "first token ms", "{:.2f}"),
    ("inter_token_ms_p50", "token p50 ms", "{:.3f}"),
    ("inter_token_ms_p95", "token p95 ms", "{:.3f}"),
    ("bandwidth_share", "share of bandwidth", "{:.0%}"),
    ("memory_mib", "memory MiB", "{:.0f}"),
    ("start_s", "start s", "{:.1f}"),
)


def read_results(paths: Iterable[Path]) -> list[Row]:
    """Read result files, oldest date first.

    Raises:
        ValueError: a file is not a result.
    """
    results = []
    for path in paths:
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as exc:
            raise ValueError(f"{path}: not JSON: {exc}") from exc
        if not isinstance(result, dict) or "rows" not in result:
            raise ValueError(f"{path}: expected an object with rows")
        results.append(result)
    return sorted(results, key=lambda result: str(result.get("date")))


def result_table(result: Row) -> str:
    """Return a heading that makes the numbers repeatable, and the table of token times."""
    rows = [row for row in result["rows"] if "inter_token_ms_p50" in row]
    used = [column for column in _COLUMNS if any(row.get(column[0]) is not None for row in rows)]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"{describe_machine(result['machine'])}; {result['date']}; {versions}",
        "",
        f"    {result['command']}",
        "",
        markdown_table(
            " | ".join(title for _, title, _ in used),
            "l" * len(used),
            [[cell(row.get(key), form, "") for key, _, form in used] for row in rows],
        ),
    ]
    return "\n".join(lines) + "\n"


def bars(title: str, unit: str, values: Sequence[tuple[str, float]]) -> str:
    """Return horizontal bars as an SVG, readable on light and dark pages."""
    row, left, width = 26, 230, 760
    largest = max(value for _, value in values)
    height = 44 + row * len(values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="13" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="10" y="22" font-size="15" fill="#888">{escape(title)}, {escape(unit)}</text>',
    ]
    for i, (label, value) in enumerate(values):
        y = 40 + row * i
        length = max(1.0, (width - left - 80) * value / largest)
        parts += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="#888">'
            f"{escape(label)}</text>",
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" fill="#3a86c8"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 13}" fill="#888">{value:.3g}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def token_bars(results: Iterable[Row]) -> str:
    """Return the times between tokens with one stream as bars, from each model's last row."""
    latest = {
        f"{row.get('shape') or row.get('model')} {row['dtype']}": float(row["inter_token_ms_p50"])
        for result in results
        for row in result["rows"]
        if row.get("streams") == 1 and "inter_token_ms_p50" in row
    }
    return bars("Time between tokens, one stream, p50", "ms", list(latest.items()))


def write_report(paths: Sequence[Path], into: Path) -> Path:
    """Write `tables.md` and `tokens.svg` from result files.

    Returns:
        The path of the tables.
    Raises:
        ValueError: a file is not a result, or there are none.
    """
    results = read_results(paths)
    if not results:
        raise ValueError("no result files, expected at least one")
    into.mkdir(parents=True, exist_ok=True)
    (into / "tokens.svg").write_text(token_bars(results), encoding="utf-8")
    tables = into / "tables.md"
    text = "\n".join(result_table(result) for result in results)
    tables.write_text("![time between tokens](tokens.svg)\n\n" + text, encoding="utf-8")
    return tables
