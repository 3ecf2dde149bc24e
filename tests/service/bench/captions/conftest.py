"""A small model on the stage of simulated replays."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from service.bench.captions import simulated_replay
from service.bench.captions.scores import SegmentLog
from tests.service.bench.captions.replays import Replay, run


@pytest.fixture(scope="module")
def stage(brief_translator: Path) -> Iterator[simulated_replay.Stage]:
    found = simulated_replay.open_stage(brief_translator, "cpu")
    yield found
    found.close()


@pytest.fixture(scope="module")
def in_words(stage: simulated_replay.Stage) -> Callable[[str], Replay]:
    """Return a function that replays the lines word by word by a policy, once for all tests."""
    return cache(lambda name: run(stage, name))


@pytest.fixture(scope="module")
def plain(in_words: Callable[[str], Replay]) -> list[SegmentLog]:
    return in_words("retranslation")[1]
