"""The JavaScript client's decisions, beside the Python client's on the same frames."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from service.wire import protocol as p
from tests.web.test_client import find_node
from tokenspeed_client.audience import NOBODY, apply_room_event
from tokenspeed_client.captions import EMPTY, LocalSource, apply_event
from tokenspeed_client.wire import Received, parse

HERE = Path(__file__).parent

IDS = st.sampled_from(["1", "2", "3"])
TARGETS = st.sampled_from(["de", "fr"])
# Few and short, so that texts begin like one another.
TEXTS = st.lists(st.sampled_from(["a", "b ", "ß", "😀"]), max_size=4).map("".join)
SPEAKERS = st.sampled_from([None, "", "Ann"])
TIMES = st.none() | st.sampled_from([0.0, 100.0])
STATS = st.just(p.FinalStats(1, 0, 1.0, 1.0))
ROOMS = st.builds(p.RoomInfo, IDS, TEXTS, st.integers(0, 2), st.integers(0, 2), st.booleans())

DELTAS = st.builds(p.TranslationDelta, IDS, TARGETS, st.just(1), TEXTS, TEXTS, st.none(), SPEAKERS)
FINALS = st.builds(
    p.TranslationFinal, IDS, TARGETS, TEXTS, TEXTS, STATS, TIMES, TIMES, st.none(), SPEAKERS
)
RETRACTIONS = st.builds(p.TranslationRetracted, IDS, TARGETS)
PONGS = st.just(p.Pong(0.0))


class JavaScript:
    """A Node.js that runs the reducers."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def states(self, reducer: str, frames: Sequence[Any], is_source: bool = False) -> list[Any]:
        """Return the states after each frame."""
        return self._ask({"reducer": reducer, "isSource": is_source, "frames": frames})

    def pending(self, calls: Sequence[Any]) -> list[Any]:
        """Return what each call of what is kept to be said again returned."""
        return self._ask({"calls": calls})

    def _ask(self, asked: Any) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        found: list[Any] = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def javascript() -> Iterator[JavaScript]:
    """Start it."""
    command = [str(find_node()), str(HERE / "reduce.mjs")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield JavaScript(process)
        assert process.stdin is not None
        process.stdin.close()


def python_states(reducer: str, frames: Sequence[Any], is_source: bool = False) -> list[Any]:
    """Return the same, of the Python client."""
    found = []
    if reducer == "audience":
        audience = NOBODY
        for frame in frames:
            audience = apply_room_event(audience, event_of(frame), is_source)
            found.append(as_javascript(audience))
        return found
    captions = EMPTY
    for frame in frames:
        captions = apply_event(captions, event_of(frame))
        found.append(as_javascript(captions))
    return found


def event_of(frame: dict[str, Any]) -> Received | LocalSource:
    """Return the event that a frame is."""
    if frame["type"] == "source.local":
        return LocalSource(**{name: v for name, v in frame.items() if name != "type"})
    return parse(json.dumps(frame))


def as_javascript(value: Any) -> Any:
    """Write a state with the names of JavaScript."""
    if isinstance(value, p.RoomInfo) or type(value).__name__ == "RoomInfo":
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if is_dataclass(value):
        return {camel(f.name): as_javascript(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [as_javascript(each) for each in value]
    if isinstance(value, dict):
        return {key: as_javascript(each) for key, each in value.items()}
    return value


def camel(name: str) -> str:
    """`start_ms` to `startMs`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
