"""The server: listens, drains on a signal, and exits if the engine is lost.

Knows uvicorn and signals; what is answered is in app.py.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

from service.doors.app import make_app
from service.doors.http_line import HttpLine
from service.doors.http_slices import MAX_TRAILER_BYTES
from service.doors.lines import Lines
from service.doors.socket_line import SocketLine
from service.doors.state import AppState
from service.load import garbage
from service.load.descriptors import room_for

logger = logging.getLogger("service.doors.server")

PING_S: Final = 20.0  # between pings, and for each answer
WATCH_S: Final = 0.5  # between checks of the engine
ACCEPTED: Final = 16  # connections in one turn of the event loop; as many may wait as there is room


class Server(uvicorn.Server):
    """uvicorn, but a signal drains first: by itself it would close sockets with 1012 at once.

    Args:
        state: shared state of the service.
        on_started: called once connections are taken.

    Attributes:
        is_engine_lost: whether the server ended because its engine did.
    """

    def __init__(self, state: AppState, on_started: Callable[[], None] = lambda: None) -> None:
        config = state.config
        room = room_for(config.connections)
        super().__init__(
            uvicorn.Config(
                make_app(state),
                host=config.host,
                port=config.port,
                backlog=min(room.backlog, ACCEPTED),
                http=HttpLine,
                ws=SocketLine,
                ws_max_size=config.limits.frame_bytes,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PING_S,
                ws_per_message_deflate=config.deflate,
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=bool(config.proxies),
                forwarded_allow_ips=list(config.proxies),
                timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=MAX_TRAILER_BYTES,  # heads are bounded before
            )
        )
        self.server_state = Lines(room.connections, config.strangers, config.limits, state.metrics)
        self._state = state
        self._backlog = room.backlog
        self._on_started = on_started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self.is_engine_lost = False

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super()._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._state.start()
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(self._backlog)
        self._watchdog = asyncio.create_task(self._watch_engine())
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._state.stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first signal, exit at once on the second."""
        if self._loop is None or self._state.is_draining:
            # At once even if a step hangs, rather than wait for the engine's thread.
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
            return
        # Not passed on to uvicorn, which would raise the signal again after a clean exit.
        self._state.is_draining = True
        self._loop.call_soon_threadsafe(self._begin_drain, signal.Signals(sig).name)

    async def _watch_engine(self) -> None:
        """If the engine is lost, tell everybody and let the process end."""
        while not self._state.is_lost():
            await asyncio.sleep(WATCH_S)
            garbage.tidy(time.monotonic(), is_idle=self._state.is_idle())
        problem = self._state.problem() or "the engine is lost"
        logger.critical("engine lost", extra={"data": {"problem": problem}})
        self.is_engine_lost = True
        await self._state.give_up(problem)
        self.should_exit = True

    def _begin_drain(self, cause: str) -> None:
        logger.info("draining", extra={"data": {"cause": cause}})
        self._drain = asyncio.ensure_future(self._drain_all())

    async def _drain_all(self) -> None:
        """Drain, then let uvicorn stop."""
        await self._state.drain()
        self.should_exit = True
