"""`tokenspeed bench abuse`: a well-behaved speaker beside each attack, on a server of its own.

Measures how soon the speaker is answered, and how long the server's event loop serves nobody.
"""

import argparse
import asyncio
import json
import statistics
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from service.bench.captions.scores import percentile
from service.bench.load.attacks import ATTACKS as SESSION_ATTACKS
from service.bench.load.attacks import Attack, Outcome
from service.bench.load.door_attacks import DOOR_ATTACKS
from service.bench.load.http_attacks import HTTP_ATTACKS
from service.bench.load.victim import Report
from service.bench.served import Served, ServerFailed, serving
from tokenspeed.bench.kept import SERVICE, keep
from tokenspeed.bench.page import cell, markdown_table

LEAD_S: Final = 1.0  # of speech before the attack
LOOK_S: Final = 0.25  # between checks of the engine's queue
ATTACKS: Final[dict[str, Attack]] = SESSION_ATTACKS | DOOR_ATTACKS | HTTP_ATTACKS
NOTHING: Final = "nothing"  # in place of an attack: the speaker alone


@dataclass(slots=True)
class Abuse:
    """One attack and what it did to others.

    Attributes:
        most_waiting: most requests without a slot in the engine at one time.
        longest_stall_ms: longest turn of the event loop. longest_work_ms: most processor time of
            its thread in one turn.
        memory_mb: of the process, at the end.
    """

    attack: str
    outcome: Outcome
    victim: Report
    most_waiting: int
    longest_stall_ms: float
    longest_work_ms: float
    memory_mb: float

    def numbers(self) -> dict[str, Any]:
        """Return the numbers for a table or a file."""
        finals, probes = self.victim.finals, self.victim.probes
        return {
            "attack": self.attack,
            "sent": self.outcome.sent,
            "victim_finals": len(finals),
            "victim_lost": self.victim.lost,
            "victim_final_ms_p50": _rounded(percentile(finals, 0.5)),
            "victim_final_ms_p95": _rounded(percentile(finals, 0.95)),
            "livez_ms_p95": _rounded(percentile(probes, 0.95)),
            "longest_stall_ms": round(self.longest_stall_ms, 1),
            "longest_work_ms": round(self.longest_work_ms, 1),
            "most_waiting": self.most_waiting,
            "memory_mb": round(self.memory_mb),
            "attacker_closed": self.outcome.closed,
        }


def run_abuse(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run attacks one after another; return a row of each.

    Raises:
        ServerFailed: the server could not be started.
        OSError: a file cannot be written.
        ValueError: an attack is not known, or a page has no place for the table.
    """
    names = [NOTHING, *ATTACKS] if options.attacks is None else options.attacks.split(",")
    for name in names:
        if name != NOTHING and name not in ATTACKS:
            raise ValueError(f"attack {name!r} is none of {', '.join(ATTACKS)}")
    rows = asyncio.run(_run_all(names, options.model, options.device, options.seconds))
    about = {"seconds": options.seconds, **summary(rows)}
    keep(options, rows, abuse_table(rows), packages=SERVICE, about=about)
    return rows


async def _run_all(
    names: Sequence[str], model: Path, device: str, seconds: float
) -> list[dict[str, Any]]:
    rows = []
    for name in tqdm(names, leave=False):
        async with serving(model, device, ADMISSION="0") as server:
            rows.append((await attack(server, name, seconds)).numbers())
    return rows


async def attack(server: Served, name: str, seconds: float) -> Abuse:
    """Let a speaker speak and, after a moment, somebody attack."""
    victim = await _victim(server.address, LEAD_S + seconds)
    most: list[float] = [0.0]
    looking = asyncio.create_task(_watch_queue(server, most))
    try:
        await asyncio.sleep(LEAD_S)
        if name == NOTHING:
            outcome = Outcome()
        else:
            outcome = await ATTACKS[name](server.address, seconds)
        told, _ = await victim.communicate()
        if victim.returncode:
            raise ServerFailed(f"the speaker beside {name} failed")
        report = Report(**json.loads(told))
        stalls = await server.metrics()
    finally:
        looking.cancel()
        if victim.returncode is None:
            victim.terminate()
            await victim.wait()
    await asyncio.gather(looking, return_exceptions=True)
    return Abuse(
        name,
        outcome,
        report,
        most_waiting=int(max(most)),
        longest_stall_ms=stalls["tokenspeed_event_loop_longest_stall_seconds"] * 1e3,
        longest_work_ms=stalls["tokenspeed_event_loop_longest_work_seconds"] * 1e3,
        memory_mb=server.memory_mb(),
    )


async def _watch_queue(server: Served, seen: list[float]) -> None:
    while True:
        seen.append((await server.metrics())["tokenspeed_engine_waiting"])
        await asyncio.sleep(LOOK_S)


async def _victim(address: str, seconds: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.bench.load.victim", address, str(seconds), stdout=PIPE
    )


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a summary of all rows."""
    attacks = [row for row in rows if row["attack"] != NOTHING]
    stalls = [row["longest_stall_ms"] for row in attacks]
    return {
        "longest_stall_ms": max(stalls, default=0.0),
        "median_longest_stall_ms": statistics.median(stalls) if stalls else 0.0,
        "worst_victim_final_ms_p95": max(
            (r["victim_final_ms_p95"] or 0 for r in attacks), default=0
        ),
        "victim_lost": sum(row["victim_lost"] for row in attacks),
    }


def abuse_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a row for each attack, and a line that sums them up."""
    titles = " | ".join(rows[0]).replace("_", " ")
    cells = [
        [value if isinstance(value, str) else cell(value, "{:.4g}") for value in row.values()]
        for row in rows
    ]
    found = summary(rows)
    line = (
        f"Longest stall of the event loop: {found['longest_stall_ms']:.0f} ms, "
        f"{found['median_longest_stall_ms']:.0f} ms in the median attack; the speaker's finals: "
        f"p95 {found['worst_victim_final_ms_p95']:.0f} ms at the worst, "
        f"{found['victim_lost']} lost."
    )
    return markdown_table(titles, "l" + "r" * (len(rows[0]) - 1), cells) + "\n\n" + line


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 1)
