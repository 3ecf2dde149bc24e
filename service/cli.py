"""`tokenspeed serve`."""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from service.captions.policy import PRESETS, Preset
from service.config import Config, load_config, variables
from service.errors import ConfigError
from service.load.descriptors import room_for
from service.load.stalls import Stalls
from tokenspeed.arguments import add_device_argument, add_profile_argument
from tokenspeed.engine.loading import LoadedModel
from tokenspeed.errors import TokenSpeedError

if TYPE_CHECKING:
    from service.start import Loaded

EXIT_ENGINE_LOST: Final = 70  # EX_SOFTWARE: a supervisor restarts the service


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "environment variables (arguments take precedence):\n" + "\n".join(
        f"  {variable.name:26} {variable.meaning}" + (f" (default: {default})" if default else "")
        for variable, default in variables()
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="directory of the model (default: the shipped model)",
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port to listen on; 0 takes any free port (default: 8000)"
    )
    add_device_argument(parser)
    add_profile_argument(parser)
    parser.add_argument(
        "--glossary", type=Path, metavar="FILE", help="glossary for all texts: .csv, .tsv or .tbx"
    )
    parser.add_argument("--web", type=Path, metavar="DIR", help="folder of the web page")
    parser.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="let other machines connect without API keys",
    )
    replicas = parser.add_argument_group("replicas (tokenspeed-live[ray])")
    replicas.add_argument("--ray", action="store_true", help="run on Ray Serve")
    replicas.add_argument(
        "--replicas",
        type=_replicas,
        metavar="N|auto",
        help="number of replicas, or auto: as many as speakers need (default: 1)",
    )
    replicas.add_argument(
        "--max-replicas",
        type=int,
        metavar="N",
        help="the most replicas with --replicas auto (default: 4)",
    )
    replicas.add_argument(
        "--cpus-per-replica", type=float, metavar="C", help="cores reserved for each (default: 1)"
    )
    replicas.add_argument(
        "--gpus-per-replica", type=float, metavar="G", help="GPUs reserved for each (default: 0)"
    )
    parser.set_defaults(run=serve)


def serve(options: argparse.Namespace, presets: Mapping[str, Preset] = PRESETS) -> int:
    """Run the service until a signal; return the exit code.

    Args:
        presets: how eager the translations of a session are, by name; others for comparison.
    """
    from service import logs

    settings = {
        "model": options.model,
        "profile": options.profile,
        "host": options.host,
        "port": options.port,
        "device": options.device,
        "web": options.web,
        "glossary": options.glossary,
        "is_insecure": options.insecure,
    }
    try:
        config = load_config(**settings)
        config.check()
        check_traces(config)
        if options.ray:
            return _serve_on_ray(config, options, settings)
        _refuse_replicas(options)
        check_files(config)
        listeners = [bind(config.host, config.port)]
        if config.metrics_port:
            listeners.append(bind(config.host, config.metrics_port))
    except ConfigError as exc:
        return _refuse(exc)
    logs.configure(config.log_level)
    from service.start import ENGINE_CLOSE_S, load  # takes a second: wrong settings come first

    with contextlib.ExitStack() as open_ports:
        for listener in listeners:
            open_ports.enter_context(listener)
        try:
            loaded = load(config)
        except (TokenSpeedError, ValueError) as exc:
            return _refuse(exc)
        try:
            stalls = Stalls()
            with asyncio.Runner(loop_factory=stalls.new_loop) as runner:
                code = runner.run(_serve(config, loaded, listeners, presets, stalls))
        finally:
            has_ended = loaded.model.engine.close(ENGINE_CLOSE_S)
        if not has_ended:
            # Its thread cannot be stopped, and Python would wait for it.
            logging.shutdown()
            os._exit(code or EXIT_ENGINE_LOST)
        return code


_REPLICAS: Final = ("replicas", "max_replicas", "cpus_per_replica", "gpus_per_replica")


def _replicas(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _refuse_replicas(options: argparse.Namespace) -> None:
    for name in _REPLICAS:
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')}", "goes with --ray")


def _serve_on_ray(config: Config, options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    """Let Ray Serve run replicas until a signal.

    Raises:
        ConfigError: Ray is not installed, or an argument or the port cannot be used.
    """
    from service import logs

    if find_spec("ray") is None:
        raise ConfigError("--ray", "needs the package ray: pip install 'tokenspeed-live[ray]'")
    with bind(config.host, config.port) as listener:
        port: int = listener.getsockname()[1]
    logs.configure(config.log_level)
    from service import ray

    given = {name: getattr(options, name) for name in _REPLICAS}
    # Replicas have working directories of their own.
    kept = {
        name: value.absolute() if isinstance(value, Path) else value
        for name, value in settings.items()
        if value is not None
    }
    try:
        arguments = ray.Arguments(
            settings=kept, **{name: value for name, value in given.items() if value is not None}
        )
        ray.run(arguments, port, partial(_announce_replicas, config, arguments.replicas, port))
    except (RuntimeError, ValueError) as exc:
        raise ConfigError("--ray", str(exc)) from exc
    return 0


def check_files(config: Config) -> None:
    """Refuse to start if the limit on open files is too low for all sessions.

    Raises:
        ConfigError: it is.
    """
    room = room_for(config.connections)
    if room.connections <= config.max_sessions:
        raise ConfigError(
            "TOKENSPEED_MAX_SESSIONS",
            f"is {config.max_sessions}, and the limit of open files (ulimit -n) leaves room for "
            f"{room.connections} connections",
        )


def check_traces(config: Config) -> None:
    """Refuse to start if OpenTelemetry cannot use its settings.

    Raises:
        ConfigError: it cannot.
    """
    if not config.is_traced:
        return
    try:
        import service.tracing  # noqa: F401 - finds the propagators
    except ValueError as exc:
        raise ConfigError("OTEL_PROPAGATORS", str(exc)) from exc


def bind(host: str, port: int) -> socket.socket:
    """Open a port before the model is loaded, so that a port in use is reported at once.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Without the protocol's number asyncio does not recognise TCP and does not set TCP_NODELAY:
        # small writes would wait for the peer's delayed acknowledgement, 40 ms a request.
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(256)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as exc:
        problem = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f"{host}:{port}", problem.lower()) from exc
    return listener


async def _serve(
    config: Config,
    loaded: "Loaded",
    listeners: list[socket.socket],
    presets: Mapping[str, Preset],
    stalls: Stalls,
) -> int:
    from service.doors.server import Server
    from service.start import make_state, settle

    state = await make_state(config, loaded, presets)

    def started() -> None:
        settle(state)
        tell = partial(setattr, stalls, "tell", state.metrics.stalled)
        asyncio.get_running_loop().call_soon(tell)  # after this turn
        _announce(config, loaded.model, listeners[0])

    server = Server(state, started)
    await server.serve(sockets=listeners)
    return EXIT_ENGINE_LOST if server.is_engine_lost else 0


def _url(config: Config, port: int) -> str:
    name = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _announce_replicas(config: Config, replicas: int | str, port: int) -> None:
    url = _url(config, port)
    print(f"TokenSpeed is ready on {url} (on Ray, replicas: {replicas})", flush=True)
    logging.getLogger("service.cli").info("ready", extra={"data": {"url": url}})


def _announce(config: Config, model: LoadedModel, listener: socket.socket) -> None:
    url = _url(config, listener.getsockname()[1])
    backend = model.engine.backend.name
    print(f"TokenSpeed is ready on {url} (model {model.name}, {backend})", flush=True)
    data = {"url": url, "model": model.name, "backend": backend}
    logging.getLogger("service.cli").info("ready", extra={"data": data})


def _refuse(problem: Exception) -> int:
    print(f"tokenspeed: {problem}", file=sys.stderr)
    return 2
