"""How many connections fit, by the limit of open files."""

import os
import resource
from collections.abc import Iterator

import pytest

from service.load.descriptors import MAX_BACKLOG, SPARE, Room, room_for


@pytest.fixture(autouse=True)
def _soft_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_as_far_as_needed() -> None:
    used = len(os.listdir("/dev/fd"))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, hard))
    assert room_for(100) == Room(100, MAX_BACKLOG)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (
        len(os.listdir("/dev/fd")) + SPARE + MAX_BACKLOG + 100,
        hard,
    )


def test_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    used = len(os.listdir("/dev/fd"))
    for limit in (0, used, used + SPARE, used + SPARE + 100, used + SPARE + 1000):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        monkeypatch.setattr(resource, "setrlimit", lambda _, __: None)
        room = room_for(10_000)
        assert room.backlog >= 1
        free = limit - used - SPARE
        assert room.connections == max(free - room.backlog, 0)
        assert free <= 0 or room.connections >= 0.7 * free
