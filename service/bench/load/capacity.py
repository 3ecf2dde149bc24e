"""Predicts how many speakers a machine holds, by simulation at a given or measured cost."""

import argparse
import time
from contextlib import closing
from dataclasses import asdict, dataclass

from service.bench.load.simulator import (
    BUDGET_MS,
    LinearCost,
    SimulatedLoad,
    Traffic,
    find_capacity,
    measure_cost,
)
from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.result import describe_cpu, make_result, write_result
from tokenspeed.engine.loading import backend_of
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


@dataclass(frozen=True)
class Prediction:
    """Runs with and without verification of the last hypothesis, by number of sessions."""

    cost: LinearCost
    verified: list[SimulatedLoad]
    plain: list[SimulatedLoad]

    @property
    def sessions(self) -> int:
        """The most that stayed within the budget; 0 if not even one did."""
        return most(self.verified)


def most(runs: list[SimulatedLoad]) -> int:
    """Return the largest number of sessions whose p95 stays within the budget."""
    return max((run.sessions for run in runs if run.is_within_budget), default=0)


def predict_capacity(options: argparse.Namespace) -> Prediction:
    """Simulate more and more speakers.

    Raises:
        CheckpointError: the model cannot be used.
        OSError: the result cannot be written.
        ValueError: the cost cannot be read.
    """
    cost = read_cost(options.cost) if options.cost else _measure(options)
    runs = {
        verifies: find_capacity(
            cost,
            seconds=options.seconds,
            max_sessions=options.max_sessions,
            seed=options.seed,
            max_step_ms=EngineConfig().max_step_ms,
            traffic=Traffic(
                updates_per_s=options.words_per_minute / 60,
                verifies=verifies,
                overhead_ms=options.overhead_ms,
            ),
        )
        for verifies in (True, False)
    }
    prediction = Prediction(cost, runs[True], runs[False])
    if options.json:
        rows = [_numbers(run) for run in prediction.verified]
        result = make_result(rows, machine=describe_cpu(), packages=("torch", "numpy"))
        result |= {
            "cost": asdict(cost),
            "overhead_ms": options.overhead_ms,
            "sessions": prediction.sessions,
            "sessions_without_verification": most(prediction.plain),
        }
        write_result(result, options.json)
    return prediction


def read_cost(text: str) -> LinearCost:
    """Read "base,row" or "base,row,context", in ms.

    Raises:
        ValueError: it is something else.
    """
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (2, 3) or min(parts) < 0:
        raise ValueError(f"cost is {text!r}, expected BASE,ROW or BASE,ROW,CONTEXT in ms")
    return LinearCost(*parts)


def capacity_table(prediction: Prediction) -> str:
    """Return the runs as a table, with the result."""
    cost = prediction.cost
    cells = [
        (
            run.sessions,
            run.requests,
            f"{run.p95_ms:.0f}",
            f"{run.within_budget:.1%}",
            run.steps,
            f"{run.load:.0%}",
        )
        for run in prediction.verified
    ]
    lines = [
        f"A step costs {cost.base_ms:.3f} ms + {cost.row_ms:.4f} a row "
        f"+ {cost.context_ms * 1000:.4f} for 1000 positions.",
        "",
        markdown_table("sessions | updates | p95 ms | in 200 ms | steps | busy", "r" * 6, cells),
        "",
        f"{prediction.sessions} speakers at p95 <= {BUDGET_MS:.0f} ms; "
        f"{most(prediction.plain)} without verification.",
    ]
    return "\n".join(lines)


def _numbers(run: SimulatedLoad) -> dict[str, float]:
    return {
        "sessions": run.sessions,
        "updates": run.requests,
        "p95_ms": round(run.p95_ms, 2),
        "within_200": round(run.within_budget, 4),
        "steps": run.steps,
        "busy": round(run.load, 4),
    }


def _measure(options: argparse.Namespace) -> LinearCost:
    config = EngineConfig(num_slots=2)
    with closing(backend_of(options.device)(open_checkpoint(options.model), config)) as backend:
        return measure_cost(backend, time.perf_counter)
