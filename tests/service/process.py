"""The service as a process of its own, as users run it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of the service, but for the given ones."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("TOKENSPEED_")}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


@contextmanager
def serving(
    model: Path, *program: str, options: Sequence[str] = (), **variables: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start `serve` on a free port; yield the process and the port once it is ready.

    Args:
        program: module, and arguments of its own, in place of `tokenspeed`.
        options: of `serve`.
    """
    module, *first = program or ("tokenspeed",)
    command = [sys.executable, "-m", module, *first]
    command += ["serve", "--model", str(model), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment(**variables)
    )
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
