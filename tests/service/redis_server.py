"""A real Redis of a test's own: on a free port, without anything on disk."""

import shutil
import socket
import subprocess
import time
from pathlib import Path


class RedisServer:
    """Runs Redis; it can be lost and come back on the same port.

    Args:
        directory: to run in.
        password: that clients need.
    """

    def __init__(self, directory: Path, password: str = "") -> None:
        self._directory = directory
        self._password = password
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, without any memory; return once it takes connections."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "run tests/install_redis.sh"
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self._directory)]
        if self._password:
            command += ["--requirepass", self._password]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(500):
            assert self._process.poll() is None, "Redis ended"
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("Redis did not start")

    def stop(self) -> None:
        """Kill it; what it had in memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
