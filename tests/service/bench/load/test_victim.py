"""The speaker that is watched: what it counts."""

import json

import pytest

from service.bench.load import victim
from service.bench.load.victim import Report, speak
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine


def test_a_report_tells_what_it_met(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert victim.main([f"127.0.0.1:{service.port}", "0.1"]) == 0
    report = Report(**json.loads(capsys.readouterr().out))
    assert (report.sent, report.lost, report.closed, report.errors) == (1, 0, None, [])
    assert len(report.finals) == 1
    assert report.partials > 1
    assert report.probes


async def test_finals_that_do_not_come_are_lost(run: Run) -> None:
    service = run(FakeEngine(is_broken=True))
    report = await speak(f"127.0.0.1:{service.port}", 0.05, pace_s=0.01)
    assert "internal" in report.errors


async def test_a_server_that_closes_is_told(run: Run) -> None:
    service = run(api_keys=("a-key-of-more-than-16",))
    report = await speak(f"127.0.0.1:{service.port}", 0.1, pace_s=0.01)
    assert report.closed == 4401
    assert report.errors == ["unauthorized"]
