"""A client that holds every frame, sent and received, against the published document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from service.wire import protocol as p
from tests.service.asyncapi import check_frame


class Client:
    """Typed events over a real socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received: list[p.ServerEvent] = []
        self.last_seq = 0

    async def send(self, event: p.ClientEvent) -> None:
        frame = p.serialise(event)
        check_frame(frame)
        await self.socket.send(frame)

    async def start(self, *targets: str, **params: Any) -> None:
        """Ask for languages."""
        languages = tuple(p.TargetParams(target) for target in targets)
        source = params.pop("source", p.SourceParams("en"))
        await self.send(p.SessionUpdate(p.SessionParams(source, languages, **params)))

    async def receive(self) -> p.ServerEvent:
        frame = await self.socket.recv()
        check_frame(frame)
        event = p.parse_server(frame)
        self.received.append(event)
        if isinstance(event, p.SessionResumed):
            self.last_seq = event.seq
        else:
            self.last_seq += 1
            assert event.seq == self.last_seq
        return event

    async def until(self, *kinds: type[p.ServerEvent], count: int = 1) -> list[p.ServerEvent]:
        """Receive until that many events of these kinds came; return those."""
        found: list[p.ServerEvent] = []
        while len(found) < count:
            event = await self.receive()
            if isinstance(event, kinds):
                found.append(event)
        return found


@asynccontextmanager
async def session(url: str, **options: Any) -> AsyncIterator[Client]:
    """Connect; the context is the connection."""
    subprotocols = options.pop("subprotocols", [Subprotocol(p.SUBPROTOCOL)])
    async with connect(url, subprotocols=subprotocols, proxy=None, **options) as socket:
        yield Client(socket)
