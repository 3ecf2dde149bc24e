"""Put the shipped model's quality into pages.

    python -m tokenspeed.bench.pages.model_card [FOLDER]

With a folder, first merge its measurements into `results/quality-default.json`: the files of
`tokenspeed eval quality --json`, named after what they measure (`shipped.json`, `bf16.json`, ...),
the `summary.json` of training runs as `FOLDER/training/NAME.json`, and rounds of `tokenspeed bench
engine --json` with shapes as `FOLDER/engine/NAME-ROUND.json`. The pages are made from the result
file only; the goals are the project's own. The model card's sentences are translated again.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenspeed.bench.page import describe_machine, markdown_table, put_into_page
from tokenspeed.bench.result import Row

ROOT = Path(__file__).parents[3]
NAME = "quality-default.json"
PAGES = (
    ROOT / "benchmarks" / "quality.md",
    ROOT / "tokenspeed" / "models" / "default" / "README.md",
)
GOALS = {  # BLEU, greedy, shipped precision
    ("tatoeba", "en-de"): 42,
    ("tatoeba", "en-fr"): 50,
    ("tatoeba", "en-es"): 50,
    ("multi30k-2016", "en-de"): 39,
    ("multi30k-2016", "en-fr"): 58,
    ("msctd-dialogue", "en-de"): 25,
    ("ted-talks", "en-de"): 20,
    ("newstest2014", "en-de"): 16,
    ("newstest2014", "en-fr"): 22,
}
# Into English at least the same.
GOALS |= {(name, "-".join(reversed(way.split("-")))): goal for (name, way), goal in GOALS.items()}
SHAPES = {"d4": "4 x 768", "d6": "6 x 640", "d10": "10 x 512", "d16": "16 x 384"}
Runs = dict[str, Row]


# ---- the result file ---------------------------------------------------------------------------


def collect(folder: Path) -> Row:
    """Merge the results of a folder."""
    runs: Runs = {}
    signatures: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        run["command"] = _without_paths(run["command"])
        for score in run["scores"]:
            signatures |= {score.pop("bleu_signature"), score.pop("chrf_signature")}
        runs[path.stem] = run
    trainings = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("training/*.json"))
    }
    speeds = {name: _best(sorted(folder.glob(f"engine/{name}-*.json"))) for name in SHAPES}
    return {
        "signatures": sorted(signatures),
        "runs": runs,
        "trainings": trainings,
        "speeds": speeds,
    }


def _best(paths: Sequence[Path]) -> Row:
    """Return the least of several rounds, which other users of the machine disturbed least."""
    rounds = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    names = {"inter_token_ms_min": "token_ms", "first_token_ms_p50": "first_token_ms"}
    found: Row = {
        f"{name}_{row['streams']}": min(other["rows"][i][key] for other in rounds)
        for i, row in enumerate(rounds[0]["rows"])
        for key, name in names.items()
    }
    about = {key: rounds[0][key] for key in ("machine", "date", "versions")}
    command = _without_paths(rounds[0]["command"])
    return {"rounds": len(rounds), **found, **about, "command": command}


def _without_paths(command: str) -> str:
    """Return a command with names in place of local folders."""
    words = command.split()
    names = {"--corpus": "TEST_SETS", "--model": "MODEL", "--json": "FILE", "--outputs": "FILE"}
    return " ".join(
        names.get(before, word) for before, word in zip(["", *words[:-1]], words, strict=True)
    )


def scores_of(run: Row, variant: str = "whole") -> dict[tuple[str, str], Row]:
    """Return the scores of a run in one variant, by set and direction."""
    return {(s["set"], s["direction"]): s for s in run["scores"] if s["variant"] == variant}


# ---- the tables --------------------------------------------------------------------------------


def set_rows(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield every set and direction, with its goal if there is one."""
    auto = scores_of(runs["shipped"], "auto")
    for key, row in scores_of(runs["shipped"]).items():
        goal = GOALS.get(key)
        verdict = f"{goal}, {'met' if row['bleu'] >= goal else 'missed'}" if goal else ""
        yield (
            *key,
            f"{row['lines']:,}",
            f"{row['bleu']:.1f}",
            f"{row['chrf']:.1f}",
            verdict,
            f"{auto[key]['bleu']:.1f}",
        )


def stripped(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield what a source without case and punctuation costs, in BLEU with and without those."""
    bare = scores_of(runs["shipped"], "stripped")
    for key, row in scores_of(runs["shipped"]).items():
        yield (
            *key,
            f"{row['bleu']:.1f}",
            f"{bare[key]['bleu']:.1f}",
            f"{bare[key]['bleu'] - row['bleu']:+.1f}",
            f"{row['bleu_words']:.1f}",
            f"{bare[key]['bleu_words']:.1f}",
            f"{bare[key]['bleu_words'] - row['bleu_words']:+.1f}",
        )


def gains(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield the default model before this one, the teacher, and this one."""
    before, teacher = (scores_of(runs[name]) for name in ("before", "teacher"))
    for key, row in scores_of(runs["shipped"]).items():
        three = [before[key]["bleu"], teacher[key]["bleu"], row["bleu"]]
        yield (*key, *(f"{bleu:.1f}" for bleu in three), f"{three[2] - three[0]:+.1f}")


def precision(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield bfloat16, by beam and greedy, beside what is shipped."""
    exact, beam, shipped = (scores_of(runs[name]) for name in ("bf16", "beam4", "shipped"))
    differences = []
    for key, row in exact.items():
        differences.append(shipped[key]["bleu"] - row["bleu"])
        three = (beam[key]["bleu"], row["bleu"], shipped[key]["bleu"])
        yield (*key, *(f"{bleu:.2f}" for bleu in three), f"{differences[-1]:+.2f}")
    yield ("mean", "", "", "", "", f"{sum(differences) / len(differences):+.2f}")


def prefixes(rows: Sequence[Row]) -> Iterator[tuple[object, ...]]:
    """Yield how translations of prefixes compare with the translation of the whole."""
    for row in rows:
        kind = "said to be open" if row["marked"] else "as if it were whole"
        yield (
            row["set"],
            row["direction"],
            kind + (", stripped" if row.get("stripped") else ""),
            f"{row['prefixes']:,}",
            f"{row['consistent']:.1%}",
            f"{row['standing']:.1%}",
            f"{row['ahead']:.1%}",
        )


def prefix_training(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield how often a prefix contradicts the final, with and without prefixes in training."""
    without, trained = (
        [r for r in runs[name]["prefixes"] if r["marked"] == marked and not r.get("stripped")]
        for name, marked in (("no-prefixes", False), ("shape-d10", True))
    )
    for row, other in zip(trained, without, strict=True):
        a, b = 1 - other["consistent"], 1 - row["consistent"]
        yield (
            row["set"],
            row["direction"],
            f"{row['prefixes']:,}",
            f"{a:.1%}",
            f"{b:.1%}",
            f"{b / a:.2f}",
            f"{other['ahead']:.1%}",
            f"{row['ahead']:.1%}",
        )


def shapes(result: Row) -> Iterator[tuple[object, ...]]:
    """Yield what models of equal size and different depth learn from the same batches."""
    for name, label in SHAPES.items():
        speed = result["speeds"][name]
        times = (speed["token_ms_1"], speed["token_ms_8"], speed["first_token_ms_1"])
        learnt: tuple[str, ...] = ("", "not trained", "")
        if training := result["trainings"].get(f"shape-{name}"):
            found = scores_of(result["runs"][f"shape-{name}"])
            mean = sum(row["bleu"] for row in found.values()) / len(found)
            millions = training["num_parameters"] / 1e6
            learnt = (f"{millions:.1f}M", f"{training['final_valid']:.3f}", f"{mean:.1f}")
        yield (label, *learnt, *(f"{ms:.2f} ms" for ms in times))


def address(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield how an English "you" is addressed, before and now."""
    before = {(r["set"], r["direction"]): r for r in runs["before"]["addresses"]}
    for row in runs["shipped"]["addresses"]:
        old = before[row["set"], row["direction"]]
        if row["formal"] + row["familiar"] >= 50:
            pairs = ((old, ""), (row, ""), (row, "reference_"))
            shares = (_share(r[p + "formal"], r[p + "familiar"]) for r, p in pairs)
            bleus = (f"{row['bleu_with']:.1f}", f"{row['bleu_without']:.1f}")
            yield (row["set"], row["direction"], row["lines"], *shares, *bleus)


def context(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield what changes with the previous sentence as context."""
    alone = scores_of(runs["context"])
    for key, row in scores_of(runs["context"], "context").items():
        yield (
            *key,
            f"{row['lines']:,}",
            f"{alone[key]['bleu']:.1f}",
            f"{row['bleu']:.1f}",
            f"{row['bleu'] - alone[key]['bleu']:+.1f}",
        )


def _share(part: int, rest: int) -> str:
    return f"{part / (part + rest):.0%}" if part + rest else ""


def page(result: Row) -> str:
    """Return all tables, and how they were made."""
    runs: Runs = result["runs"]
    shipped = runs["shipped"]
    signatures = ", ".join(f"`{signature}`" for signature in result["signatures"])
    made_on, taught_on, checked_on = (
        describe_machine(runs[name]["machine"]) for name in ("shipped", "teacher", "bf16")
    )
    steps = result["trainings"]["shape-d10"]["steps"]
    parts = [
        f"{made_on}, {shipped['date']}: the engine as users get it. sacreBLEU {signatures}.",
        markdown_table(
            "set | direction | lines | BLEU | chrF | goal | BLEU, language not named",
            "llrrrlr",
            list(set_rows(runs)),
        ),
        "Sources without case and punctuation, as recognisers give them. Which mark or capital the "
        "reference has cannot always be known; *words* leaves both out of what is scored:",
        markdown_table(
            "set | direction | BLEU | stripped source | | words | stripped source |",
            "llrrrrrr",
            list(stripped(runs)),
        ),
        f"The default model before this one, the teacher and this one, BLEU; the first two on "
        f"{taught_on}:",
        markdown_table(
            "set | direction | before | teacher | this model |", "llrrrr", list(gains(runs))
        ),
        f"Precision and search, BLEU; bfloat16 weights on {checked_on} with float32 products:",
        markdown_table(
            "set | direction | bf16, beam 4 | bf16, greedy | int8 as shipped, greedy | to bf16",
            "llrrrr",
            list(precision(runs)),
        ),
        "Every prefix of a sentence against the translation of the whole sentence. *Ahead* is by "
        "how much of the whole's length a prefix's translation exceeds the share said so far:",
        markdown_table(
            "set | direction | the source | prefixes | is a prefix | words that stand | ahead",
            "lllrrrr",
            list(prefixes(runs["prefixes"]["prefixes"])),
        ),
        f"The same model trained for {steps:,} steps without prefixes and with them: how often the "
        "translation of a prefix contradicts the final one.",
        markdown_table(
            "set | direction | prefixes | without | with | ratio | ahead, without | with",
            "llrrrrrr",
            list(prefix_training(runs)),
        ),
        f"Depth against width: the same {steps:,} batches, mean BLEU over the first 600 lines of "
        "tatoeba, multi30k-2016 and ted-talks, and the CPU engine at its best of "
        f"{result['speeds']['d10']['rounds']} rounds.",
        markdown_table(
            "layers x width | parameters | valid, nats a token | BLEU | a token | of 8 streams "
            "| first token",
            "lrrrrrr",
            list(shapes(result)),
        ),
        'Formal address among translations of an English "you" that show which it is:',
        markdown_table(
            "set | direction | lines with you | before | this model | references "
            "| BLEU, lines with you | BLEU, others",
            "llrrrrrr",
            list(address(runs)),
        ),
        "With the line before it, and its translation, as context, BLEU:",
        markdown_table(
            "set | direction | lines | alone | after the line before |",
            "llrrrr",
            list(context(runs)),
        ),
    ]
    return "\n\n".join(parts)


# ---- the model card ----------------------------------------------------------------------------


def translate_samples(card: str) -> str:
    """Return the model card with its sample sentences translated again."""
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
    """Merge results if a folder is named, then fill the pages."""
    path = ROOT / "benchmarks" / "results" / NAME
    if len(sys.argv) > 1:
        merged = json.dumps(collect(Path(sys.argv[1])), indent=1, ensure_ascii=False)
        path.write_text(merged + "\n", encoding="utf-8")
    card = PAGES[1].read_text(encoding="utf-8")
    PAGES[1].write_text(translate_samples(card), encoding="utf-8")
    result = json.loads(path.read_text(encoding="utf-8"))
    for target in PAGES:
        put_into_page(target, NAME, page(result))


if __name__ == "__main__":
    main()
