"""`tokenspeed eval text` and `eval plain`."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from tokenspeed.arguments import add_model_arguments, add_page_arguments, check_page
from tokenspeed.bench.kept import keep
from tokenspeed.bench.quality.sets import load_sets
from tokenspeed.bench.quality.text.cases import Case, Translate, case_table, run_cases
from tokenspeed.bench.quality.text.cost import cost_row, update_costs
from tokenspeed.bench.quality.text.field import field_cases
from tokenspeed.bench.quality.text.hygiene import hygiene_cases
from tokenspeed.bench.quality.text.numbers import number_cases
from tokenspeed.bench.quality.text.plain import plain_table, score_plain
from tokenspeed.bench.quality.text.trade import trade_cases
from tokenspeed.engine.loading import LoadedModel, load_engine
from tokenspeed.engine.translate import hygiene_of, translate
from tokenspeed.errors import told

# The sets by name. A new set is a function that returns its cases, and a line here.
SETS: Final[dict[str, Callable[[], list[Case]]]] = {
    "hygiene": hygiene_cases,
    "field": field_cases,
    "numbers": number_cases,
    "trade": trade_cases,
}
_AT_ONCE: Final = 64  # texts side by side


def add_text(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval text`."""
    add_model_arguments(parser)
    parser.add_argument("--sets", nargs="*", default=tuple(SETS), choices=tuple(SETS))
    parser.add_argument("--limit", type=int, default=0, help="cases to take of each set; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated numbers")
    add_page_arguments(parser)
    parser.set_defaults(run=run_text)


def run_text(options: argparse.Namespace) -> int:
    """Translate the cases with the model alone and as the product does; count what is right."""
    check_page(options)
    sets = SETS | {"numbers": partial(number_cases, seed=options.seed)}
    cases = [case for name in options.sets for case in sets[name]()[: options.limit or None]]
    model = load_engine(options.model, device=options.device)
    runs: dict[str, list[dict[str, Any]]] = {}
    try:
        for name, is_product in (("model alone", False), ("product", True)):
            with tqdm(total=len(cases), desc=name, unit=" texts", leave=False) as bar:
                runs[name] = run_cases(cases, _translator(model, bar, is_product=is_product))
        cost = cost_row(update_costs(cases, partial(hygiene_of, model)))
    finally:
        model.close()
    table = case_table(runs)
    print(table)
    print(f"hygiene, an update: p50 {cost['p50_ms']} ms, p95 {cost['p95_ms']} ms")
    rows = [row | {"through": name} for name, rows in runs.items() for row in rows]
    rows.append(cost | {"through": "product"})
    keep(options, rows, table, packages=("torch", "text2num"), is_of_model=True)
    return 0


def add_plain(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval plain`."""
    add_model_arguments(parser)
    parser.add_argument(
        "--corpus", type=Path, required=True, help="folder with test sets, NAME.en-xx.tsv"
    )
    parser.add_argument("--sets", nargs="*", default=(), help="names of sets (default: all)")
    parser.add_argument("--limit", type=int, default=0, help="lines to take of each set; 0: all")
    parser.add_argument(
        "--outputs", type=Path, help="write all lines that differ to this file, as text"
    )
    add_page_arguments(parser)
    parser.set_defaults(run=run_plain)


def run_plain(options: argparse.Namespace) -> int:
    """Translate the sets both ways, score and print."""
    check_page(options)
    with told(OSError):
        sets = load_sets(options.corpus, options.sets, (), options.limit)
    model = load_engine(options.model, device=options.device)
    scores, told_lines = [], []
    try:
        with tqdm(total=sum(len(s.sources) for s in sets), unit=" lines", leave=False) as bar:
            for test_set in sets:
                score, differing = score_plain(model, test_set, bar)
                scores.append(score)
                told_lines += differing
    finally:
        model.close()
    table = plain_table(scores)
    print(table)
    if options.outputs:
        options.outputs.write_text("\n".join(told_lines), encoding="utf-8")
    rows = [asdict(score) for score in scores]
    keep(options, rows, table, packages=("torch", "sacrebleu"), is_of_model=True)
    return 0


def _translator(model: LoadedModel, bar: Any, *, is_product: bool) -> Translate:
    def translated(texts: Sequence[str], source: str, target: str) -> list[str]:
        outputs = []
        for at in range(0, len(texts), _AT_ONCE):
            some = texts[at : at + _AT_ONCE]
            found = translate(model, some, source, target, is_alone=not is_product)
            outputs += [each.text for each in found]
            bar.update(len(some))
        return outputs

    return translated
