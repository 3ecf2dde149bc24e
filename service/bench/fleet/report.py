"""`tokenspeed bench fleet`: how many cards, what they cost, what fails; a result, a page, plots.

Reads the committed measurements of steps (`costs`) and of the processor (`bench host`), and runs
the scenarios. Or, given the result of a load test, simulates the same speakers.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from service.bench.fleet.curve import Curve, measure_door, measure_levels
from service.bench.fleet.plot import lines
from service.bench.fleet.replica import Host
from service.bench.fleet.scenarios import (
    PACKED,
    Demand,
    Row,
    beside_rows,
    capacity_row,
    compare_rows,
    day_rows,
    router_rows,
    zone_rows,
)
from service.bench.load.capacity import read_cost
from service.bench.load.costs import RESULTS, Card, h100_cards
from service.bench.load.simulator import BUDGET_MS, LinearCost
from tokenspeed.bench.page import cell, markdown_table, put_into_page
from tokenspeed.bench.result import describe_cpu, make_result, write_result

HOST: Final = RESULTS / "host.json"
DOOR_S: Final = 12.0  # to watch a door

_TABLES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    # Kind of row -> a heading, and key -> (title, format) of its columns.
    "capacity": (
        "One card",
        {
            "card": ("model", "{}"),
            "speakers": ("speakers a card, p95 in 200 ms", "{}"),
            "max_sessions": ("sessions at most", "{}"),
            "meant": ("meant for", "{}"),
            "p95_ms": ("p95 ms then", "{:.0f}"),
            "door": ("the door alone lets in", "{}"),
            "updates_per_s": ("updates a second and card", "{:.0f}"),
            "card_s_per_1000_updates": ("card-seconds for 1,000 updates", "{:.2f}"),
            "card_hours_per_1000_speaker_hours": ("card-hours for 1,000 speaker-hours", "{:.1f}"),
            "price_per_million_updates": ("price of a million updates", "{:.2f}"),
            "price_per_speaker_hour": ("price of a speaker-hour", "{:.4f}"),
        },
    ),
    "day": (
        "A day",
        {
            "card": ("model", "{}"),
            "most_speakers": ("most speakers", "{:,}"),
            "most_cards": ("most cards", "{:,}"),
            "mean_cards": ("cards on the average", "{:,.0f}"),
            "p95_ms": ("p95 ms of the day", "{:.0f}"),
            "worst_p95_ms": ("of the worst 30 s", "{:.0f}"),
            "late_share": ("late or without a line", "{:.3%}"),
            "refused": ("knocks refused", "{:,}"),
            "moved": ("speakers moved", "{:,}"),
            "card_hours_per_1000_speaker_hours": ("card-hours for 1,000 speaker-hours", "{:.1f}"),
            "price_per_speaker_hour": ("price of a speaker-hour", "{:.4f}"),
            "price_of_the_day": ("price of the day", "{:,.0f}"),
        },
    ),
    "zone": (
        "One zone of three is lost at the busiest time",
        {
            "card": ("model", "{}"),
            "fill": ("full before", "{:.0%}"),
            "cards": ("there were", "{:,}"),
            "lost_speakers": ("speakers cut off", "{:,}"),
            "back_95_s": ("95 % of them back after s", "{}"),
            "back_999_s": ("99.9 % back after s", "{}"),
            "p95_ms_before": ("p95 ms before", "{:.0f}"),
            "worst_late_share": ("late or without a line, worst half second", "{:.0%}"),
            "p95_ms_after": ("p95 ms at the end", "{:.0f}"),
            "refused": ("knocks refused", "{:,}"),
        },
    ),
    "router": (
        "Who chooses the replica",
        {
            "card": ("model", "{}"),
            "router": ("router", "{}"),
            "least_at_a_card": ("fewest speakers at a card", "{}"),
            "most_at_a_card": ("most", "{}"),
            "p95_ms": ("p95 ms", "{:.0f}"),
            "late_share": ("late or without a line", "{:.3%}"),
            "refused_share": ("refused knocks for each newcomer", "{:.3f}"),
        },
    ),
    "compare": (
        "The crowd beside the exact simulation",
        {
            "card": ("model", "{}"),
            "seed": ("seed", "{}"),
            "by": ("by", "{}"),
            "replicas": ("replicas", "{}"),
            "speakers": ("speakers", "{}"),
            "lost_speakers": ("cut off", "{}"),
            "away_after_2_s": ("without a line after 2 s", "{}"),
            "away_until_replaced": ("until there is another", "{}"),
            "late_before": ("late before", "{:.1%}"),
            "late_until_replaced": ("late until then", "{:.1%}"),
            "late_after": ("late afterwards", "{:.1%}"),
            "refused": ("knocks refused", "{}"),
        },
    ),
}


def run_fleet(options: argparse.Namespace) -> dict[str, Any]:
    """Run all scenarios for each card, or one comparison; write what was asked for.

    Raises:
        OSError: a result cannot be read or written.
        ValueError: a result or an option cannot be used.
    """
    host = read_host(options.host)
    if options.beside:
        return _run_beside(options, host)
    cards = h100_cards()
    if options.cards:
        unknown = sorted(set(options.cards) - cards.keys())
        if unknown:
            raise ValueError(f"cards are {', '.join(unknown)}, expected of {', '.join(cards)}")
        cards = {name: cards[name] for name in options.cards}
    demand = Demand(options.peak, options.trough, options.stay_s)
    rows: list[Row] = []
    asked = (host, demand, options.seconds, options.seed, options.seeds)
    with (
        # A process for each card: they are independent.
        ProcessPoolExecutor(len(cards), get_context("spawn")) as pool,
        tqdm(total=len(cards), leave=False) as progress,
    ):
        for more in pool.map(partial(card_rows, asked=asked), cards.values()):
            rows += more
            progress.update()
    for row in rows:
        add_prices(row, options.card_hour)
    about = {
        "about": "prediction by simulation; steps as measured on one H100, the processor as "
        "`tokenspeed bench host` measured it on its machine",
        "demand": asdict(demand),
        "host": asdict(host),
        "card_hour": options.card_hour,
        "seconds": options.seconds,
        "seed": options.seed,
        "budget_ms": BUDGET_MS,
    }
    result = about | make_result(rows, machine=describe_cpu(), packages=("numpy",))
    _write(result, options)
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        for name, text in plots(rows).items():
            (options.plots / name).write_text(text, encoding="utf-8")
    return result


def read_host(path: Path) -> Host:
    """Return the processor's times, from a result of `bench host`.

    That of the most expensive update, as with more speakers than the machine holds many are
    overtaken and cost less; and that of the engine's work for a step of eight sequences.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a result.
    """
    rows = json.loads(path.read_text(encoding="utf-8")).get("rows", [])
    loops = [row["ms_of_update"] for row in rows if "ms_of_update" in row]
    steps = [row["ms_of_step"] for row in rows if row.get("sequences") == 8]
    if not (loops and steps):
        raise ValueError(f"{path}: expected a result of `tokenspeed bench host`")
    return Host(round(max(loops), 3), round(steps[0], 4))


def fleet_tables(result: dict[str, Any]) -> str:
    """Return the tables of a result."""
    rows = result["rows"]
    if rows and "replicas" in rows[0] and "what" not in rows[0]:
        titles = " | ".join(rows[0]).replace("_", " ")
        cells = [[cell(value, "{:.4g}") for value in row.values()] for row in rows]
        return markdown_table(titles, "r" * len(rows[0]), cells)
    parts = [f"{result['date']}, commit {result['versions']['commit']}:", "", ""]
    parts[1] = f"    {result['command']}"
    for what, (heading, columns) in _TABLES.items():
        found = [row for row in rows if row["what"] == what]
        used = {key: form for key, form in columns.items() if any(key in row for row in found)}
        if found:
            titles = " | ".join(title for title, _ in used.values())
            aligned = "".join("l" if key in _TEXTS else "r" for key in used)
            cells = [[_cell(row, key, form) for key, (_, form) in used.items()] for row in found]
            parts += [f"### {heading}", "", markdown_table(titles, aligned, cells), ""]
    return "\n".join(parts)


def plots(rows: Sequence[Row]) -> dict[str, str]:
    """Return the plots by file name."""
    names = list(dict.fromkeys(row["card"] for row in rows))
    hours = [
        (name, [(row["at_s"] / 3600, row["cards"]) for row in _of(rows, "hour", card=name)])
        for name in names
    ]
    zone = [
        (
            f"{row['card'].partition(' ')[0]}, {row['fill']:.0%} full",
            [
                (tick["at_s"], 100 * tick["away"] / tick["speakers"])
                for tick in _of(rows, "zone tick", card=row["card"], fill=row["fill"])
            ],
        )
        for row in _of(rows, "zone")
    ]
    return {
        "fleet-day.svg": lines("Cards through a day", "hour of the day", "cards", hours),
        "fleet-zone.svg": lines("A zone of three is lost", "s", "% of speakers cut off", zone),
    }


_TEXTS: Final = frozenset(["card", "router", "by"])


def card_rows(card: Card, asked: tuple[Host, Demand, float, int, int]) -> list[Row]:
    """Return the rows of every scenario of a card.

    Args:
        asked: host, demand, seconds for each number of speakers, seed, number of exact
            simulations to compare with.
    """
    host, demand, seconds, seed, seeds = asked
    levels = measure_levels(card.cost, host, seconds, seed)
    curve = Curve(levels, host, seed)
    most = round(1.5 * curve.speakers_within_budget) + 4
    door, door_p95_ms = measure_door(card.cost, host, most, DOOR_S, seed)
    found: list[Row] = [
        capacity_row(card, curve, demand) | {"door": door, "door_p95_ms": round(door_p95_ms, 1)},
        *({"what": "level", "card": card.name, **level.numbers()} for level in levels),
        *day_rows(card, curve, demand, seed),
        *zone_rows(card, curve, demand, seed, demand.fill),
        *zone_rows(card, curve, demand, seed, PACKED),
        *router_rows(card, curve, demand, seed),
    ]
    for offset in range(seeds):
        found += compare_rows(card, curve, host, seed + offset)
    return found


def _run_beside(options: argparse.Namespace, host: Host) -> dict[str, Any]:
    measured = json.loads(options.beside.read_text(encoding="utf-8"))
    if not (options.cost or measured.get("cost")):
        raise ValueError(f"{options.beside} has no cost of a step: give --cost")
    cost = read_cost(options.cost) if options.cost else LinearCost(**measured["cost"])
    slower = options.slower
    cost = LinearCost(cost.base_ms * slower, cost.row_ms * slower, cost.context_ms * slower)
    host = Host(host.loop_ms * slower, host.step_ms * slower)
    rows = list(beside_rows(measured, cost, host, options.replicas, options.router))
    about = {
        "beside": {key: measured.get(key) for key in ("command", "date", "machine", "versions")},
        "cost": asdict(cost),
        "host": asdict(host),
        "slower": slower,
        "router": options.router,
    }
    result = about | make_result(rows, machine=describe_cpu(), packages=("numpy",))
    _write(result, options)
    return result


def _write(result: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        write_result(result, options.json)
    if options.page:
        put_into_page(options.page, options.json.name, fleet_tables(result))


def add_prices(row: Row, card_hour: float | None) -> None:
    """Add prices to a row, given the price of a card-hour."""
    if card_hour is None:
        return
    if "card_s_per_1000_updates" in row:
        seconds = 1000 * row["card_s_per_1000_updates"]
        row["price_per_million_updates"] = round(seconds / 3600 * card_hour, 4)
    if "card_hours_per_1000_speaker_hours" in row:
        hours = row["card_hours_per_1000_speaker_hours"] / 1000
        row["price_per_speaker_hour"] = round(hours * card_hour, 6)
    if "card_hours" in row:
        row["price_of_the_day"] = round(row["card_hours"] * card_hour, 2)


def _of(rows: Sequence[Row], what: str, **wanted: object) -> list[Row]:
    return [
        row
        for row in rows
        if row["what"] == what and all(row[key] == value for key, value in wanted.items())
    ]


def _cell(row: Row, key: str, form: str) -> str:
    value = row.get(key)
    return "–" if value is None else form.format(value)
