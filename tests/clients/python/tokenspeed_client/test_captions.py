"""The reducer of captions: the same as the JavaScript client's, frame by frame."""

import json
from collections.abc import Iterator
from dataclasses import replace
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
    TARGETS,
    TEXTS,
    JavaScript,
    event_of,
    javascript,
    python_states,
)
from tokenspeed_client.captions import EMPTY, apply_event, newest_lines
from tokenspeed_client.events import TranslationDelta

CREATED = st.sampled_from(["s1", "s2"]).map(
    lambda name: p.SessionCreated(p.SessionInfo(name, "e", p.LimitsInfo(1, 1, 1, 1.0), "m", ()))
)
SNAPSHOTS = st.lists(st.builds(p.SnapshotSegment, IDS, TARGETS, TEXTS, TEXTS), max_size=3).map(
    lambda found: p.SessionSnapshot(tuple(found))
)
LOCAL = st.fixed_dictionaries(
    {
        "type": st.just("source.local"),
        "segment_id": IDS,
        "stable": TEXTS,
        "unstable": TEXTS,
        "committed": st.booleans(),
    },
    optional={"start_ms": st.just(0.0), "end_ms": st.just(100.0)},
)
FRAMES = st.one_of(CREATED, SNAPSHOTS, DELTAS, FINALS, RETRACTIONS, PONGS).map(
    lambda event: json.loads(p.serialise(event))
)


@pytest.fixture(scope="module")
def node() -> Iterator[JavaScript]:
    """One process for all."""
    with javascript() as running:
        yield running


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=st.lists(FRAMES | LOCAL, max_size=25))
def test_any_frames_give_the_same_state_as_in_javascript(
    node: JavaScript, frames: list[Any]
) -> None:
    assert python_states("captions", frames) == node.states("captions", frames)


@pytest.mark.parametrize("name", ["clean", "broken_line"])
def test_kept_frames_give_the_kept_state(node: JavaScript, name: str) -> None:
    kept = json.loads((HERE / "frames" / f"{name}.json").read_text(encoding="utf-8"))
    assert python_states("captions", kept["frames"])[-1] == kept["state"]
    assert node.states("captions", kept["frames"])[-1] == kept["state"]


@given(st.lists(FRAMES, max_size=25))
def test_what_is_shown_of_an_open_segment_is_not_taken_back(frames: list[Any]) -> None:
    state = EMPTY
    for frame in frames:
        after = apply_event(state, event_of(frame))
        for segment in state.segments:
            for target, line in segment.lines.items():
                now = next((s.lines[target] for s in after.segments if s.id == segment.id), None)
                if now is not None and not now.is_final:
                    assert now.stable.startswith(line.stable)
                if now is not None and line.is_final:
                    assert now == line
        state = after


def test_only_lines_with_text_are_the_newest() -> None:
    state = EMPTY
    for number, text in enumerate(["one", "two", "", "four"]):
        state = apply_event(state, TranslationDelta(str(number), "de", 1, text, ""))
    state = apply_event(state, TranslationDelta("4", "fr", 1, "cinq", ""))
    assert [line.stable for _, line in newest_lines(state, "de", 2)] == ["two", "four"]
    assert [s.id for s, _ in newest_lines(state, "de", 9)] == ["0", "1", "3"]
    assert newest_lines(replace(state, segments=()), "de", 2) == []
