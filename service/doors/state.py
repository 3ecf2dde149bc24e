"""What all requests and connections of one running service share."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from service.captions.glossaries import Glossaries, StoredGlossaries
from service.captions.policy import PRESETS, Preset
from service.config import Config
from service.doors.auth import Auth
from service.doors.resume import ResumableSessions
from service.doors.turns import OneByOne, Round
from service.load.admission import Admission, Work
from service.load.gate import RequestGate
from service.load.limits import Accounts
from service.load.metrics import Metrics
from service.rooms.hub import Hub, Rooms
from service.translator import Translator
from tokenspeed.engine.core import EngineStats, OnStep
from tokenspeed.engine.engine import EngineHealth

if TYPE_CHECKING:
    from service.doors.shared_sessions import SharedSessions
    from service.store import Store
    from service.tracing import Tracing

BURST_S: Final = 20.0  # of how many seconds a client may have its share over HTTP at once
LOOK_S: Final = 0.02  # between looks whether requests are over
MEASURE_S: Final = 1.0  # between readings of the engine's counters
SLOW_STEP_S: Final = 2.0  # a step that takes longer makes the service unready
HANGING_STEP_S: Final = 20.0  # a step that takes longer is taken to hang for ever
GIVE_UP_S: Final = 2.0  # for clients to hear that the engine is lost


class Drainable(Protocol):
    """An open connection, as the shutdown sees it."""

    ended: asyncio.Event

    def drain(self, time_left_s: float) -> None:
        """Finish every segment, then close."""
        ...

    def give_up(self, problem: str) -> None:
        """Tell the client that nothing more will come, then close."""
        ...


class MonitoredEngine(Protocol):
    """What is read from an engine, apart from its translations."""

    def stats(self) -> EngineStats:
        """Return a snapshot of the counters."""
        ...

    def health(self) -> EngineHealth:
        """Return whether it can be relied on."""
        ...

    def watch_steps(self, on_step: OnStep) -> None:
        """Call back for each step."""
        ...


class AppState:
    """What all connections share.

    Args:
        config: settings, checked.
        translator: over a running engine.
        model_name: what clients are told.
        engine: tells what it does and how it is.
        presets: how eager the translations of a session are, by name.

    Attributes:
        epoch: names this process.
        connections: those that have a session; others stand at the door.
        sessions: those that a client may come back to. shared: those of all replicas, if any.
        admission: who is let in, and how often partials come.
        gate: how many requests over plain HTTP are under way. accounts: what they have cost.
        store: the Redis that replicas share, where there is one.
        turns: of the pieces of all their texts, on the event loop. round: of sessions there.
        documents: held while one is read or written: threads share the event loop's processor.
        files: the same for files, which are read and written in processes of their own.
        glossaries: that were given once, to be named by their ids.
        rooms: where readers follow what is said.
        tracing: makes spans of what happens, where they are asked for.
        scrape: returns the text for Prometheus; of this process, or of all replicas.
        is_draining: the service is shutting down and takes nobody new.
        is_drained: and all sessions have ended, so that readers have nothing to wait for.
    """

    def __init__(
        self,
        config: Config,
        translator: Translator,
        model_name: str,
        engine: MonitoredEngine,
        presets: Mapping[str, Preset] = PRESETS,
    ) -> None:
        self.config = config
        self.translator = translator
        self.store = _open_store(config)
        self.glossaries = _open_glossaries(self.store)
        self.model = replace(
            translator.model_info(model_name, config.context),
            stored=lambda key: self.glossaries.recent(key, self.now_s()),
        )
        self.presets = presets
        self.auth = Auth(config.api_keys, config.token_s, self.store)
        self.epoch = secrets.token_hex(4)
        self.connections: set[Drainable] = set()
        self.shared = _open_shared(self.store)
        self.sessions = ResumableSessions(config.max_sessions, self.shared)
        self.admission = Admission(config.budget_ms / 1e3, translator.engine.clock())
        self.gate = RequestGate(config.limits.requests_of_client, config.limits.requests_in_all)
        self.accounts = Accounts(config.limits.request_share, BURST_S)
        self.rooms = _open_rooms(config, self.store, self.now_s)
        self.turns = OneByOne()
        self.round = Round()
        self.documents = asyncio.Lock()
        self.files = asyncio.Lock()
        self.tracing = _open_tracing(config, translator, engine, self.epoch)
        self.is_draining = False
        self.is_drained = False
        self.metrics = Metrics(engine.stats)
        self.scrape: Callable[[], Awaitable[str]] = self._scrape
        translator.on_faults = self.metrics.count_faults
        self._engine = engine
        self._measured_s = float("-inf")  # when the engine was read last
        self.metrics.gauge(
            "tokenspeed_predicted_update_seconds",
            "p95 of an update with one more session",
            lambda: self.admission.predict(self.now_s()),
        )
        self.metrics.gauge(
            "tokenspeed_busy",
            "How full the process is, of work, sessions or readers; 1: no more fits",
            self.busy,
        )
        self.metrics.gauge("tokenspeed_rooms", "Rooms that are kept", lambda: len(self.rooms))
        self.metrics.gauge(
            "tokenspeed_readers", "Who reads along in a room", lambda: self.rooms.num_readers
        )
        self.metrics.gauge(
            "tokenspeed_partial_interval_seconds",
            "Least time between partials of a session; above 0 where the machine is busy",
            self.partial_interval_s,
        )

    async def _scrape(self) -> str:
        return self.metrics.render().decode()

    async def start(self) -> None:
        """Start what needs the event loop."""
        await self.rooms.start()
        if self.shared is not None:
            await self.shared.start()

    async def stop(self) -> None:
        """Stop it."""
        if self.shared is not None:
            await self.shared.stop()
        await self.rooms.stop()
        if self.store is not None:
            await self.store.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    async def drain(self) -> None:
        """Take nobody new, tell every session, and wait until all are done, within bounds."""
        end_s = self.now_s() + self.config.drain_s
        self.is_draining = self.gate.is_closed = True
        for connection in list(self.connections):
            connection.drain(self.config.drain_s)
        self.rooms.wake_all()  # readers of rooms in which nobody speaks need not wait
        await self._all_ended(self.config.drain_s)
        while self.gate.num_under_way and self.now_s() < end_s:  # noqa: ASYNC110 - many end them
            await asyncio.sleep(LOOK_S)
        self.is_drained = True
        self.rooms.wake_all()

    async def give_up(self, problem: str) -> None:
        """Tell every client that nothing more will come."""
        for connection in list(self.connections):
            connection.give_up(problem)
        await self._all_ended(GIVE_UP_S)

    async def _all_ended(self, timeout_s: float) -> None:
        ended = [asyncio.ensure_future(c.ended.wait()) for c in self.connections]
        if ended:
            await asyncio.wait(ended, timeout=timeout_s)
            for each in ended:
                each.cancel()

    def now_s(self) -> float:
        """Seconds on the engine's clock."""
        return self.translator.engine.clock()

    def measure(self) -> None:
        """Pass the engine's counters to admission, about once a second."""
        now_s = self.now_s()
        self.admission.refresh(now_s)
        if now_s - self._measured_s >= MEASURE_S:
            self._measured_s = now_s
            stats = self._engine.stats()
            work = Work(stats.live_rows, stats.step_s, stats.row_s, time.thread_time())
            self.admission.measure(work, now_s)

    def partial_interval_s(self) -> float:
        """Return the least time between a session's partials; above 0 on a busy machine."""
        self.admission.refresh(self.now_s())
        return self.admission.interval_s

    def problem(self) -> str | None:
        """Return why the engine cannot be relied on; None if it can."""
        health = self._engine.health()
        if not health.is_alive:
            return "the engine has stopped"
        if health.step_s > SLOW_STEP_S:
            return "a step of the engine hangs"
        if health.failures_in_a_row > 1:
            return "steps of the engine fail"
        return None

    def is_idle(self) -> bool:
        """Whether nobody would notice if everything else stopped for a moment."""
        is_quiet = not (self.connections or self.gate.num_under_way or self.rooms.num_readers)
        return is_quiet and not self._engine.stats().running

    def is_lost(self) -> bool:
        """Whether the engine will not recover by itself: the process has to be restarted."""
        health = self._engine.health()
        return not health.is_alive or health.step_s > HANGING_STEP_S

    def busy(self) -> float:
        """Return how full this process is, by work, sessions or readers; 1: no more fits."""
        self.measure()
        config = self.config
        return max(
            self.admission.busy(self.now_s()),
            len(self.connections) / config.max_sessions,
            self.rooms.num_readers / config.max_readers,
        )

    def has_room(self) -> bool:
        """Whether one more session leaves the existing ones within their budget."""
        self.measure()
        return not self.config.admission or self.admission.admits(self.now_s())


def _open_store(config: Config) -> "Store | None":
    if not config.redis_url:
        return None
    from service.store import Store  # needs an optional extra

    return Store(config.redis_url)


def _open_tracing(
    config: Config, translator: Translator, engine: MonitoredEngine, epoch: str
) -> "Tracing | None":
    if not config.is_traced:
        return None
    from service.tracing import TracedEngine, Tracing  # likewise

    tracing = Tracing(translator.engine.clock, epoch)
    traced = TracedEngine(translator.engine, tracing, config.step_spans)
    engine.watch_steps(traced.stepped)
    translator.engine = traced
    return tracing


def _open_shared(store: "Store | None") -> "SharedSessions | None":
    if store is None:
        return None
    from service.doors.shared_sessions import SharedSessions

    return SharedSessions(store)


def _open_glossaries(store: "Store | None") -> Glossaries:
    if store is None:
        return StoredGlossaries()
    from service.doors.shared_glossaries import SharedGlossaries

    return SharedGlossaries(store)


def _open_rooms(config: Config, store: "Store | None", clock: Callable[[], float]) -> Rooms:
    if store is None:
        return Hub(config.max_rooms, config.room_idle_s)
    from service.rooms.shared_hub import SharedHub

    return SharedHub(store, config.max_rooms, config.room_idle_s, clock)
