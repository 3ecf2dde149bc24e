"""OBS: a server that follows the published protocol of obs-websocket 5, on a real socket."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Thread
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.sync.server import ServerConnection as SyncConnection
from websockets.sync.server import serve as serve_threaded

from tokenspeed_client.sinks.feed import SinkError, SinkRefused
from tokenspeed_client.sinks.obs import Obs, answer

SALT, CHALLENGE = (
    "lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI=",
    "+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY=",
)


class Studio:
    """What OBS says, whoever carries it.

    Attributes:
        captions: that went into the stream.
    """

    def __init__(self, password: str | None = None, is_streaming: bool = True) -> None:
        self.password = password
        self.is_streaming = is_streaming
        self.captions: list[str] = []
        self._is_identified = False

    def hello(self) -> str:
        self._is_identified = False
        data: dict[str, Any] = {"obsWebSocketVersion": "5.5.2", "rpcVersion": 1}
        if self.password is not None:
            data["authentication"] = {"challenge": CHALLENGE, "salt": SALT}
        return json.dumps({"op": 0, "d": data})

    def reply(self, frame: str | bytes) -> list[str] | tuple[int, str]:
        """Return frames, or a close code and its reason."""
        message = json.loads(frame)
        data = message["d"]
        if message["op"] == 1:
            if self.password is not None:
                secret = hashlib.sha256((self.password + SALT).encode()).digest()
                wanted = base64.b64encode(secret).decode() + CHALLENGE
                proof = base64.b64encode(hashlib.sha256(wanted.encode()).digest()).decode()
                if data.get("authentication") != proof:
                    return 4009, "Authentication failed."
            self._is_identified = True
            return [json.dumps({"op": 2, "d": {"negotiatedRpcVersion": data["rpcVersion"]}})]
        if not self._is_identified:
            return 4007, "Not identified."
        assert message["op"] == 6
        assert data["requestType"] == "SendStreamCaption"
        status: dict[str, Any] = {"result": True, "code": 100}
        if self.is_streaming:
            self.captions.append(data["requestData"]["captionText"])
        else:
            status = {"result": False, "code": 501, "comment": "The output is not running."}
        told = {"requestType": data["requestType"], "requestId": data["requestId"]}
        event = {"op": 5, "d": {"eventType": "StudioModeStateChanged", "eventIntent": 1}}
        return [json.dumps(event), json.dumps({"op": 7, "d": {**told, "requestStatus": status}})]


@asynccontextmanager
async def running(studio: Studio, port: int = 0) -> AsyncIterator[int]:
    async def converse(socket: ServerConnection) -> None:
        assert socket.subprotocol == "obswebsocket.json"
        await socket.send(studio.hello())
        async for frame in socket:
            told = studio.reply(frame)
            if isinstance(told, tuple):
                await socket.close(*told)
                return
            for each in told:
                await socket.send(each)

    subprotocols: Any = ["obswebsocket.json"]
    async with serve(converse, "127.0.0.1", port, subprotocols=subprotocols) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@contextmanager
def running_in_a_thread(studio: Studio) -> Iterator[int]:
    """The same for a program that is a process of its own."""

    def converse(socket: SyncConnection) -> None:
        socket.send(studio.hello())
        for frame in socket:
            told = studio.reply(frame)
            if isinstance(told, tuple):
                socket.close(*told)
                return
            for each in told:
                socket.send(each)

    subprotocols: Any = ["obswebsocket.json"]
    with serve_threaded(converse, "127.0.0.1", 0, subprotocols=subprotocols) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def test_the_proof_is_that_of_the_protocol() -> None:
    # sha256 by openssl: printf 'supersecretpassword%s' SALT | openssl dgst -sha256 -binary | base64
    assert answer("supersecretpassword", SALT, CHALLENGE) == (
        "1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4="
    )


async def test_captions_arrive_in_lines_that_fit() -> None:
    studio = Studio()
    async with running(studio) as port:
        obs = Obs(f"ws://127.0.0.1:{port}")
        await obs.show("Guten Morgen.")
        await obs.show("Willkommen zu unserer Sitzung über die neuen Züge in die Stadt am Meer.")
        await obs.close()
    assert studio.captions[0] == "Guten Morgen."
    lines = [line for caption in studio.captions[1:] for line in caption.split("\n")]
    assert all(len(line) <= 32 for line in lines)
    assert " ".join(lines).startswith("Willkommen zu unserer Sitzung")
    assert all(caption.count("\n") < 2 for caption in studio.captions)


@pytest.mark.parametrize("where", ["address", "argument"])
async def test_the_password_is_proved_not_said(where: str) -> None:
    studio = Studio("a:b@c")
    async with running(studio) as port:
        if where == "address":
            obs = Obs(f"ws://:a%3Ab%40c@127.0.0.1:{port}")
        else:
            obs = Obs(f"ws://127.0.0.1:{port}", "a:b@c")
        await obs.open()
        await obs.show("Ja.")
        await obs.close()
    assert studio.captions == ["Ja."]


@pytest.mark.parametrize("password", [None, "another"])
async def test_without_the_right_password_there_is_no_second_try(password: str | None) -> None:
    async with running(Studio("secret")) as port:
        with pytest.raises(SinkRefused, match="password"):
            await Obs(f"ws://127.0.0.1:{port}", password).open()


async def test_obs_that_goes_and_comes_back_gets_what_follows() -> None:
    studio = Studio()
    async with running(studio) as port:
        obs = Obs(f"ws://127.0.0.1:{port}")
        await obs.show("Eins.")
    with pytest.raises(SinkError):
        await obs.show("Zwei.")
    with pytest.raises(SinkError, match="does not answer"):
        await obs.show("Drei.")
    async with running(studio, port):
        await obs.show("Vier.")
        await obs.close()
    assert studio.captions == ["Eins.", "Vier."]


async def test_a_stream_that_does_not_run_is_told() -> None:
    async with running(Studio(is_streaming=False)) as port:
        obs = Obs(f"ws://127.0.0.1:{port}")
        with pytest.raises(SinkError, match="not streaming") as told:
            await obs.show("Eins.")
        assert not told.value.is_retryable
        await obs.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:4455", "127.0.0.1:4455", "ws://"])
def test_another_address_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="ws://"):
        Obs(url)
