"""`tokenspeed loadtest`: many speakers use a running service at once; how soon does it answer?

Open loop: a speaker keeps its pace whatever comes back. The clock is the client's, so the network
counts. Only for services on this machine, unless remote ones are allowed explicitly.
"""

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from tqdm import tqdm

from service.bench.captions.documents import Line, Update, word_by_word
from service.bench.captions.scores import percentile, share_within
from service.bench.captions.socket_replay import ReplayFailed, speak
from service.bench.captions.transcript import Transcript, update_times
from service.bench.load.capacity import read_cost
from service.bench.load.simulator import LinearCost, SimulatedLoad, Simulation, Traffic
from service.captions.policy import PRESETS
from service.wire.protocol import SessionParams, SessionUpdate, SourceParams, TargetParams
from tokenspeed.bench.kept import keep
from tokenspeed.bench.page import cell, markdown_table
from tokenspeed.model.config import EngineConfig

STAGGER_S: Final = 1.0  # within which the speakers of one level begin
PAUSE_BETWEEN_S: Final = 1.0  # levels
PATIENCE_S: Final = 15.0  # for the last finals, before a session counts as failed
EDGES_MS: Final = (10, 25, 50, 75, 100, 150, 200, 300, 500, 1000)
BAR: Final = 40  # characters of the longest bar

_LINES: Final = [
    Line(text, "")
    for text in (
        "Good evening, everybody, and welcome to the second part of our meeting.",
        "Before we begin, I would like to thank the people who made this possible.",
        "Last year we talked about the new station, and many of you had questions.",
        "Some asked when it will open, and others wanted to know what it will cost.",
        "I can tell you tonight that the first trains will leave in the spring.",
        "It has taken longer than we hoped, because the old bridge had to be repaired.",
        "Let me show you three pictures that were taken last week.",
        "In the first one you can see the entrance, which is nearly finished.",
        "The second shows the platform. There is still a lot of work to do.",
        "What I like best is the light that comes through the roof in the morning.",
        "If you would like to visit it, please write your name on the list at the door.",
        "We will also send a letter to everyone who lives nearby.",
        "Now I am happy to answer your questions, as long as there is time.",
        "Thank you very much for listening, and good night.",
    )
]


@dataclass(slots=True)
class Level:
    """What happened with one number of sessions; times in ms.

    Attributes:
        partials: of updates that needed a translation, those overtaken by a newer one included.
        coalesced: how many of them were overtaken.
        failures: failed sessions, by reason.
    """

    sessions: int
    partials: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    coalesced: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    predicted: SimulatedLoad | None = None

    @property
    def updates(self) -> list[float]:
        """Times of partials and finals."""
        return self.partials + self.finals

    def numbers(self, budget_ms: float) -> dict[str, Any]:
        """Return the numbers for a table or a file."""
        return {
            "sessions": self.sessions,
            "updates": len(self.updates),
            "update_ms_p50": _rounded(percentile(self.partials, 0.50)),
            "update_ms_p95": _rounded(percentile(self.partials, 0.95)),
            "update_ms_p99": _rounded(percentile(self.partials, 0.99)),
            "final_lag_ms_p95": _rounded(percentile(self.finals, 0.95)),
            "within_budget": _rounded(share_within(self.updates, budget_ms)),
            "coalesced": self.coalesced,
            "failed_sessions": sum(self.failures.values()),
            **self._prediction(),
        }

    def _prediction(self) -> dict[str, Any]:
        if self.predicted is None:
            return {}
        return {
            "predicted_update_ms_p95": _rounded(percentile(self.predicted.update_ms, 0.95)),
            "predicted_final_lag_ms_p95": _rounded(percentile(self.predicted.final_ms, 0.95)),
            "predicted_busy": _rounded(self.predicted.load),
        }


def run_load_test(options: argparse.Namespace) -> list[Level]:
    """Run one level after the other.

    Raises:
        ValueError: the address or the levels cannot be used.
        ReplayFailed: every session of a level failed.
        OSError: a file cannot be written.
    """
    check_address(options.url, options.allow_remote)
    if options.seconds <= 0:
        raise ValueError(f"seconds are {options.seconds}, expected some")
    cost = read_cost(options.cost) if options.cost else None
    levels = asyncio.run(run_levels(options))
    for level in levels:
        if cost is not None:
            level.predicted = simulate_level(cost, level.sessions, options)
    rows = [level.numbers(options.budget_ms) for level in levels]
    about = {
        "budget_ms": options.budget_ms,
        "words_per_minute": options.words_per_minute,
        "seconds": options.seconds,
        "stability": "append_only" if options.append_only else options.stability,
        "cost": None if cost is None else asdict(cost),
        "verifies": not options.unverified,
    }
    table = level_table(levels, options.budget_ms)
    keep(options, rows, table, packages=("torch", "numpy", "websockets", "uvicorn"), about=about)
    return levels


def simulate_level(cost: LinearCost, sessions: int, options: argparse.Namespace) -> SimulatedLoad:
    """Simulate the same speakers."""
    scripts = []
    rng = random.Random(sessions)
    for number in range(sessions):
        _, updates = script(options.seconds, options.words_per_minute, number)
        begin = rng.random() * STAGGER_S
        scripts.append([(begin + update.at_ms / 1e3, update.is_commit) for update in updates])
    traffic = Traffic(verifies=not options.unverified, overhead_ms=options.overhead_ms)
    config = EngineConfig()
    return Simulation(
        cost,
        scripts,
        traffic=traffic,
        num_slots=max(config.num_slots, sessions + 4),
        max_step_ms=config.max_step_ms,
    ).run()


def check_address(url: str, allow_remote: bool) -> None:
    """Refuse an invalid address, and other machines unless they are allowed.

    Raises:
        ValueError: the address cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"url is {url!r}, expected ws://host:port")
    try:
        is_local = ip_address(parts.hostname).is_loopback
    except ValueError:
        is_local = parts.hostname == "localhost"
    if not is_local and not allow_remote:
        raise ValueError(
            f"{parts.hostname} is not this machine; --allow-remote tests it all the same"
        )


def script(seconds: float, words_per_minute: float, seed: int) -> tuple[list[Line], list[Update]]:
    """Return what a speaker says: whole sentences, as many as fit the time, at least one."""
    order = random.Random(seed).sample(_LINES, len(_LINES))
    spoken: list[Line] = []
    updates: list[Update] = []
    while True:
        more = [*spoken, order[len(spoken) % len(order)]]
        longer = word_by_word(more, words_per_minute=words_per_minute)
        if spoken and longer[-1].at_ms > seconds * 1e3:
            return spoken, updates
        spoken, updates = more, longer


async def run_levels(options: argparse.Namespace) -> list[Level]:
    """Run one level after the other, without checking the address.

    Raises:
        ReplayFailed: every session of a level failed.
    """
    levels = []
    with tqdm(
        total=round(len(options.sessions) * options.seconds), unit="s", leave=False
    ) as progress:
        for count in options.sessions:
            progress.set_postfix_str(f"{count} sessions")
            ticking = asyncio.create_task(_tick(progress, options.seconds))
            levels.append(await _run_level(options, count))
            await ticking
            await asyncio.sleep(PAUSE_BETWEEN_S)
    return levels


async def _tick(progress: "tqdm[Any]", seconds: float) -> None:
    for _ in range(round(seconds)):
        await asyncio.sleep(1.0)
        progress.update()


async def _run_level(options: argparse.Namespace, count: int) -> Level:
    hello = SessionUpdate(
        SessionParams(
            source=SourceParams(options.source),
            targets=(TargetParams(options.target),),
            mode="append_only" if options.append_only else "captions",
            stability=options.stability,
            timing=True,
        )
    )
    api_key = options.api_key or os.environ.get("TOKENSPEED_API_KEY")
    begin = time.perf_counter() + STAGGER_S / 2
    rng = random.Random(count)

    async def one(number: int) -> Transcript:
        lines, updates = script(options.seconds, options.words_per_minute, number)
        at = begin + rng.random() * STAGGER_S
        limit = STAGGER_S * 2 + updates[-1].at_ms / 1e3 + PATIENCE_S
        speaking = speak(options.url, hello, lines, updates, at, api_key)
        return await asyncio.wait_for(speaking, limit)

    done = await asyncio.gather(*(one(i) for i in range(count)), return_exceptions=True)
    preset = PRESETS["append_only" if options.append_only else options.stability]
    level = Level(count)
    found_any = 0
    for outcome in done:
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            times = update_times(outcome, preset.min_source_words, has_partials=True)
        except (ReplayFailed, OSError, TimeoutError, ValueError) as exc:
            level.failures[str(exc) or type(exc).__name__] += 1
            continue
        found_any += 1
        level.partials.extend(times.partials)
        level.finals.extend(times.finals)
        level.coalesced += len(times.coalesced)
    if not found_any:
        raise ReplayFailed(
            f"no session of {count} went well: {level.failures.most_common(1)[0][0]}"
        )
    return level


def describe(levels: Sequence[Level], budget_ms: float) -> str:
    """Return a table of all levels, and a histogram of each."""
    parts = [level_table(levels, budget_ms)]
    for level in levels:
        parts += ["", f"{level.sessions} sessions, ms from an update to its translation:"]
        parts += histogram(level.updates)
        parts += [f"  {count} x {reason}" for reason, count in level.failures.most_common()]
    return "\n".join(parts)


def level_table(levels: Sequence[Level], budget_ms: float) -> str:
    """Return a row for each level."""
    numbers = [level.numbers(budget_ms) for level in levels]
    titles = " | ".join(numbers[0]).replace("_", " ")
    cells = [[cell(value, "{:.3g}") for value in row.values()] for row in numbers]
    return markdown_table(titles, "r" * len(numbers[0]), cells)


def histogram(values: Sequence[float]) -> list[str]:
    """Return a bar for each range of ms."""
    counts = [0] * (len(EDGES_MS) + 1)
    for value in values:
        counts[sum(value > edge for edge in EDGES_MS)] += 1
    most = max(*counts, 1)
    lines = []
    for i, count in enumerate(counts):
        label = f"<= {EDGES_MS[i]}" if i < len(EDGES_MS) else f"> {EDGES_MS[-1]}"
        lines.append(f"  {label:>7} {count:6} {'█' * round(BAR * count / most)}")
    return lines


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 3)
