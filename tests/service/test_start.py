"""What is made of the settings before anybody listens."""

import asyncio
from pathlib import Path

import pytest

from service.config import Config
from service.start import load, make_state, slots
from tokenspeed.backends.cpu import CpuBackend


@pytest.mark.parametrize(("sessions", "expected"), [(1, 16), (16, 32), (64, 64), (1000, 64)])
def test_the_engine_keeps_a_sequence_for_most_sessions(sessions: int, expected: int) -> None:
    assert slots(Config(max_sessions=sessions)) == expected


def test_a_loaded_model_translates_at_once_with_the_threads_it_may_have(
    tiny_translator: Path,
) -> None:
    loaded = load(Config(model=tiny_translator, device="cpu"), num_threads=1)
    try:
        assert isinstance(loaded.model.engine.backend, CpuBackend)
        assert loaded.model.engine.backend.num_threads == 1
        state = asyncio.run(make_state(Config(), loaded))
        assert loaded.model.engine.stats().steps  # warm
        assert state.problem() is None
        assert not state.busy()
    finally:
        loaded.model.engine.close(5.0)
