"""The application behind somebody else's server: repeats the checks that our own server makes.

Where another process holds the sockets and hands over what comes, nobody has looked at who is there
or at how long a frame is, and nobody cuts a line that does not end by itself. Knows ASGI; what only
the one who holds the sockets can do, such as waiting for a slow reader, is said in
deploy/ray/README.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from typing import Final, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from websockets.frames import CloseCode

from service.config import Config
from service.doors.guard import error_reply
from service.doors.socket import LINE

_T = TypeVar("_T")

FORBIDDEN: Final = "this service answers to this machine alone"


class Relayed:
    """Wraps the application.

    Args:
        app: what answers.
        config: says who may ask, whose word on addresses is believed, and how long a frame may be.
        failures: raised by `receive` where whoever holds the sockets is gone, and they with it.
    """

    def __init__(
        self, app: ASGIApp, config: Config, failures: tuple[type[Exception], ...] = ()
    ) -> None:
        self._config = config
        self._failures = failures
        self._app = app
        if config.proxies:
            trusted = list(config.proxies)
            self._app = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type, assignment]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request, or one socket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope.setdefault("extensions", {})
        if self._config.is_local and not _is_this_machine(scope):
            # Whoever holds the sockets may listen beyond this machine, where keys are required.
            await _refuse(scope, receive, send)
        elif scope["type"] == "http":
            await self._app(scope, partial(self._next_of, receive), send)
        else:
            max_bytes = self._config.limits.frame_bytes
            bounded = _Frames(receive, send, max_bytes, self._failures)
            scope["extensions"][LINE] = bounded
            await self._app(scope, bounded.receive, bounded.send)

    async def _next_of(self, receive: Receive) -> Message:
        try:
            return await receive()
        except self._failures:
            return {"type": "http.disconnect"}


class _Cut(OSError):
    """We have cut the line."""


class _Frames:
    """A socket with a limit on its frames; a longer one closes it with 1009. Also a `Line`."""

    def __init__(
        self, receive: Receive, send: Send, max_bytes: int, failures: tuple[type[Exception], ...]
    ) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._failures: tuple[type[Exception], ...] = (_Cut, *failures)
        self._is_closed = False
        self._is_cut = False
        self._waits: set[asyncio.Timeout] = set()  # for the client

    def abort(self) -> None:
        """Stop waiting for the client: to the application it is gone.

        Once the application returns, whoever holds the socket releases it.
        """
        self._is_cut = True
        for wait in self._waits:
            wait.reschedule(0.0)

    def keep(self) -> None:
        """Do nothing: sockets are not evicted here."""

    def stand_by(self, address: str) -> None:
        """Likewise."""

    async def receive(self) -> Message:
        """Return what comes next."""
        if self._is_closed:
            return _gone(CloseCode.ABNORMAL_CLOSURE)
        try:
            message = await self._unless_cut(self._receive)
        except self._failures:
            self._is_cut = True
            return _gone(CloseCode.ABNORMAL_CLOSURE)
        if message["type"] != "websocket.receive" or self._is_short(message):
            return message
        if not self._is_closed:
            await self.send(
                {
                    "type": "websocket.close",
                    "code": CloseCode.MESSAGE_TOO_BIG,
                    "reason": f"frames have at most {self._max_bytes} bytes",
                }
            )
        return _gone(CloseCode.MESSAGE_TOO_BIG)

    async def send(self, message: Message) -> None:
        """Send a message; raise OSError if the socket is closed already, as servers do."""
        if self._is_closed:
            raise OSError("the socket is closed")
        self._is_closed = message["type"] == "websocket.close"
        await self._unless_cut(partial(self._send, message))

    async def _unless_cut(self, act: Callable[[], Awaitable[_T]]) -> _T:
        if self._is_cut:
            raise _Cut("we have cut the line")
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits.add(wait)
                return await act()
        except TimeoutError:
            if wait.expired():
                raise _Cut("we have cut the line") from None
            raise
        finally:
            self._waits.discard(wait)

    def _is_short(self, message: Message) -> bool:
        text = message.get("text")
        if text is None:
            return len(message["bytes"]) <= self._max_bytes
        if len(text) * 4 <= self._max_bytes:
            return True
        return len(text) <= self._max_bytes and len(text.encode()) <= self._max_bytes


def _gone(code: int) -> Message:
    return {"type": "websocket.disconnect", "code": int(code), "reason": ""}


def _is_this_machine(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ip_address(client[0]).is_loopback
    except ValueError:
        return False


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": FORBIDDEN})
    else:
        await error_reply(scope["path"], 403, FORBIDDEN)(scope, receive, send)
