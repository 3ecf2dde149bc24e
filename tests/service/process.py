"""The service as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.forked import Forked

ROOT = Path(__file__).parents[2]
RunningProgram = subprocess.Popen[str] | Forked


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of the service, but for the given ones."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("TOKENSPEED_")}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def serving(
    model: Path, *program: str, options: Sequence[str] = (), **variables: str
) -> AbstractContextManager[tuple[RunningProgram, int]]:
    """Start `serve` on a free port; yield the process and the port once it is ready.

    Args:
        program: module, and arguments of its own, in place of `tokenspeed`.
        options: of `serve`.
    """
    return _ready(Forked(_command(model, program, options), environment(**variables)))


def serving_anew(
    model: Path, *, options: Sequence[str] = (), **variables: str
) -> AbstractContextManager[tuple[RunningProgram, int]]:
    """Start `serve` in an interpreter of its own, as users do; see `serving`."""
    command = [sys.executable, "-m", *_command(model, (), options)]
    given = environment(**variables)
    return _ready(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=given))


def _command(model: Path, program: Sequence[str], options: Sequence[str]) -> list[str]:
    served = ["serve", "--model", str(model), "--port", "0", *options]
    return [*(program or ("tokenspeed",)), *served]


@contextmanager
def _ready(process: RunningProgram) -> Iterator[tuple[RunningProgram, int]]:
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("TokenSpeed is ready on http://127.0.0.1:"), line
        yield process, int(line.split("127.0.0.1:")[1].split()[0])
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()
