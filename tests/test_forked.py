"""Programs that are forked are as others: arguments, environment, output, exit code, signals."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import ROOT, Forked, ForkedAsync

SCRIPT = """
import os, random, sys, time
print(sys.argv[1:], os.environ.get("GIVEN"), os.environ.get("HOME"), random.random(), flush=True)
print([name for name in ("torch", "tests.service.process") if name in sys.modules], __name__)
sys.stdout.flush()
if sys.argv[1] == "wait":
    time.sleep(60)
sys.exit(int(sys.argv[2]))
"""

# What tests run in, in a folder from which nothing of ours can be imported. It preloads little.
TESTS = """
import os, sys, time
sys.path[:0] = sys.argv[1:]
from tests import forked
forked.PRELOADED = "tests.service.process"
waiting = forked.Forked(["says", "wait", "0"], dict(os.environ))
waiting.stdout.readline()
print(waiting.stdout.readline(), end="")
print(waiting.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that says what it got."""
    (tmp_path / "says.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    return "says"


def test_it_gets_what_it_is_given(program: str) -> None:
    programs = [Forked([program, "end", str(code)], {"GIVEN": "x"}) for code in (0, 7)]
    said = [each.stdout.read().splitlines() for each in programs]
    for each in programs:
        each.stdout.close()
    assert [each.wait(20) for each in programs] == [0, 7]
    assert [each.returncode for each in programs] == [0, 7]
    assert said[0][0].startswith("['end', '0'] x None 0.")
    assert said[1][0].startswith("['end', '7'] x None 0.")
    assert said[0][0].split()[-1] != said[1][0].split()[-1]  # each draws its own
    assert said[0][1] == "['torch'] __main__"  # which was there before the fork


def test_it_is_ended_by_signals(program: str) -> None:
    waiting = Forked([program, "wait", "0"], dict(os.environ))
    waiting.stdout.readline()
    assert waiting.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.01)
    waiting.kill()
    assert waiting.wait(20) == -signal.SIGKILL
    waiting.terminate()  # nothing happens
    assert waiting.stdout.read().endswith("__main__\n")
    waiting.stdout.close()


async def test_an_event_loop_waits_for_it(program: str) -> None:
    waiting = await ForkedAsync.start([program, "wait", "0"], dict(os.environ))
    assert (await waiting.stdout.readline()).startswith(b"['wait', '0']")
    assert waiting.returncode is None
    waiting.terminate()
    assert await asyncio.wait_for(waiting.wait(), 20) == -signal.SIGTERM
    ended = await ForkedAsync.start([program, "end", "3"], dict(os.environ))
    assert b"__main__" in await ended.stdout.read()
    assert await asyncio.wait_for(ended.wait(), 20) == 3
    ended.kill()  # nothing happens


def test_it_ends_with_tests_that_are_killed(program: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TESTS, str(ROOT), str(tmp_path)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        found = tests.stdout.readline()
        waiting = os.pidfd_open(int(tests.stdout.readline()))
        tests.kill()
    ended, _, _ = select.select([waiting], [], [], 20)
    os.close(waiting)
    assert found == "['tests.service.process'] __main__\n"
    assert ended
