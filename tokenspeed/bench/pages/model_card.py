"""Put the shipped model's quality into pages.

    python -m tokenspeed.bench.pages.model_card [FOLDER]

With a folder, first merge what was measured there into `results/quality-default.json`: the files of
`tokenspeed eval quality --json`, named by what they are of (`shipped`, on all lines; `variants`,
with other variants of the sources; `prefixes`), or by one set and direction of `shipped`
(`shipped.tatoeba.en-de.json`), and the `summary.json` of training runs in
`FOLDER/training/NAME.json`. What shipped before is `before`, from the file as it was. The pages
come from the result files alone; goals are those that the project set itself. The model card's
sentences are translated anew.

What was measured on the model before, and not again, is in `results/earlier/quality-default.json`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenspeed.bench.page import describe_machine, markdown_table, put_into_page
from tokenspeed.bench.result import Row

ROOT = Path(__file__).parents[3]
NAME, EARLIER = "quality-default.json", "earlier/quality-default.json"
RESULTS = ROOT / "benchmarks" / "results"
QUALITY = ROOT / "benchmarks" / "quality.md"
CARD = ROOT / "tokenspeed" / "models" / "default" / "README.md"
GOALS = {  # BLEU, greedy, shipped precision
    ("tatoeba", "en-de"): 43,
    ("tatoeba", "en-fr"): 50,
    ("tatoeba", "en-es"): 52,
    ("multi30k-2016", "en-de"): 42.5,
    ("multi30k-2016", "en-fr"): 62.5,
    ("ted-talks", "en-de"): 24,
    ("ted-talks", "de-en"): 31,
    ("wmt24-speech", "en-de"): 25,
    ("wmt24-speech", "en-es"): 38,
    ("newstest2014", "en-de"): 24,
    ("newstest2014", "en-fr"): 34,
    ("newstest2013", "en-es"): 31,
}
SHAPES = {"d4": "4 x 768", "d6": "6 x 640", "d10": "10 x 512", "d16": "16 x 384"}
Runs = dict[str, Row]


# ---- the result file ---------------------------------------------------------------------------


def collect(folder: Path, shipped_before: Row) -> Row:
    """Merge the results of a folder; `shipped_before` is the run of the model before."""
    runs: Runs = {"before": shipped_before}
    signatures: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        names = {"--sets": "SET", "--directions": "DIRECTION"} if "." in path.stem else {}
        run["command"] = _without_paths(run["command"], names)
        for score in run["scores"]:
            signatures |= {score.pop("bleu_signature"), score.pop("chrf_signature")}
        name = path.stem.partition(".")[0]
        if name not in runs:
            runs[name] = run
            continue
        for kind in ("scores", "prefixes", "addresses"):
            runs[name][kind] += run[kind]
        runs[name]["seconds"] = round(runs[name]["seconds"] + run["seconds"], 1)
    order = {key: i for i, key in enumerate(scores_of(shipped_before))}
    runs["shipped"]["scores"].sort(key=lambda s: order[s["set"], s["direction"]])
    trainings = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("training/*.json"))
    }
    return {"signatures": sorted(signatures), "runs": runs, "trainings": trainings}


def _without_paths(command: str, names: dict[str, str]) -> str:
    """Return a command with names in the place of somebody's folders, and of other arguments."""
    words = command.split()
    names |= {"--corpus": "TEST_SETS", "--model": "MODEL", "--json": "FILE", "--outputs": "FILE"}
    return " ".join(
        names.get(before, word) for before, word in zip(["", *words[:-1]], words, strict=True)
    )


def scores_of(run: Row, variant: str = "whole") -> dict[tuple[str, str], Row]:
    """Return the scores of a run in one variant, by set and direction."""
    return {(s["set"], s["direction"]): s for s in run["scores"] if s["variant"] == variant}


# ---- the tables --------------------------------------------------------------------------------


def set_rows(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield every set and direction beside the model before, with the goal where there is one."""
    before = scores_of(runs["before"])
    for key, row in scores_of(runs["shipped"]).items():
        goal, old = GOALS.get(key), before[key]
        verdict = f"{goal}, {'met' if row['bleu'] >= goal else 'missed'}" if goal else ""
        yield (
            *key,
            f"{row['lines']:,}",
            f"{old['bleu']:.1f}",
            f"{row['bleu']:.1f}",
            f"{row['bleu'] - old['bleu']:+.1f}",
            f"{old['chrf']:.1f}",
            f"{row['chrf']:.1f}",
            verdict,
        )


def variants(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield what it costs not to name the language, or a source without case and punctuation."""
    run, before = runs["variants"], scores_of(runs["before"], "stripped")
    bare, auto = scores_of(run, "stripped"), scores_of(run, "auto")
    for key, row in scores_of(run).items():
        yield (
            *key,
            f"{row['lines']:,}",
            f"{row['bleu']:.1f}",
            f"{auto[key]['bleu']:.1f}",
            f"{bare[key]['bleu']:.1f}",
            f"{before[key]['bleu']:.1f}",
            f"{row['bleu_words']:.1f}",
            f"{bare[key]['bleu_words']:.1f}",
            f"{bare[key]['bleu_words'] - row['bleu_words']:+.1f}",
        )


def prefixes(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield how often a prefix contradicts the whole, and how much of it is said, before and now.

    A contradiction is a translation that is no beginning of the whole's.
    """
    old = {_prefix_key(row): row for row in runs["before"]["prefixes"]}
    for row in runs["prefixes"]["prefixes"]:
        before = old.get(_prefix_key(row))
        if before is None or not row["marked"]:
            continue
        yield (
            row["set"],
            row["direction"],
            "stripped" if row.get("stripped") else "as written",
            f"{row['prefixes']:,}",
            *(f"{1 - r['consistent']:.1%}" for r in (before, row)),
            *(f"{r['ahead']:.1%}" for r in (before, row)),
        )


def _prefix_key(row: Row) -> tuple[object, ...]:
    return (row["set"], row["direction"], row["marked"], bool(row.get("stripped")))


def precision(runs: Runs) -> Iterator[tuple[object, ...]]:
    """Yield bfloat16, greedy and by beam, beside what is shipped."""
    exact, beam, shipped = (scores_of(runs[name]) for name in ("bf16", "beam4", "shipped"))
    differences = []
    for key, row in exact.items():
        differences.append(shipped[key]["bleu"] - row["bleu"])
        three = (beam[key]["bleu"], row["bleu"], shipped[key]["bleu"])
        yield (*key, *(f"{bleu:.2f}" for bleu in three), f"{differences[-1]:+.2f}")
    yield ("mean", "", "", "", "", f"{sum(differences) / len(differences):+.2f}")


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
    """Yield what the sentence before, given as context, changes."""
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
    """Return the tables of the model that ships with what made them."""
    runs: Runs = result["runs"]
    shipped = runs["shipped"]
    signatures = ", ".join(f"`{signature}`" for signature in result["signatures"])
    where = f"{describe_machine(shipped['machine'])}, {shipped['date']}"
    parts = [
        f"{where}: the engine as users get it, all lines of each set. sacreBLEU {signatures}.",
        markdown_table(
            "set | direction | lines | BLEU before | BLEU | | chrF before | chrF | goal",
            "llrrrrrrl",
            list(set_rows(runs)),
        ),
    ]
    if "variants" in runs:
        parts += [
            "The source's language not named, and sources without case and punctuation, as "
            "recognisers give them. Which mark or capital the reference has cannot always be "
            "known; *words* leaves both out of what is scored:",
            markdown_table(
                "set | direction | lines | BLEU | not named | stripped | stripped, before | words "
                "| words, stripped |",
                "llrrrrrrrr",
                list(variants(runs)),
            ),
        ]
    if "prefixes" in runs:
        parts += [
            "Every prefix of the first sentences, said to be open, against the translation of the "
            "whole sentence: how often it contradicts that. *Ahead* is by how much of the whole's "
            "length a prefix's translation exceeds the share said so far:",
            markdown_table(
                "set | direction | source | prefixes | contradict, before | now | ahead, before "
                "| now",
                "lllrrrrr",
                list(prefixes(runs)),
            ),
        ]
    parts += [
        'Formal address among translations of an English "you" that show which it is:',
        markdown_table(
            "set | direction | lines with you | before | this model | references "
            "| BLEU, lines with you | BLEU, others",
            "llrrrrrr",
            list(address(runs)),
        ),
    ]
    return "\n\n".join(parts)


def page_before(result: Row) -> str:
    """Return what was measured on the model before this one, and not again."""
    runs: Runs = result["runs"]
    steps = result["trainings"]["shape-d10"]["steps"]
    parts = [
        f"Precision and search, BLEU; bfloat16 weights on "
        f"{describe_machine(runs['bf16']['machine'])} with float32 products:",
        markdown_table(
            "set | direction | bf16, beam 4 | bf16, greedy | int8 as shipped, greedy | to bf16",
            "llrrrr",
            list(precision(runs)),
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
        "With the line before it, and its translation, as context, BLEU:",
        markdown_table(
            "set | direction | lines | alone | after the line before |",
            "llrrrr",
            list(context(runs)),
        ),
    ]
    return "\n\n".join(parts)


PAGES: tuple[tuple[Path, str, Callable[[Row], str]], ...] = (
    (QUALITY, NAME, page),
    (CARD, NAME, page),
    (QUALITY, EARLIER, page_before),
)


# ---- the model card ----------------------------------------------------------------------------


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
    """Merge results where a folder is named, then fill the pages."""
    if len(sys.argv) > 1:
        before = load(NAME)["runs"]["before"]
        merged = json.dumps(collect(Path(sys.argv[1]), before), indent=1, ensure_ascii=False)
        (RESULTS / NAME).write_text(merged + "\n", encoding="utf-8")
    card = CARD.read_text(encoding="utf-8")
    CARD.write_text(translate_samples(card), encoding="utf-8")
    for target, name, made in PAGES:
        put_into_page(target, name, made(load(name)))


def load(name: str) -> Row:
    """Return a result file."""
    found: Row = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    main()
