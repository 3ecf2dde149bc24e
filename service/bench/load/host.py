"""Processor time around the engine's steps: of the event loop, and of the engine's own thread.

On a GPU the model leaves the processor alone, so these costs remain: for the default model they
decide how many speakers a process holds.
"""

import argparse
import asyncio
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from service.bench.load.costs import MeasuredCost
from service.bench.load.loadtest import run_load_test, script
from service.bench.load.simulator import (
    BUDGET_MS,
    END,
    FIRST_WORD,
    NUM_WORDS,
    ToyBackend,
    toy_prompt,
    toy_translation,
)
from service.bench.served import Served, serving
from tokenspeed.backends import Step
from tokenspeed.bench.manual_engine import ManualEngine, SimulatedClock
from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.result import describe_cpu, make_result, write_result
from tokenspeed.engine.request import Request

WORDS: Final = 20  # in a toy sentence
CHANGED: Final = 3  # ids at the end of a draft that are rejected
ROUNDS: Final = 40


@dataclass(frozen=True, slots=True)
class LoopCost:
    """Processor time of the event loop's thread while so many speakers spoke.

    Attributes:
        updates: that they sent. ms_of_update: processor time for each, everything included.
        p95_ms: of the updates, as the speakers measured it.
    """

    speakers: int
    updates: int
    ms_of_update: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class StepCost:
    """Processor time of the engine's thread for a step of so many sequences, less the model's."""

    sequences: int
    ms_of_step: float


def run_host(options: argparse.Namespace) -> tuple[list[LoopCost], list[StepCost]]:
    """Measure event loop and steps.

    Raises:
        ServiceError: the service did not start, or a session failed.
        OSError: the result cannot be written.
    """
    loops = asyncio.run(_measure_loop(options))
    steps = [measure_steps(count) for count in (1, 4, 8, 16, 32)]
    if options.json:
        rows: list[dict[str, Any]] = [*map(asdict, loops), *map(asdict, steps)]
        result = make_result(rows, machine=describe_cpu(), packages=("torch", "websockets"))
        write_result({"seconds": options.seconds} | result, options.json)
    return loops, steps


def host_table(loops: list[LoopCost], steps: list[StepCost]) -> str:
    """Return both as tables."""
    parts = (
        markdown_table(
            "speakers | updates | event loop, ms an update | update p95 ms",
            "rrrr",
            [(each.speakers, each.updates, f"{each.ms_of_update:.2f}", f"{each.p95_ms:.1f}")
             for each in loops],
        ),
        "",
        markdown_table(
            "sequences | engine's thread, ms a step besides the model",
            "rr",
            [(each.sequences, f"{each.ms_of_step:.3f}") for each in steps],
        ),
    )  # fmt: skip
    return "\n".join(parts)


def measure_steps(sequences: int) -> StepCost:
    """Time the scheduler and the engine's bookkeeping, with a toy translator for a model."""
    clock = SimulatedClock()
    device = _Timed(MeasuredCost((1, 64), (2.0, 4.0)), clock, num_slots=64)
    engine = ManualEngine(device, eos_token_ids=[END], max_step_ms=60.0, clock=clock)
    rng = random.Random(0)
    took_s = 0.0
    for _ in range(ROUNDS):
        for number in range(sequences):
            words = [rng.randrange(FIRST_WORD, NUM_WORDS) for _ in range(WORDS)]
            expected = toy_translation(words, is_open=True)
            request = Request(
                prompt=toy_prompt(words, is_open=True),
                draft=(*expected[:-CHANGED], *range(CHANGED)),
                max_new_tokens=2 * WORDS,
                deadline_s=clock() + 0.2,
                key=number,
                client=number,
            )
            engine.submit(request, lambda tokens, ending: None)
        before_s = time.thread_time()
        engine.run_until_idle()
        took_s += time.thread_time() - before_s
    steps = engine.stats().steps
    engine.close()
    return StepCost(sequences, 1e3 * (took_s - device.took_s) / steps)


class _Timed(ToyBackend):
    """Measures the time that it takes itself."""

    took_s = 0.0

    def step(self, batch: Step) -> Any:
        before_s = time.thread_time()
        answers = super().step(batch)
        self.took_s += time.thread_time() - before_s
        return answers


async def _measure_loop(options: argparse.Namespace) -> list[LoopCost]:
    found = []
    for speakers in options.speakers:
        async with serving(options.model, options.device, ADMISSION="0") as served:
            before_s = _loop_s(served)
            asked = _load_test(options, served, speakers)
            levels = await asyncio.to_thread(run_load_test, asked)
            took_s = _loop_s(served) - before_s
        updates = sum(
            len(script(options.seconds, asked.words_per_minute, number)[1])
            for number in range(speakers)
        )
        p95_ms = levels[0].numbers(asked.budget_ms)["update_ms_p95"]
        found.append(LoopCost(speakers, updates, 1e3 * took_s / updates, p95_ms))
    return found


def _load_test(options: argparse.Namespace, served: Served, speakers: int) -> argparse.Namespace:
    """Return the options of `tokenspeed loadtest`."""
    return argparse.Namespace(
        url=f"ws://{served.address}",
        sessions=[speakers],
        seconds=options.seconds,
        source="en",
        target="de",
        stability="balanced",
        append_only=False,
        words_per_minute=options.words_per_minute,
        budget_ms=BUDGET_MS,
        api_key=None,
        allow_remote=False,
        cost=None,
        unverified=False,
        json=None,
        page=None,
    )


def _loop_s(served: Served) -> float:
    """Return the processor time of the process's first thread, which runs the event loop."""
    stat = Path(f"/proc/{served.pid}/task/{served.pid}/stat").read_text()
    fields = stat.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
