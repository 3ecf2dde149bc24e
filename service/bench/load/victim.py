"""A well-behaved speaker, and how soon it is answered while somebody else misbehaves.

    python -m service.bench.load.victim ADDRESS SECONDS

A process of its own, so that whoever makes the load does not delay its clock.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from service.bench.served import PATIENCE_S, Served, ServerFailed
from service.wire.protocol import SUBPROTOCOL

SENTENCE: Final = "Before we begin I would like to thank the people who made this possible.".split()
PACE_S: Final = 0.1  # between words
PROBE_S: Final = 0.1  # between requests to /livez
SESSION: Final = {"source": {"language": "en"}, "targets": [{"language": "de"}]}


@dataclass(slots=True)
class Report:
    """What a speaker measured; times in ms.

    Attributes:
        sent: sentences committed, counted once for each target.
        finals: from each commit to its final.
        partials: deltas that came.
        probes: how long each request to `/livez` took.
        closed: the code with which the server closed, None if it did not.
        errors: codes of the errors received.
    """

    sent: int = 0
    finals: list[float] = field(default_factory=list)
    partials: int = 0
    probes: list[float] = field(default_factory=list)
    closed: int | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Finals that never came."""
        return self.sent - len(self.finals)


async def speak(
    address: str, seconds: float, *, pace_s: float = PACE_S, targets: Sequence[str] = ("de",)
) -> Report:
    """Say sentences word by word for a while, then wait for the finals."""
    report = Report()
    pending: dict[tuple[str, str], float] = {}

    async def listen(socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                event = orjson.loads(frame)
                if event["type"] == "translation.final":
                    began_s = pending.pop((event["segment_id"], event["target"]))
                    report.finals.append((time.perf_counter() - began_s) * 1e3)
                elif event["type"] == "translation.delta":
                    report.partials += 1
                elif event["type"] == "error":
                    report.errors.append(event["error"]["code"])
        except ConnectionClosed:
            pass  # whatever was pending counts as lost
        finally:
            report.closed = socket.close_code

    async with connect(
        f"ws://{address}/v1/stream",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        proxy=None,
    ) as socket:
        wanted = SESSION | {"targets": [{"language": target} for target in targets]}
        await socket.send(json.dumps({"type": "session.update", "session": wanted}))
        listener = asyncio.create_task(listen(socket))
        at_s = time.perf_counter()
        end_s, number = at_s + seconds, 0
        try:
            while at_s < end_s:
                number += 1
                name = f"s{number}"
                for rev in range(1, len(SENTENCE) + 1):
                    text = " ".join(SENTENCE[:rev])
                    update = {"segment_id": name, "rev": rev, "stable": text}
                    await socket.send(json.dumps({"type": "source.update", **update}))
                    at_s += pace_s
                    await asyncio.sleep(max(at_s - time.perf_counter(), 0.0))
                for target in targets:
                    pending[name, target] = time.perf_counter()
                    report.sent += 1
                await socket.send(json.dumps({"type": "source.commit", "segment_id": name}))
            limit_s = time.perf_counter() + PATIENCE_S
            while pending and not listener.done() and time.perf_counter() < limit_s:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        except ConnectionClosed:
            pass
        is_open = not listener.done()
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        if is_open:
            report.closed = None
    return report


async def probe(address: str, seconds: float) -> list[float]:
    """Request `/livez` again and again; return how long each took, in ms."""
    server = Served(address, 0)
    took: list[float] = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        before_s = time.perf_counter()
        try:
            await server.get("/livez")
        except ServerFailed:
            took.append(PATIENCE_S * 1e3)
        else:
            took.append((time.perf_counter() - before_s) * 1e3)
        await asyncio.sleep(PROBE_S)
    return took


async def observe(address: str, seconds: float) -> Report:
    """Speak, and probe `/livez` meanwhile."""
    report, probes = await asyncio.gather(speak(address, seconds), probe(address, seconds))
    report.probes = probes
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Speak for so many seconds; write a report, in JSON."""
    address, seconds = sys.argv[1:] if arguments is None else arguments
    report = asyncio.run(observe(address, float(seconds)))
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
