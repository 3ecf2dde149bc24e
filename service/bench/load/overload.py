"""`tokenspeed bench overload`: several times the speakers that the door takes, all let in.

First it finds out how many the door takes: speakers come one by one, until it has let nobody in
for a while.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from websockets.exceptions import WebSocketException

from service.bench.captions.scores import percentile
from service.bench.load.victim import SENTENCE, Report, speak
from service.bench.served import Served, serving
from tokenspeed.bench.kept import SERVICE, keep
from tokenspeed.bench.page import cell, markdown_table

ARRIVAL_S: Final = 0.3  # between speakers who come one by one
SETTLED_S: Final = 5.0  # without anybody let in, before the door counts as closed
STAYED_S: Final = 2.0  # to stay before a speaker counts as let in: refusals take time, too
LATE_S: Final = 5.0  # a final that takes longer is as bad as a lost one


@dataclass(slots=True)
class Overload:
    """What became of many speakers.

    Attributes:
        admitted: speakers that the door took.
        reports: one for each speaker.
        updates: revisions that were sent. longest_stall_ms: longest turn of the event loop.
    """

    admitted: int
    reports: list[Report]
    updates: int
    longest_stall_ms: float

    def numbers(self) -> dict[str, Any]:
        """Return the numbers for a table or a file."""
        finals = [ms for report in self.reports for ms in report.finals]
        return {
            "admitted": self.admitted,
            "speakers": len(self.reports),
            "finals": len(finals),
            "finals_lost": sum(report.lost for report in self.reports),
            "finals_late": sum(ms > LATE_S * 1e3 for ms in finals),
            "final_ms_p50": _rounded(percentile(finals, 0.5)),
            "final_ms_p95": _rounded(percentile(finals, 0.95)),
            "final_ms_max": _rounded(max(finals, default=float("nan"))),
            "closed": sum(report.closed is not None for report in self.reports),
            "updates": self.updates,
            "deltas": sum(report.partials for report in self.reports),
            "longest_stall_ms": round(self.longest_stall_ms, 1),
        }


def run_overload(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Find out how many the door takes, then let in many times as many.

    Raises:
        ServerFailed: the server could not be started.
        OSError: a file cannot be written.
        ValueError: a page has no place for the table.
    """
    rows = asyncio.run(_run(options))
    about = {"words_per_minute": options.words_per_minute, "seconds": options.seconds}
    keep(options, rows, overload_table(rows), packages=SERVICE, about=about)
    return rows


async def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    pace_s = 60 / options.words_per_minute
    async with serving(options.model, options.device, MAX_SESSIONS="1000") as server:
        admitted = await admitted_by(server, pace_s, options.max_speakers)
    rows = []
    for times in (1, options.times):
        rows.append(
            (
                await crowd(options.model, options.device, admitted, times, pace_s, options.seconds)
            ).numbers()
        )
    return rows


async def admitted_by(
    server: Served, pace_s: float, most: int, settled_s: float = SETTLED_S
) -> int:
    """Return how many speakers the door lets in before it lets in no more; `most` at most."""
    speaking: dict[asyncio.Task[Report], float] = {}  # since when
    largest, now_s = 0, time.perf_counter()
    grown_s = now_s
    try:
        while largest < most and now_s - grown_s < settled_s:
            speaking[asyncio.create_task(_knock(server.address, pace_s))] = now_s
            await asyncio.sleep(ARRIVAL_S)
            now_s = time.perf_counter()
            speaking = {task: at for task, at in speaking.items() if not task.done()}
            count = sum(now_s - at > STAYED_S for at in speaking.values())
            if count > largest:
                largest, grown_s = count, now_s
        return largest
    finally:
        for task in speaking:
            task.cancel()
        await asyncio.gather(*speaking, return_exceptions=True)


async def _knock(address: str, pace_s: float) -> Report:
    """Speak for ever if let in; otherwise return soon."""
    try:
        return await speak(address, 1e6, pace_s=pace_s)
    except (OSError, WebSocketException):  # refused before a word was said
        return Report()


async def crowd(
    model: Path, device: str, admitted: int, times: int, pace_s: float, seconds: float
) -> Overload:
    """Let in so many times the admitted speakers, and wait for all their finals."""
    count = max(admitted * times, 1)
    settings = {"ADMISSION": "0", "MAX_SESSIONS": str(count + 8)}
    async with serving(model, device, **settings) as server:

        async def one(number: int) -> Report:
            # Spread over a sentence, so that they do not all end theirs at one time.
            await asyncio.sleep(len(SENTENCE) * pace_s * number / count)
            return await speak(server.address, seconds, pace_s=pace_s)

        reports = await asyncio.gather(*(one(number) for number in range(count)))
        found = await server.metrics()
    longest_s = found["tokenspeed_event_loop_longest_stall_seconds"]
    updates = round(count * seconds / pace_s)
    return Overload(admitted, list(reports), updates, longest_s * 1e3)


def overload_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a row for each crowd."""
    titles = " | ".join(rows[0]).replace("_", " ")
    cells = [[cell(value, "{:.4g}") for value in row.values()] for row in rows]
    return markdown_table(titles, "r" * len(rows[0]), cells)


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 1)
