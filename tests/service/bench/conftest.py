"""Servers that are measured here start without importing everything again."""

import pytest

from service.bench import served
from tests.forked import ForkedAsync


@pytest.fixture(autouse=True)
def _servers_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "start", ForkedAsync.start)
