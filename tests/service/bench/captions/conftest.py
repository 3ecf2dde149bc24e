"""A small model on the stage of simulated replays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.bench.captions import simulated_replay
from service.bench.captions.scores import SegmentLog
from tests.service.bench.captions.replays import run


@pytest.fixture(scope="module")
def stage(tiny_translator: Path) -> Iterator[simulated_replay.Stage]:
    found = simulated_replay.open_stage(tiny_translator, "reference")
    yield found
    found.close()


@pytest.fixture(scope="module")
def plain(stage: simulated_replay.Stage) -> list[SegmentLog]:
    return run(stage, "retranslation")[1]
