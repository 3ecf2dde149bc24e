"""Figures that pages tell in words, and tables of quality, are those of the committed results."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service.bench.captions.confidence_tables import confidence_tables
from service.bench.captions.preset_grid import preset_tables
from service.bench.captions.retention import retention_table
from service.bench.captions.rows import policy_tables
from service.bench.captions.untouched import untouched_table
from service.captions.policy import PRESETS
from tokenspeed.bench.pages.model_card import scores_of
from tokenspeed.bench.quality.text.cases import case_table
from tokenspeed.bench.quality.text.plain import PlainScore, plain_table
from tokenspeed.bench.result import describe_model

Rows = list[dict[str, Any]]

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tokenspeed/models/default"


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
    return found


def text_of(page: str) -> str:
    return " ".join((ROOT / page).read_text().split())


def level(served_by: str, replicas: int, sessions: int) -> dict[str, Any]:
    wanted = (served_by, replicas, sessions)
    rows = result("ray")["rows"]
    (found,) = [r for r in rows if (r["served_by"], r["replicas"], r["sessions"]) == wanted]
    return found


def test_what_one_process_holds() -> None:
    text = text_of("deploy/README.md")
    held, (overload, *_) = result("ray")["capacity"]["process"], result("overload")["rows"]
    many = next(row for row in result("room")["rows"] if row["readers"] == 1000)
    for said in (
        f"one process answers {held} speakers with {level('process', 1, held)['update_ms_p95']:.0f}"
        " ms at p95 ([`ray.json`]",
        f"it admits {overload['admitted']} before updates would be late ([`overload.json`]",
        f"1,000 readers of a room get each frame within {many['frame_ms_p95']:.0f} ms at p95"
        " ([`room.json`]",
    ):
        assert said in text, said


def test_what_replicas_cost_and_hold() -> None:
    text = text_of("deploy/ray/README.md")

    def pair(*of: Any) -> str:
        return f"{level(*of)['update_ms_p50']:.0f} and {level(*of)['update_ms_p95']:.0f}"

    one, ray, three = (("process", 1), ("ray", 1), ("ray", 3))
    added = [
        level(*ray, sessions)["update_ms_p50"] - level(*one, sessions)["update_ms_p50"]
        for sessions in (8, 24)
    ]
    capacity = result("ray")["capacity"]
    (lost,) = result("replicas")["rows"]
    assert lost["lines_lost"] == lost["resumed"]
    assert not any(lost[name] for name in ("forgotten", "finals_lost", "finals_twice", "gaps"))
    assert not any(lost[name] for name in ("reader_finals_lost", "reader_finals_twice"))
    for said in (
        f"one process {pair(*one, 8)} with 8 speakers, {pair(*one, 24)} with 24",
        f"one replica {pair(*ray, 8)}, {pair(*ray, 24)}",
        f"three replicas on the same cores {pair(*three, 8)}, {pair(*three, 24)}",
        f"Serve adds {min(added):.0f} to {max(added):.0f} ms at the median",
        f"Within 200 ms at p95 one process holds {capacity['process']} speakers, one replica"
        f" {capacity['ray 1']}, two and three {capacity['ray 2']}",
        f"all {lost['lines_lost']} lost lines found their session again, after"
        f" {lost['recovery_ms_p95'] / 1e3:.1f} s at p95",
    ):
        assert said in text, said
    assert capacity["ray 2"] == capacity["ray 3"]


@cache
def shipped() -> dict[str, str]:
    return describe_model(MODEL)


def cases_of(rows: Rows) -> str:
    """Return the table of `eval text`: both ways, without what hygiene costs."""
    of = [row for row in rows if "passed" in row]
    ways = dict.fromkeys(row["through"] for row in of)
    return case_table({way: [row for row in of if row["through"] == way] for way in ways})


@pytest.mark.parametrize(
    ("page", "name", "table"),
    [
        ("text.md", "text", cases_of),
        ("text.md", "plain", lambda rows: plain_table([PlainScore(**row) for row in rows])),
        ("text.md", "untouched", untouched_table),
        ("streaming.md", "streaming-policies", policy_tables),
        ("streaming.md", "streaming-socket", policy_tables),
        ("streaming.md", "streaming-terms", retention_table),
        ("streaming.md", "streaming-confidence", confidence_tables),
        ("streaming.md", "streaming-presets", preset_tables),
    ],
)
def test_a_table_of_quality_holds_the_rows_of_its_file(
    page: str, name: str, table: Callable[[Rows], str]
) -> None:
    text = (ROOT / "benchmarks" / page).read_text()
    shown = text.split(f"<!-- {name}.json -->")[1].split(f"<!-- end {name}.json -->")[0]
    assert shown.strip() == table(result(name)["rows"]).strip()


@pytest.mark.parametrize(
    "name",
    ["text", "text-seed-2026", "plain", "untouched", "streaming-policies",
     "streaming-terms", "streaming-confidence", "streaming-presets"],
)  # fmt: skip
def test_quality_was_measured_with_the_weights_that_ship(name: str) -> None:
    assert result(name)["model"] == shipped()


def captions(policy: str) -> Rows:
    """Return a policy's rows: of each set word by word, then of each as it is rewritten."""
    of = [row for row in result("streaming-policies")["rows"] if row["policy"] == policy]
    return sorted(of, key=lambda row: row["trace"] != "words")


def listed(form: str, values: Sequence[float]) -> str:
    return ", ".join(form.format(value) for value in values)


def test_goals_of_captions() -> None:
    text = text_of("benchmarks/streaming.md")
    balanced, low, plain, offline = map(captions, ("balanced", "low", "retranslation", "offline"))
    taken = [row["erasure"] for row in balanced]
    off = [row["chrf"] - best["chrf"] for row, best in zip(balanced, offline, strict=True)]
    steps = [
        listed("{:.2f}x", [a["steps_per_update"] / b["steps_per_update"] for a, b in pairs])
        for pairs in (zip(of[:3], plain[:3], strict=True) for of in (balanced, low))
    ]
    load, again = (
        next(row for row in result(f"loadtest-{name}")["rows"] if row["sessions"] == 4)
        for name in ("balanced", "retranslation")
    )
    lags = [f"{row['laal_words']:.1f}" for row in balanced[:3]]
    for said in (
        f"word by word {listed('{:.2f}', taken[:3])}; rewriting recogniser"
        f" {listed('{:.2f}', taken[3:])} |",
        f"word by word {listed('{:+.1f}', off[:3])}; rewriting {listed('{:+.1f}', off[3:])} |",
        f"`balanced` {steps[0]}; `low` {steps[1]} |",
        "p95 of an update, 4 speakers at 3 updates/s, 2 cores | 200 ms |"
        f" {load['update_ms_p95']:.0f} ms |",
        f"final lag p95, same load | 200 ms | {load['final_lag_ms_p95']:.0f} ms |",
        f"update {again['update_ms_p95']:.0f} ms, final {again['final_lag_ms_p95']:.0f} ms |",
        f"plain re-translation {plain[0]['erasure']:.2f} for each word of a talk",
        f"lags by {lags[0]} source words in talks",
        f"{lags[1]} in dialogues",
        f"{lags[2]} in filmed talks",
    ):
        assert said in text, said
    assert not any(row["erasure"] for row in captions("append_only"))


def test_the_presets_of_the_grid_are_those_that_ship() -> None:
    assert result("streaming-presets")["presets"] == {
        name: asdict(preset) for name, preset in PRESETS.items()
    }


def test_what_is_said_of_right_text() -> None:
    text = text_of("benchmarks/text.md")
    rows = result("text")["rows"]
    of_product = [row for row in rows if "passed" in row and row["through"] == "product"]
    total = {
        name: sum(row["total"] for row in of_product if row["kind"].startswith(f"{name}/"))
        for name in ("hygiene", "field", "numbers", "trade")
    }
    (cost,) = [row for row in rows if row["kind"] == "cost/update"]
    anew = [row for row in result("text-seed-2026")["rows"] if row["kind"].startswith("numbers/")]
    passed, asked = (
        sum(row[name] for row in anew if row["through"] == "product")
        for name in ("passed", "total")
    )
    plain = result("plain")["rows"]
    for said in (
        f"**hygiene**: {total['hygiene']} ordinary",
        f"**field**: {total['field']} texts",
        f"**numbers**: {total['numbers']:,} generated",
        f"**trade**: {total['trade']} sentences",
        # Shares are rounded down, so that only all is 100 %.
        f"{math.floor(1000 * passed / asked) / 10} % right there ({passed:,})",
        f"{cost['p50_ms']:.2f} ms of one core in the median and {cost['p95_ms']:.2f} ms at p95",
        f"{cost['updates']:,} updates",
        f"Of {sum(row['lines'] for row in plain):,} lines"
        f" {sum(row['differ'] for row in plain):,} differ",
    ):
        assert said in text, said


def test_what_the_model_alone_makes_of_numbers() -> None:
    text = text_of("docs/numbers.md")
    alone = [row for row in result("text")["rows"] if row["through"] == "model alone"]
    right = []
    for kind in ("numbers/", "field/numbers and times"):
        of = [row for row in alone if row["kind"].startswith(kind)]
        right.append(sum(row["passed"] for row in of) * 100 // sum(row["total"] for row in of))
    assert f"{right[0]} of 100 generated sentences" in text
    assert f"{right[1]} of 100 texts with numbers and times" in text


def test_what_is_said_of_the_default_model() -> None:
    text = text_of("benchmarks/quality.md")
    made = result("quality-default")
    before, now = (scores_of(made["runs"][name]) for name in ("before", "shipped"))
    gains = {
        unit: [row[unit] - before[place][unit] for place, row in now.items()]
        for unit in ("bleu", "chrf")
    }
    better = {unit: sum(gain > 0 for gain in of) for unit, of in gains.items()}
    gained = [gain for gain in gains["bleu"] if gain > 0]
    registers = result("quality-registers")["rows"]
    mean = statistics.fmean(row["bleu"] - row["bleu_before"] for row in registers)
    assert all(row["bleu"] > row["bleu_before"] for row in registers)
    talks = [
        100 * (1 - row["consistent"])
        for row in made["runs"]["prefixes"]["prefixes"]
        if row["set"] == "ted-talks" and row["marked"] and not row["stripped"]
    ]
    for said in (
        f"{better['bleu']} of {len(now)} figures are better, by {min(gained):.1f} to"
        f" {max(gained):.1f} BLEU, {better['chrf']} of {len(now)} by chrF",
        f"on the talks {talks[0]:.0f} and {talks[1]:.0f} % contradict the whole",
        f"All {len(registers)} figures are better, {mean:.1f} BLEU in the mean",
        *(f" {row['bleu_before']:.1f} → {row['bleu']:.1f} |" for row in registers),
    ):
        assert said in text, said


def test_what_the_default_model_is() -> None:
    card = text_of("tokenspeed/models/default/README.md")
    shape = json.loads((MODEL / "config.json").read_text())
    training = result("quality-default")["trainings"]["default"]
    stored = sum(path.stat().st_size for path in MODEL.glob("*.safetensors"))
    for said in (
        f"{training['num_parameters'] / 1e6:.1f} million parameters",
        f"as int8 ({stored / 2**20:.0f} MiB)",
        f"{shape['num_hidden_layers']} layers, hidden {shape['hidden_size']},"
        f" {shape['num_attention_heads']} heads, {shape['num_key_value_heads']} KV heads,"
        f" intermediate {shape['intermediate_size']:,}, vocabulary {shape['vocab_size']:,}",
        f"{training['elapsed_s']:.0f} s from there, {training['steps']:,} steps,"
        f" {training['tokens'] / 1e9:.2f} billion tokens",
        f"{training['final_valid']:.3f} nats per target token",
    ):
        assert said in card, said
