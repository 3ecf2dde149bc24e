"""`tokenspeed bench ray`: the same speakers on one process, and on replicas of Ray Serve.

What Serve's proxy adds to an update, and how many speakers each number of replicas holds: the most
whose p95 is within the budget. Replicas on one machine share its cores, so if cores are the
bottleneck two of them hold no more than one process with as many threads.
"""

import argparse
import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from service.bench.load.loadtest import Level, run_levels
from service.bench.served import running
from tokenspeed.bench.kept import keep
from tokenspeed.bench.page import cell, markdown_table


def run_on_ray(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure one process, then each number of replicas.

    Raises:
        ServerFailed: a server could not be started.
        ReplayFailed: every session of a level failed.
        OSError: a file cannot be written.
        ValueError: the levels cannot be used, or a page has no place for the table.
    """
    if options.seconds <= 0:
        raise ValueError(f"seconds are {options.seconds}, expected some")
    rows = []
    for replicas in (0, *options.replicas):
        levels = asyncio.run(_measure(options, replicas))
        rows += [_row(replicas, level, options.budget_ms) for level in levels]
    about = {
        "budget_ms": options.budget_ms,
        "words_per_minute": options.words_per_minute,
        "seconds": options.seconds,
        "cpus_per_replica": options.cpus_per_replica,
        "capacity": capacities(rows, options.budget_ms),
    }
    table = ray_table(rows, options.budget_ms)
    keep(options, rows, table, packages=("torch", "ray", "websockets", "uvicorn"), about=about)
    return rows


async def _measure(options: argparse.Namespace, replicas: int) -> list[Level]:
    """Return the levels on so many replicas, or on one process if that is 0."""
    program = ["tokenspeed", "serve"]
    if replicas:
        program += ["--ray", "--replicas", str(replicas)]
        program += ["--cpus-per-replica", str(options.cpus_per_replica)]
    async with running(program, options.model, options.device, _environment()) as served:
        told = argparse.Namespace(
            **vars(options),
            url=f"ws://{served.address}",
            source="en",
            target="de",
            stability="balanced",
            append_only=False,
            api_key=None,
        )
        return await run_levels(told)


def _environment() -> Mapping[str, str]:
    kept = {name: v for name, v in os.environ.items() if not name.startswith("TOKENSPEED_")}
    kept.pop("RAY_ADDRESS", None)  # start a cluster of its own
    return {**kept, "TOKENSPEED_LOG_LEVEL": "ERROR", "TOKENSPEED_ADMISSION": "0"}


def _row(replicas: int, level: Level, budget_ms: float) -> dict[str, Any]:
    return {"served_by": _name(replicas), "replicas": max(replicas, 1), **level.numbers(budget_ms)}


def _name(replicas: int) -> str:
    return "ray" if replicas else "process"


def capacities(rows: Sequence[Mapping[str, Any]], budget_ms: float) -> dict[str, int]:
    """Return the most sessions whose p95 was within the budget, before the first that was not."""
    found: dict[str, int] = {}
    late: set[str] = set()
    for row in rows:
        name = "process" if row["served_by"] == "process" else f"ray {row['replicas']}"
        p95 = row["update_ms_p95"]
        if p95 is None or p95 > budget_ms or row["failed_sessions"]:
            late.add(name)
        found.setdefault(name, 0)
        if name not in late:
            found[name] = row["sessions"]
    return found


def ray_table(rows: Sequence[Mapping[str, Any]], budget_ms: float) -> str:
    """Return a row for each level on each number of replicas, then the capacities."""
    names = ["served_by", "replicas", "sessions", "update_ms_p50", "update_ms_p95"]
    names += ["within_budget", "final_lag_ms_p95", "failed_sessions"]
    cells = [[row["served_by"], *(cell(row[name], "{:.3g}") for name in names[1:])] for row in rows]
    table = markdown_table(" | ".join(names).replace("_", " "), "l" + "r" * (len(names) - 1), cells)
    held = ", ".join(f"{name} {most}" for name, most in capacities(rows, budget_ms).items())
    return f"{table}\n\nSpeakers within {budget_ms:.0f} ms at p95: {held}"
