"""What goes wrong between a client and a server, as a schedule."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from hypothesis import strategies as st

from tests.clients.network import Network
from tests.service.conftest import Service, running
from tests.service.fakes import FakeEngine

FAULTS = st.sampled_from(["cut", "restart", "deaf", "slow", "fast", "pause", "nothing"])


class Restarted:
    """A server that dies and comes back without a memory, but for what replicas share."""

    def __init__(self, redis_url: str = "") -> None:
        self._redis_url = redis_url
        self.stack = ExitStack()
        self.service = self._start()

    def restart(self) -> None:
        """Die, and come back elsewhere."""
        stack, self.stack = self.stack, ExitStack()
        self.service = self._start()
        stack.close()

    def _start(self) -> Service:
        engine = FakeEngine(delay_s=0.01)
        return self.stack.enter_context(running(engine, redis_url=self._redis_url))


class Faults:
    """What goes wrong, one after another; nothing where the list is over."""

    def __init__(self, network: Network, server: Restarted, schedule: Sequence[str]) -> None:
        self.network, self.server = network, server
        self.schedule = list(schedule)

    async def next(self) -> None:
        """Let the next one happen."""
        fault = self.schedule.pop(0) if self.schedule else "nothing"
        match fault:
            case "cut":
                self.network.cut()
            case "restart":
                self.network.is_down = True
                self.network.cut()
                await asyncio.to_thread(self.server.restart)
                self.network.server_port = self.server.service.port
                self.network.is_down = False
            case "deaf":
                self.network.is_deaf = True
                await asyncio.sleep(0.02)
                self.network.cut()
                self.network.is_deaf = False
            case "slow":
                self.network.delay_s, self.network.piece_bytes = 0.004, 400
            case "fast":
                self.network.delay_s, self.network.piece_bytes = 0.0, 65536
            case "pause":
                await asyncio.sleep(0.03)
            case _:
                await asyncio.sleep(0)
