"""The reducer of a room's readers: the same as the JavaScript client's, frame by frame."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.wire import protocol as p
from tests.clients.reducers import (
    DELTAS,
    FINALS,
    HERE,
    IDS,
    PONGS,
    RETRACTIONS,
    ROOMS,
    SPEAKERS,
    TEXTS,
    JavaScript,
    javascript,
    python_states,
)

SEGMENTS = st.builds(
    p.RoomSegment, IDS, TEXTS, TEXTS, st.booleans(), st.booleans(), SPEAKERS, st.none() | TEXTS
)
STATES = st.builds(
    lambda room, segments: p.RoomState(room, "de", tuple(segments)),
    ROOMS,
    st.lists(SEGMENTS, max_size=4),
)
FRAMES = st.one_of(
    STATES,
    st.builds(p.RoomUpdated, ROOMS),
    DELTAS,
    FINALS,
    RETRACTIONS,
    st.builds(p.SourceDelta, IDS, TEXTS, TEXTS, SPEAKERS),
    st.builds(p.SourceFinal, IDS, TEXTS, SPEAKERS),
    PONGS,
).map(lambda event: json.loads(p.serialise(event)))


@pytest.fixture(scope="module")
def node() -> Iterator[JavaScript]:
    """One process for all."""
    with javascript() as running:
        yield running


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=st.lists(FRAMES, max_size=25), is_source=st.booleans())
def test_any_frames_give_the_same_state_as_in_javascript(
    node: JavaScript, frames: list[Any], is_source: bool
) -> None:
    ours = python_states("audience", frames, is_source)
    assert ours == node.states("audience", frames, is_source)
    for state in ours:
        numbers = [segment["number"] for segment in state["segments"]]
        assert numbers == sorted(set(numbers))


def test_kept_frames_give_the_kept_state(node: JavaScript) -> None:
    kept = json.loads((HERE / "frames" / "room.json").read_text(encoding="utf-8"))
    assert python_states("audience", kept["frames"])[-1] == kept["state"]
    assert node.states("audience", kept["frames"])[-1] == kept["state"]
