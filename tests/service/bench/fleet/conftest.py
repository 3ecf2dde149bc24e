"""A dear machine, which holds a handful of speakers, so that what it does is soon simulated."""

import pytest

from service.bench.fleet.curve import Curve, measure_levels
from tests.service.bench.fleet.machines import COST, HOST


@pytest.fixture(scope="session")
def curve() -> Curve:
    return Curve(measure_levels(COST, HOST, seconds=4.0), HOST)
