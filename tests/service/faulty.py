"""`tokenspeed` with an engine that fails now and then: the first argument says how, as "step:7".

Faults begin once the service is ready; at its start, each would be one of the start.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import torch

from service.doors import state
from service.doors.server import Server
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.cli import main
from tokenspeed.engine.core import EngineCore

FAILURES: Final = 12  # then all goes well: each costs steps, and a slow machine has few
PAUSE_S: Final = 2.5
SLOW_S: Final = 1.0  # of a step, then the service is not ready here
HANGING_S: Final = 6.0  # of a step, then the process ends here
ERRORS: dict[str, Callable[[], BaseException]] = {
    "step": lambda: RuntimeError("injected"),
    "memory": MemoryError,
    "device": lambda: torch.OutOfMemoryError("injected"),
    "exit": lambda: SystemExit(3),
    "intake": lambda: RuntimeError("injected"),
    "late": lambda: RuntimeError("injected"),  # once the request is taken in
}
is_ready = False


def failing(method: Any, kind: str, each: int) -> Any:
    """Return a method of which each so many calls raise, a dozen times, or one takes its time."""
    count = 0

    def fail(*args: Any) -> Any:
        nonlocal count
        count += is_ready
        turn, between = divmod(count, each)
        if not is_ready or between or not 1 <= turn <= FAILURES:
            return method(*args)
        if kind == "late":
            method(*args)
        if kind in ERRORS:
            raise ERRORS[kind]()
        if turn == 1:
            time.sleep(PAUSE_S if kind == "pause" else 3600.0)
        return method(*args)

    return fail


def begin(startup: Any) -> Any:
    """Return how a server starts, after which there are faults."""

    async def start(*args: Any, **options: Any) -> None:
        global is_ready
        await startup(*args, **options)
        is_ready = True

    return start


if __name__ == "__main__":
    kind, _, number = sys.argv.pop(1).partition(":")
    owner, name = {
        "exit": (EngineCore, "step"),
        "intake": (EngineCore, "add"),
        "late": (EngineCore, "add"),
    }.get(kind, (CpuBackend, "step"))
    setattr(owner, name, failing(getattr(owner, name), kind, int(number)))
    Server.startup = begin(Server.startup)  # type: ignore[method-assign]
    if kind in ("hang", "pause"):
        state.SLOW_STEP_S = SLOW_S  # type: ignore[misc]
        state.HANGING_STEP_S = HANGING_S  # type: ignore[misc]
    sys.exit(main())
