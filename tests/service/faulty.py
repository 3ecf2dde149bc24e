"""`tokenspeed` with an engine that fails now and then: the first argument says how, as "step:7"."""

import sys
from collections.abc import Callable
from typing import Any

import torch

from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.cli import main
from tokenspeed.engine.core import EngineCore
from tokenspeed.engine.engine import Engine

ERRORS: dict[str, Callable[[], BaseException]] = {
    "step": lambda: RuntimeError("injected"),
    "memory": MemoryError,
    "device": lambda: torch.OutOfMemoryError("injected"),
    "exit": lambda: SystemExit(3),
    "intake": lambda: RuntimeError("injected"),
}


FAILURES = 12  # then all goes well: each costs steps, and a slow machine has few


def failing(method: Any, kind: str, each: int) -> Any:
    """Return a method of which each so many calls raise, a dozen times."""
    count = 0

    def fail(*args: Any) -> Any:
        nonlocal count
        count += 1
        turn, between = divmod(count, each)
        if not between and 1 < turn <= FAILURES + 1:  # the first steps are those of the start
            raise ERRORS[kind]()
        return method(*args)

    return fail


if __name__ == "__main__":
    kind, _, number = sys.argv.pop(1).partition(":")
    if kind == "exit":
        EngineCore.step = failing(EngineCore.step, kind, int(number))  # type: ignore[method-assign]
    elif kind == "intake":
        Engine._take_in = failing(Engine._take_in, kind, int(number))  # type: ignore[method-assign]
    else:
        CpuBackend.step = failing(CpuBackend.step, kind, int(number))  # type: ignore[method-assign]
    sys.exit(main())
