"""Our own programs, started by a fork of a process that has imported them already.

Importing torch and the service takes two seconds of a processor, and tests start about a hundred
servers. The first start in a pytest worker begins a process that imports what `serve` needs and
then only forks (`multiprocessing`'s fork server). Each child gets its own arguments, environment
and pipes, and runs its module as `python -m` does. Tests about starting itself, or about what is
imported, start an interpreter of their own.
"""

import asyncio
import atexit
import ctypes
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).parents[1]
PRELOADED: Final = "tests.preloaded"
_PR_SET_PDEATHSIG: Final = 1  # of prctl(2)


class _Program:
    """A running program: who it is, and how it is ended."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Of the program."""
        assert self._process.pid is not None
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Forked(_Program):
    """A running program, as `subprocess.Popen` has it.

    Args:
        program: module and arguments.
        environment: all its variables.

    Attributes:
        stdout: what it writes.
        returncode: once it has been seen to have ended; minus the signal that ended it.
    """

    def __init__(self, program: Sequence[str], environment: Mapping[str, str]) -> None:
        process, reader = start(program, environment)
        super().__init__(process)
        self.returncode: int | None = None
        self.stdout: IO[str] = os.fdopen(reader, encoding="utf-8")

    def poll(self) -> int | None:
        """Return the exit code, if it has ended."""
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0.0)
        return code


class ForkedAsync(_Program):
    """A running program, as `asyncio.subprocess.Process` has it; see `Forked`.

    Attributes:
        stdout: what it writes.
    """

    def __init__(self, process: ForkServerProcess, stdout: asyncio.StreamReader) -> None:
        super().__init__(process)
        self.stdout = stdout
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(process.sentinel, self._end)

    @classmethod
    async def start(cls, program: Sequence[str], environment: Mapping[str, str]) -> "ForkedAsync":
        """Start a module with arguments."""
        process, reader = start(program, environment)
        stdout = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(reader, "rb")
        )
        return cls(process, stdout)

    def _end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._ended.set()

    @property
    def returncode(self) -> int | None:
        """The exit code, once it has ended."""
        return self._process.exitcode

    async def wait(self) -> int:
        """Return the exit code."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


def start(program: Sequence[str], environment: Mapping[str, str]) -> tuple[ForkServerProcess, int]:
    """Start a module with arguments.

    Returns:
        Its process, and a descriptor to read what it writes.
    """
    reader, writer = os.pipe()
    given = list(program), dict(environment), os.getcwd(), _Descriptor(writer), _Descriptor(2)
    # Daemonic: what a failed test has left is ended with this process.
    process = context().Process(target=_run, args=given, daemon=True)
    try:
        process.start()
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return process, reader


@cache
def context() -> ForkServerContext:
    """Return what forks processes from one that has imported torch and the service."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([PRELOADED])
    # Started elsewhere it would find nothing of ours, and say so nowhere: each child would import.
    with chdir(ROOT):
        forkserver.ensure_running()
    return found


class _Descriptor:
    """An open file that a child gets as well: it arrives as a number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _arrived, (DupFd(self._number),)


def _arrived(passed: Any) -> int:
    number: int = passed.detach()
    return number


def _run(
    program: list[str], environment: dict[str, str], folder: str, stdout: int, stderr: int
) -> None:
    """Be that program, in a child."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The fork server ends with the process that tests run in, and its children with it: once none
    # of them holds the pipe any more which multiprocessing hands to all.
    assert forkserver._forkserver._forkserver_alive_fd is not None  # type: ignore[attr-defined]
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
    for given, number in ((stdout, 1), (stderr, 2)):
        os.dup2(given, number)
        os.close(given)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    random.seed()
    # A program may have children of its own; multiprocessing would forbid it.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    module, *sys.argv[1:] = program
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
