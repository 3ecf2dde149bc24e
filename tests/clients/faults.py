"""What goes wrong between a client and a server, as a schedule."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from hypothesis import strategies as st

from service.doors.connection import Connection
from tests.clients.network import Network
from tests.service.conftest import Service, running
from tests.service.fakes import FakeEngine

FAULTS = st.sampled_from(["cut", "restart", "deaf", "slow", "fast", "pause", "nothing"])


def connections(service: Service) -> list[Connection]:
    """Return the server's sides of all sessions."""
    return [each for each in service.state.connections if isinstance(each, Connection)]


class Restarted:
    """A server that dies and comes back without a memory."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.service = self.stack.enter_context(running(FakeEngine(delay_s=0.01)))

    def restart(self) -> None:
        """Die in the middle of everything, and come back elsewhere."""
        for connection in connections(self.service):
            connection._socket.abort()
        stack, self.stack = self.stack, ExitStack()
        self.service = self.stack.enter_context(running(FakeEngine(delay_s=0.01)))
        stack.close()


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
                await asyncio.to_thread(self.server.restart)
                self.network.server_port = self.server.service.port
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
