"""Captions inside the stream of OBS Studio, through obs-websocket 5.

They travel in the video itself (CEA-608), so viewers on Twitch or YouTube turn them on in the
player. Source: obs-websocket 5 protocol, `SendStreamCaption`.
"""

import asyncio
import base64
import hashlib
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from tokenspeed_client.sinks.cues import pieces
from tokenspeed_client.sinks.feed import SinkError, SinkRefused

MAX_CHARS: Final = 32  # of a line, in CEA-608
MAX_LINES: Final = 2
TIMEOUT_S: Final = 5.0
HELLO, IDENTIFY, IDENTIFIED, REQUEST, RESPONSE = 0, 1, 2, 6, 7  # op codes
AUTHENTICATION_FAILED: Final = 4009  # close code
NOT_STREAMING: Final = 501  # status of a request
RPC_VERSION: Final = 1


class Obs:
    """OBS Studio.

    Args:
        url: such as ws://127.0.0.1:4455, or ws://:PASSWORD@127.0.0.1:4455.
        password: if the address has none.
    Raises:
        ValueError: this is not the address of a WebSocket.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError("expected an address of OBS such as ws://127.0.0.1:4455")
        self._password = unquote(parts.password) if parts.password else password
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._socket: ClientConnection | None = None
        self._num_requests = 0

    async def open(self) -> None:
        """Connect.

        Raises:
            SinkError: OBS is not there.
            SinkRefused: the password is wrong, or OBS is of another version.
        """
        await self._within(self._identify())

    async def show(self, text: str) -> None:
        """Send a caption.

        Raises:
            SinkError: it was not sent.
            SinkRefused: as in `open`.
        """
        for piece in pieces(text, MAX_CHARS, MAX_LINES):
            if self._socket is None:
                await self.open()
            await self._within(self._send_caption("\n".join(piece)))

    async def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def _within(self, work: Any) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await work
        except ConnectionClosed as exc:
            self._socket = None
            code = exc.rcvd.code if exc.rcvd else None
            if code == AUTHENTICATION_FAILED:
                raise SinkRefused("OBS: the password is wrong") from exc
            raise SinkError("OBS has closed the connection") from exc
        except (OSError, TimeoutError, WebSocketException, KeyError, ValueError) as exc:
            await self.close()
            raise SinkError(f"OBS does not answer: {exc or 'it is silent'}") from exc

    async def _identify(self) -> None:
        self._socket = await connect(
            self._url, subprotocols=[Subprotocol("obswebsocket.json")], proxy=None, close_timeout=1
        )
        hello = await self._read(HELLO)
        told: dict[str, Any] = {"rpcVersion": RPC_VERSION, "eventSubscriptions": 0}
        if "authentication" in hello:
            if self._password is None:
                await self.close()
                raise SinkRefused("OBS requires a password")
            challenge = hello["authentication"]
            told["authentication"] = answer(
                self._password, challenge["salt"], challenge["challenge"]
            )
        await self._write(IDENTIFY, told)
        await self._read(IDENTIFIED)

    async def _send_caption(self, text: str) -> None:
        self._num_requests += 1
        name = str(self._num_requests)
        await self._write(
            REQUEST,
            {
                "requestType": "SendStreamCaption",
                "requestId": name,
                "requestData": {"captionText": text},
            },
        )
        reply = await self._read(RESPONSE)
        while reply["requestId"] != name:
            reply = await self._read(RESPONSE)
        status = reply["requestStatus"]
        if status["code"] == NOT_STREAMING:
            raise SinkError("OBS is not streaming: captions are not shown", is_retryable=False)
        if not status["result"]:
            problem = f"OBS: {status.get('comment', '')} (code {status['code']})"
            raise SinkError(problem, is_retryable=False)

    async def _write(self, op: int, data: dict[str, Any]) -> None:
        assert self._socket is not None
        await self._socket.send(orjson.dumps({"op": op, "d": data}).decode())

    async def _read(self, op: int) -> dict[str, Any]:
        assert self._socket is not None
        while True:
            message = orjson.loads(await self._socket.recv())
            if message["op"] == op:
                found: dict[str, Any] = message["d"]
                return found


def answer(password: str, salt: str, challenge: str) -> str:
    """Return the proof that we know a password."""
    return _digest(_digest(password + salt) + challenge)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
