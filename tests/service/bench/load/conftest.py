"""A service of the default model that lets everybody in, for whoever wants to harm it."""

from collections.abc import Iterator

import pytest

from service.bench.served import Served
from service.config import load_config
from tests.service.process import serving


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
    variables = {"TOKENSPEED_ADMISSION": "0", "TOKENSPEED_LOG_LEVEL": "ERROR"}
    with serving(load_config().model, **variables) as (process, port):
        yield Served(f"127.0.0.1:{port}", process.pid)
