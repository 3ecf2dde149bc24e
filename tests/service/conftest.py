"""A real server on a free port, over an engine without a model."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.cli import bind
from service.config import Config, load_config
from service.doors.server import Server
from service.doors.state import AppState
from service.translator import Translator
from tests.service.fakes import FakeEngine, FakePrompts, FakeTokenizer
from tests.service.process import serving
from tests.service.redis_server import RedisServer


@dataclass
class Service:
    """A running server."""

    state: AppState
    server: Server
    port: int
    engine: FakeEngine

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(engine: FakeEngine, **settings: Any) -> Iterator[Service]:
    """Serve until the block ends."""
    listeners = [bind("127.0.0.1", 0)]
    if settings.get("metrics_port"):
        listeners.append(bind("127.0.0.1", 0))
        settings["metrics_port"] = listeners[1].getsockname()[1]
    config = Config(port=listeners[0].getsockname()[1], **settings)
    translator = Translator(
        engine, FakeTokenizer(), FakePrompts(), engine.backend.max_length, config.budget_ms / 1e3
    )
    state = AppState(config, translator, "fake", engine)
    started = threading.Event()
    server = Server(state, started.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=listeners)))
    thread.start()
    try:
        assert started.wait(10)
        yield Service(state, server, config.port, engine)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A server with all defaults, shared by the tests that leave it as it was."""
    with running(FakeEngine()) as found:
        yield found


@pytest.fixture(scope="session")
def shipped() -> Iterator[int]:
    """The port of a process that serves the default model to everybody, shared likewise."""
    with serving(load_config().model, TOKENSPEED_ADMISSION="0") as (_, port):
        yield port


Run = Callable[..., Service]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return a function that starts a server with settings of its own."""
    with ExitStack() as stack:

        def start(engine: FakeEngine | None = None, **settings: Any) -> Service:
            return stack.enter_context(running(engine or FakeEngine(), **settings))

        yield start


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that the tests of this worker share; they leave it running."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of one test, which may stop and start it."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()
