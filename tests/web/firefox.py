"""A headless Firefox, driven by the WebDriver BiDi that it has built in."""

import asyncio
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

NAMES = ("firefox", "firefox-esr")
MAC_FIREFOX = Path("/Applications/Firefox.app/Contents/MacOS/firefox")
ADVICE = "The tests need a Firefox: `sh tests/install_firefox.sh`, or set FIREFOX to its path."
START_S = 60.0
WAIT_S = 20.0


def find_firefox() -> str:
    """Return the path of a Firefox: $FIREFOX, else one of the system's."""
    named = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, NAMES)), None)
    found = named or str(MAC_FIREFOX)
    assert Path(found).is_file(), ADVICE
    return found


class Tab:
    """A tab of a running Firefox. problems: what its console called an error."""

    def __init__(self, socket: ClientConnection) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""

    async def start(self) -> None:
        """Open the tab."""
        await self.call("session.new", capabilities={})
        await self.call("session.subscribe", events=["log.entryAdded"])
        created = await self.call("browsingContext.create", type="tab")
        self._context = created["context"]

    async def call(self, method: str, **params: Any) -> Any:
        """Run a command of BiDi and return its result."""
        number = next(self._ids)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.problems.append(answer["params"]["text"])
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    async def goto(self, url: str) -> None:
        """Load a page."""
        await self.call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression that gives JSON."""
        answer = await self.call(
            "script.evaluate",
            expression=f"JSON.stringify({expression})",
            target={"context": self._context},
            awaitPromise=False,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    async def wait_for(self, expression: str, wanted: Any) -> None:
        """Wait until an expression has a value."""
        found = None
        for _ in range(round(WAIT_S / 0.05)):
            found = await self.evaluate(expression)
            if found == wanted:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{expression} is {found!r}, wanted {wanted!r}")


@asynccontextmanager
async def firefox(profile: Path) -> AsyncIterator[Tab]:
    """Run a Firefox with a profile of its own, and open a tab."""
    process = await asyncio.create_subprocess_exec(
        *(find_firefox(), "--headless", "--no-remote", "--profile", str(profile)),
        *("--remote-debugging-port", "0"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START_S):
            found = None
            while found is None:
                line = await process.stderr.readline()
                assert line, "Firefox ended"
                found = re.search(r"BiDi listening on (ws://\S+)", line.decode())
        async with connect(f"{found[1]}/session", proxy=None, max_size=None) as socket:
            tab = Tab(socket)
            await tab.start()
            yield tab
    finally:
        process.terminate()
        await process.communicate()
