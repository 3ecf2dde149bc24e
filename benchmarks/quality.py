"""Put the shipped model's quality into pages: `python benchmarks/quality.py`.

Numbers come from `results/quality-default.json` alone; goals are those that the project set itself.
The model card's sentences are translated anew.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenspeed.bench.result import put_into_page

HERE = Path(__file__).parent
NAME = "quality-default.json"
PAGES = (HERE / "quality.md", HERE.parent / "tokenspeed" / "models" / "default" / "README.md")
GOALS = {  # BLEU, greedy, shipped precision
    ("tatoeba", "en-de"): 42, ("tatoeba", "en-fr"): 50, ("tatoeba", "en-es"): 50,
    ("multi30k-2016", "en-de"): 39, ("multi30k-2016", "en-fr"): 58,
    ("msctd-dialogue", "en-de"): 25, ("ted-talks", "en-de"): 20,
    ("newstest2014", "en-de"): 16, ("newstest2014", "en-fr"): 22,
}  # fmt: skip
Row = dict[str, Any]


def pick(rows: list[Row], **wanted: object) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def quality(rows: list[Row]) -> Iterator[str]:
    """Yield a table of every set and direction, with the goal where there is one."""
    yield "| set | direction | lines | BLEU | chrF | goal | BLEU, no case or punctuation |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for row in pick(rows, kind="quality", variant="whole"):
        name, direction = row["set"], row["direction"]
        (bare,) = pick(rows, kind="quality", variant="stripped", set=name, direction=direction)
        goal = GOALS.get((name, direction))
        verdict = f"{goal}, {'met' if row['bleu'] >= goal else 'missed'}" if goal else ""
        yield (
            f"| {name} | {direction} | {row['lines']:,} | {row['bleu']:.1f} | {row['chrf']:.1f} "
            f"| {verdict} | {bare['bleu']:.1f} |"
        )


def precision(rows: list[Row]) -> Iterator[str]:
    """Yield the same lines translated in other precisions, with the shipped one's difference."""
    found = pick(rows, kind="precision")
    kinds = (
        ("undistilled", "bf16-float"), ("undistilled", "int8-engine"),
        ("default", "int8-float"), ("default", "int8-engine"),
    )  # fmt: skip
    yield (
        "| set | direction | lines | earlier model: bf16, float32 products "
        "| int8, shipped engine | | this model: int8, float32 products | int8, shipped engine | |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    totals: list[tuple[float, float]] = []
    for first in pick(found, model=kinds[0][0], precision=kinds[0][1]):
        same = {key: first[key] for key in ("set", "direction", "lines")}
        a, b, c, d = (pick(found, model=m, precision=p, **same)[0]["bleu"] for m, p in kinds)
        totals.append((b - a, d - c))
        yield (
            f"| {' | '.join(map(str, same.values()))} | {a:.2f} | {b:.2f} | {b - a:+.2f} "
            f"| {c:.2f} | {d:.2f} | {d - c:+.2f} |"
        )
    means = [sum(column) / len(totals) for column in zip(*totals, strict=True)]
    yield f"| mean | | | | | {means[0]:+.2f} | | | {means[1]:+.2f} |"


def gains(rows: list[Row]) -> Iterator[str]:
    """Yield what distillation and a longer training gained, where there is a goal."""
    yield "| set | direction | lines | before | teacher | this model | |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for row in pick(rows, kind="quality", variant="whole"):
        same = {key: row[key] for key in ("set", "direction", "lines")}
        before, teacher = (
            pick(rows, kind="before", model=model, **same)[0]["bleu"]
            for model in ("undistilled", "teacher")
        )
        yield (
            f"| {' | '.join(map(str, same.values()))} | {before:.1f} | {teacher:.1f} "
            f"| {row['bleu']:.1f} | {row['bleu'] - before:+.1f} |"
        )


def unnamed(rows: list[Row]) -> Iterator[str]:
    """Yield what it costs not to name the source's language."""
    yield "| set | direction | lines | language named | `auto` | |"
    yield "|---|---|--:|--:|--:|--:|"
    for row in pick(rows, kind="auto"):
        same = {key: row[key] for key in ("set", "direction", "lines")}
        named = pick(rows, kind="precision", model="default", precision="int8-engine", **same)[0]
        cells = (*same.values(), named["bleu"], row["bleu"], f"{row['bleu'] - named['bleu']:+.2f}")
        yield f"| {' | '.join(map(str, cells))} |"


def prefixes(rows: list[Row]) -> Iterator[str]:
    """Yield how translations of prefixes stand to the translation of the whole."""
    yield "| set | direction | marked as open | prefixes | is a prefix | words that stand | ahead |"
    yield "|---|---|---|--:|--:|--:|--:|"
    for row in pick(rows, kind="prefix"):
        yield (
            f"| {row['set']} | {row['direction']} | {'yes' if row['marked'] else 'no'} "
            f"| {row['prefixes']:,} | {row['consistent']:.1%} | {row['standing']:.1%} "
            f"| {row['ahead']:.1%} |"
        )


def page(result: Row) -> str:
    """Return all tables with what made them."""
    rows = result["rows"]
    signature = pick(rows, kind="quality")[0]
    parts = [
        f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}. "
        f"sacreBLEU `{signature['bleu_signature']}`, `{signature['chrf_signature']}`.",
        "\n".join(quality(rows)),
        "What distillation and a training twice as long gained, BLEU:",
        "\n".join(gains(rows)),
        "The same lines in other precisions, BLEU (the first lines of each set):",
        "\n".join(precision(rows)),
        "Without the name of the source language, BLEU:",
        "\n".join(unnamed(rows)),
        "Every prefix of a sentence against the translation of the whole sentence. *Ahead* is by "
        "how much of the whole's length a prefix's translation exceeds the share said so far:",
        "\n".join(prefixes(rows)),
    ]
    return "\n\n".join(parts)


def translate_samples(card: str) -> str:
    """Return the model card with the translations of its sample sentences made anew."""
    head, rest = card.split("<!-- samples -->")
    samples, tail = rest.split("<!-- end samples -->")
    sections = []
    for section in re.split(r"(?=^### )", samples, flags=re.MULTILINE):
        if found := re.match(r"### (\w+) to (\w+)\n", section):
            sources = re.findall(r"^\| (?!source|-)(.*?) \|", section, flags=re.MULTILINE)
            command = [sys.executable, "-m", "tokenspeed", "translate"]
            command += ["--from", found[1], "--to", found[2]]
            made = subprocess.run(
                command, input="\n".join(sources), capture_output=True, text=True, check=True
            ).stdout.splitlines()
            rows = [f"| {a} | {b} |\n" for a, b in zip(sources, made, strict=True)]
            section = f"{found[0]}\n| source | translation |\n|---|---|\n{''.join(rows)}\n"
        sections.append(section)
    return f"{head}<!-- samples -->{''.join(sections)}<!-- end samples -->{tail}"


def main() -> None:
    """Fill the pages."""
    card = PAGES[1].read_text(encoding="utf-8")
    PAGES[1].write_text(translate_samples(card), encoding="utf-8")
    result = json.loads((HERE / "results" / NAME).read_text(encoding="utf-8"))
    for path in PAGES:
        put_into_page(path, NAME, page(result))


if __name__ == "__main__":
    main()
