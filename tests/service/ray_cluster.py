"""A Ray cluster of a test's own, with the service on it: a process that takes orders on its input.

`python -m tests.service.ray_cluster PORT` starts Ray on this machine and Serve on the port. Each
line that it reads is the arguments of a deployment in JSON; it answers with a line once Serve has
what was ordered.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.service.process import ROOT, environment

START_S: Final = 110.0  # of a cluster or a deployment, on a slow and busy machine
PROXY_LIMITS: Final = (
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S",
)
REPLICA: Final = "ray::ServeReplica"


class Cluster:
    """Runs the program below.

    Args:
        settings: environment variables of the service.
    """

    def __init__(self, **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        # A short name: sockets of Ray's are in there, and their names are bounded.
        self.directory = Path(tempfile.mkdtemp(prefix="ray"))
        # A token of its own: Ray would write one into the home of who runs the tests.
        ray = {"RAY_TMPDIR": str(self.directory), "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # A proxy that starts slowly is none that has to be killed and started once more.
        ray |= dict.fromkeys(PROXY_LIMITS, str(START_S))
        self._errors = (self.directory / "errors").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.service.ray_cluster", str(self.port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(**ray, **settings),
        )
        self._answer()

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    def deploy(self, **arguments: Any) -> None:
        """Order a deployment, and wait until Serve has it."""
        self.order(**arguments)
        self.wait()

    def order(self, **arguments: Any) -> None:
        """Order a deployment."""
        assert self._process.stdin is not None
        print(json.dumps(arguments), file=self._process.stdin, flush=True)

    def wait(self) -> None:
        """Wait for what was ordered."""
        self._answer()

    def replicas(self) -> list[int]:
        """Return the processes of the replicas, the oldest first."""
        ours = _descendants(self._process.pid)
        return sorted(pid for pid in ours if _title(pid).startswith(REPLICA))

    def kill_replica(self) -> int:
        """End one without a word."""
        pid = self.replicas()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def log(self) -> str:
        """Return what was said on its standard error, and what went wrong by Serve's own logs."""
        said = (self.directory / "errors").read_text(errors="replace")[-4000:]
        for path in self.directory.glob("ray/session_2*/logs/serve/*.log"):
            lines = path.read_text(errors="replace").splitlines()
            wrong = [line for line in lines if not line.startswith(("INFO", "DEBUG"))]
            said += "\n".join([f"\n{path.name}:", *wrong[-60:]])
        return said

    def stop(self) -> None:
        """End everything."""
        left = _descendants(self._process.pid)
        self._process.communicate(timeout=60)
        self._errors.close()
        for pid in left:  # those that Ray has left behind, if any
            if Path(f"/proc/{pid}").exists() and _title(pid).startswith("ray::"):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answer(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "done\n":
                return
        raise AssertionError(f"the cluster ended: {self.log()}")


def _descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found, new = {pid}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found - {pid}


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _say_done() -> None:
    sys.stdout.write("done\n")
    sys.stdout.flush()


def main(port: int) -> None:
    """Run the cluster until its input ends."""
    from service.ray import Arguments, cluster, deploy

    with cluster("127.0.0.1", port, cpus=2):
        _say_done()
        for line in sys.stdin:
            deploy(Arguments(**json.loads(line)))
            _say_done()


if __name__ == "__main__":
    main(int(sys.argv[1]))
