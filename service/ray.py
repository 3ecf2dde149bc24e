"""The service as a deployment of Ray Serve: replicas of one application, on one machine or many.

`serve run service.ray:app`, `tokenspeed serve --ray`, or a Serve configuration (deploy/ray/). Each
replica has an engine of its own, and everything else that `tokenspeed serve` has but the server:
Serve's proxies hold the sockets. Knows Ray; how many replicas there should be is decided in
load/autoscaling.py.
"""

import asyncio
import contextlib
import hashlib
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import orjson
import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, DeploymentActorConfig
from starlette.types import ASGIApp

from service import logs
from service.config import load_config
from service.doors.app import make_app
from service.doors.relayed import Relayed
from service.doors.state import AppState
from service.load.autoscaling import BUSY, LATE
from service.load.board import Board, merged
from service.start import ENGINE_CLOSE_S, Loaded, load, make_state, settle
from tokenspeed import __version__

logger = logging.getLogger("service.ray")

WATCH_S: Final = 0.25  # between checks whether this replica is to stop, and of its engine
STOP_S: Final = 10.0  # that a replica gets to stop, beyond draining its sessions
HEALTH_S: Final = 2.0  # between Serve's health checks; three failures replace a replica
MAX_QUEUED: Final = 256  # requests and sockets waiting for a replica, in each proxy
QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}
BOARD: Final = "board"  # where replicas publish their metrics
REPORT_S: Final = 5.0  # between publications
LOOK_BACK_S: Final = 12.0  # window that autoscaling averages over
MAX_LATE: Final = 100.0  # budgets: infinity cannot be averaged
NAME: Final = "tokenspeed"
NAMESPACE: Final = "serve"  # Serve's own namespace
APART: Final = (
    "replicas without TOKENSPEED_REDIS_URL know nothing of each other: tokens of POST "
    "/v1/sessions, rooms and sessions that come back are found on one replica only, by chance"
)
OF_RAY: Final = {
    # Seconds that a proxy waits for a replica to say how many it serves, at first and at most. A
    # replica's event loop has translations to see to beside that: with Serve's own 0.1 s and 1 s,
    # whoever comes back to a busy one is kept waiting.
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "1",
    "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "4",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
    # Ray starts its workers at niceness 15. Beside any other busy program on the machine, replicas
    # and proxies then get a few per cent of a processor, and captions wait for seconds.
    "RAY_worker_niceness": "0",
}
OBJECT_STORE_BYTES: Final = 100_000_000  # of a Ray started here, which stores nothing in it


class Arguments(BaseModel):
    """What the application is built with: `serve run service.ray:app replicas=2`.

    Attributes:
        replicas: how many, or `auto`: as many as speakers need, from 1 to max_replicas.
        cpus_per_replica: that Ray sets aside for each; the engine uses as many threads.
        gpus_per_replica: that Ray sets aside for each, which it uses together.
        surge_percent: of the number, that a change of the settings may start before it stops as
            many. 0 asks Ray for nothing beyond the number, and one replica alone is away for as
            long as it takes to start.
        upscale_delay_s, downscale_delay_s: that more or fewer must be wanted for, with `auto`.
        settings: that win over each replica's environment, by field of `Config`; Ray keeps them,
            so that secrets belong into the environment.
    """

    model_config = ConfigDict(extra="forbid")

    replicas: int | Literal["auto"] = 1
    max_replicas: int = Field(default=4, ge=1)
    cpus_per_replica: float = Field(default=1.0, ge=0)
    gpus_per_replica: float = Field(default=0.0, ge=0)
    upscale_delay_s: float = Field(default=5.0, ge=0)
    downscale_delay_s: float = Field(default=120.0, ge=0)
    surge_percent: int = Field(default=0, ge=0, le=100)
    settings: dict[str, Any] = {}


class Replica:
    """One replica: an engine, and the application over it.

    Args:
        settings: that win over the environment of the process it runs in, by field of `Config`.
        cpus, gpus: that Ray has set aside for it.
    """

    async def __init__(  # type: ignore[misc]
        self, settings: Mapping[str, Any], cpus: float, gpus: float
    ) -> None:
        config = load_config(**settings)
        self._config = replace(config, device=device_of(config.device, gpus))
        logs.configure(self._config.log_level)
        # Set by Ray for this replica: with all cores, replicas would slow each other down.
        num_threads = max(round(cpus), 1)
        self._loaded: Loaded = await asyncio.to_thread(load, self._config, num_threads)
        self._state: AppState = await make_state(self._config, self._loaded)
        await self._state.start()
        settle(self._state)
        self._state.scrape = self._scrape
        self._is_to_go = _departure()
        self._report = asyncio.create_task(self._put_up())
        self._watch = asyncio.create_task(self._look())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        # Of RayError where the proxy that holds a socket has died.
        return Relayed(make_app(self._state), self._config, failures=(RayError,))

    def check_health(self) -> None:
        """Check whether this replica should live, like `/readyz`.

        Raises:
            RuntimeError: it should not; after three failures Serve replaces it.
        """
        problem = self._state.problem()
        if problem is not None:
            raise RuntimeError(problem)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Report how full this replica is, and how late one more speaker would be."""
        state = self._state
        busy = state.busy()
        predicted_s = state.admission.predict(state.now_s())
        late = min(predicted_s / (self._config.budget_ms / 1e3), MAX_LATE)
        return {BUSY: busy, LATE: late}

    async def __del__(self) -> None:
        self._watch.cancel()
        self._report.cancel()
        await self._state.stop()
        await asyncio.to_thread(self._loaded.model.engine.close, ENGINE_CLOSE_S)

    async def _look(self) -> None:
        """Drain when Serve wants this replica to stop; give up when its engine is lost."""
        state = self._state
        while not self._is_to_go() and not state.is_lost():  # noqa: ASYNC110 - no event is set
            await asyncio.sleep(WATCH_S)
        if state.is_lost():
            problem = state.problem() or "the engine is lost"
            logger.critical("engine lost", extra={"data": {"problem": problem}})
            await state.give_up(problem)
        else:
            logger.info("draining", extra={"data": {"cause": "Ray Serve"}})
            await state.drain()

    async def _put_up(self) -> None:
        """Publish this replica's metrics for the others, again and again."""
        while True:
            text = self._state.metrics.render().decode()
            with contextlib.suppress(ValueError, RayError):  # Serve is making a new board
                await serve.get_deployment_actor(BOARD).put.remote(_rank(), text)
            await asyncio.sleep(REPORT_S)

    async def _scrape(self) -> str:
        """Return the metrics of all replicas: this one's current, the others' a moment old."""
        texts: dict[int, str] = {}
        try:
            texts = await serve.get_deployment_actor(BOARD).read.remote()
        except (ValueError, RayError) as exc:
            logger.warning("other replicas are not heard", extra={"data": {"problem": str(exc)}})
        return merged(texts | {_rank(): self._state.metrics.render().decode()})


def device_of(wanted: str, gpus: float) -> str:
    """Return the device of a replica: `auto` is what Ray has reserved for it, and no more."""
    if wanted != "auto":
        return wanted
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # other replicas' GPUs
    return f"cuda:{','.join(map(str, range(int(gpus))))}" if gpus >= 2 else wanted


def _rank() -> int:
    """Return this replica's rank among all, from 0; it may change as others stop."""
    return serve.get_replica_context().rank.rank


def _departure() -> Any:
    """Return a check whether Serve has asked this replica to stop.

    Serve waits for a replica's requests to end before it lets the replica know, and a session has
    no end. It notes the wish at once, in the actor.
    """
    worker = ray._private.worker.global_worker
    actor = worker.actors[worker.actor_id]
    impl = actor._replica_impl
    assert isinstance(impl._shutting_down, bool)
    return lambda: impl._shutting_down


def app(arguments: Arguments) -> serve.Application:
    """Return the application for Serve.

    Raises:
        ConfigError: a setting cannot be used.
    """
    # Before a Ray is started here: no usage statistics are sent.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    config = load_config(**arguments.settings)
    if arguments.replicas != 1 and not config.redis_url:
        logger.warning(APART)
    options: dict[str, Any] = {
        "name": NAME,
        "max_ongoing_requests": config.connections,
        "max_queued_requests": MAX_QUEUED,
        "graceful_shutdown_timeout_s": config.drain_s + STOP_S,
        "graceful_shutdown_wait_loop_s": 0.5,
        "max_surge_percent": arguments.surge_percent,
        "health_check_period_s": HEALTH_S,
        # Nothing about single requests belongs in a log, not even the path.
        "logging_config": QUIET,
        "deployment_actors": [
            DeploymentActorConfig(
                name=BOARD, actor_class=ray.remote(Board), actor_options={"num_cpus": 0}
            )
        ],
        "ray_actor_options": {
            "num_cpus": arguments.cpus_per_replica,
            "num_gpus": arguments.gpus_per_replica,
        },
    }
    if arguments.replicas == "auto":
        options["autoscaling_config"] = AutoscalingConfig(
            min_replicas=1,
            max_replicas=arguments.max_replicas,
            upscale_delay_s=arguments.upscale_delay_s,
            downscale_delay_s=arguments.downscale_delay_s,
            look_back_period_s=LOOK_BACK_S,
            policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]
                policy_function="service.load.autoscaling:policy"
            ),
        )
    else:
        options["num_replicas"] = arguments.replicas
    deployment = serve.deployment(**options)(serve.ingress()(Replica)).options(
        version=_version(arguments), _internal=True
    )
    return deployment.bind(
        arguments.settings, arguments.cpus_per_replica, arguments.gpus_per_replica
    )


def _version(arguments: Arguments) -> str:
    """Return what names all that a replica is made of, as far as who deploys it knows.

    Without it Serve takes each deployment for a new one and replaces every replica, also where only
    their number changes: with one that is to stay, everybody would wait for another to start.
    """
    variables = {n: value for n, value in os.environ.items() if n.startswith("TOKENSPEED_")}
    made_of = (
        __version__,
        arguments.settings,
        arguments.cpus_per_replica,
        arguments.gpus_per_replica,
        variables,
    )
    written = orjson.dumps(made_of, default=str, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(written).hexdigest()


def deploy(arguments: Arguments) -> None:
    """Deploy what the arguments say in place of what the cluster runs; wait until it is ready.

    Replicas whose settings change are replaced one after the other; if only their number changes,
    the remaining ones keep running.

    Raises:
        ConfigError: a setting cannot be used.
        RuntimeError: the replicas do not start.
    """
    serve.run(app(arguments), name=NAME, route_prefix="/")


def run(arguments: Arguments, port: int, on_ready: Callable[[], None]) -> None:
    """Serve until a signal, on the cluster of `RAY_ADDRESS` or only on this machine.

    Args:
        port: of Serve's proxies.
        on_ready: called once the first replicas take sessions.
    Raises:
        ConfigError: a setting cannot be used.
        RuntimeError: the replicas do not start.
    """
    config = load_config(**arguments.settings)
    most = arguments.max_replicas if arguments.replicas == "auto" else arguments.replicas
    with cluster(config.host, port, most * arguments.cpus_per_replica):
        deploy(arguments)
        on_ready()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()
        serve.delete(NAME)  # replicas drain, with the proxies still there


@contextlib.contextmanager
def cluster(host: str, port: int, cpus: float) -> Iterator[None]:
    """Connect to the Ray of `RAY_ADDRESS`, or start a small one that ends with this process.

    Args:
        host, port: of Serve's proxies.
        cpus: that replicas want; a Ray started here offers at least as many, even if the machine
            has fewer cores: whoever asks for that many replicas gets them.
    """
    if os.environ.get("RAY_ADDRESS"):
        ray.init(namespace=NAMESPACE)
    else:
        for name, value in OF_RAY.items():
            os.environ.setdefault(name, value)
        ray.init(
            address="local",
            num_cpus=max(math.ceil(cpus), os.cpu_count() or 1),
            include_dashboard=False,
            logging_level=logging.WARNING,
            object_store_memory=OBJECT_STORE_BYTES,
            namespace=NAMESPACE,
        )
    try:
        serve.start(
            proxy_location="EveryNode",
            http_options={"host": host, "port": port},
            logging_config=QUIET,
        )
        yield
    finally:
        if not os.environ.get("RAY_ADDRESS"):
            serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
