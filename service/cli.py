"""`tokenspeed serve`."""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from service.captions.policy import PRESETS, Preset
from service.config import Config, load_config, variables
from service.errors import ConfigError
from service.load.descriptors import room_for
from service.load.stalls import Stalls
from tokenspeed.arguments import add_device_argument
from tokenspeed.engine.loading import LoadedModel, load_engine
from tokenspeed.errors import TokenSpeedError
from tokenspeed.model.config import EngineConfig
from tokenspeed.text.glossary_files import HouseGlossary, read_glossary

EXIT_ENGINE_LOST: Final = 70  # EX_SOFTWARE: a supervisor starts the service anew
ENGINE_CLOSE_S: Final = 5.0  # for a step under way


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "environment variables, over which arguments win:\n" + "\n".join(
        f"  {variable.name:26} {variable.meaning}" + (f" (default: {default})" if default else "")
        for variable, default in variables()
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="default: the shipped model")
    parser.add_argument("--host", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: 8000; 0 takes any free port")
    add_device_argument(parser)
    parser.add_argument(
        "--glossary", type=Path, metavar="FILE", help="terms for every text: .csv, .tsv or .tbx"
    )
    parser.add_argument("--web", type=Path, metavar="DIR", help="folder of the page")
    parser.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="listen beyond this machine without API keys",
    )
    parser.set_defaults(run=serve)


def serve(options: argparse.Namespace, presets: Mapping[str, Preset] = PRESETS) -> int:
    """Run the service until a signal; return the exit code.

    Args:
        presets: how eager the translations of a session are, by name; others for comparison.
    """
    from service import logs

    try:
        config = load_config(
            model=options.model,
            host=options.host,
            port=options.port,
            device=options.device,
            web=options.web,
            glossary=options.glossary,
            is_insecure=options.insecure,
        )
        config.check()
        check_files(config)
        check_traces(config)
        listeners = [bind(config.host, config.port)]
        if config.metrics_port:
            listeners.append(bind(config.host, config.metrics_port))
    except ConfigError as exc:
        return _refuse(exc)
    logs.configure(config.log_level)
    with contextlib.ExitStack() as open_ports:
        for listener in listeners:
            open_ports.enter_context(listener)
        try:
            house = HouseGlossary(read_glossary(config.glossary) if config.glossary else ())
            model = load_engine(
                config.model, device=config.device, config=EngineConfig(num_slots=slots(config))
            )
        except (TokenSpeedError, ValueError) as exc:
            return _refuse(exc)
        try:
            stalls = Stalls()
            with asyncio.Runner(loop_factory=stalls.new_loop) as runner:
                code = runner.run(_serve(config, model, house, listeners, presets, stalls))
        finally:
            has_ended = model.engine.close(ENGINE_CLOSE_S)
        if not has_ended:
            # Its thread cannot be ended, and Python would wait for it.
            logging.shutdown()
            os._exit(code or EXIT_ENGINE_LOST)
        return code


def slots(config: Config) -> int:
    """Return how many sequences the engine keeps: one each for most sessions, two to begin with."""
    return max(16, min(2 * config.max_sessions, 64))


def check_files(config: Config) -> None:
    """Refuse to start where the limit of open files does not hold all sessions.

    Raises:
        ConfigError: so it is.
    """
    room = room_for(config.connections)
    if room.connections <= config.max_sessions:
        raise ConfigError(
            "TOKENSPEED_MAX_SESSIONS",
            f"is {config.max_sessions}, and the limit of open files (ulimit -n) leaves room for "
            f"{room.connections} connections",
        )


def check_traces(config: Config) -> None:
    """Refuse to start where OpenTelemetry cannot read its settings.

    Raises:
        ConfigError: so it is.
    """
    if not config.is_traced:
        return
    try:
        import service.tracing  # noqa: F401 - finds the propagators
    except ValueError as exc:
        raise ConfigError("OTEL_PROPAGATORS", str(exc)) from exc


def bind(host: str, port: int) -> socket.socket:
    """Open a port before the model is loaded, so that a port in use is told at once.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Without the protocol's number asyncio does not know connections for TCP, and leaves small
        # writes waiting for the peer's delayed acknowledgement (TCP_NODELAY): 40 ms a request.
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
    model: LoadedModel,
    house: HouseGlossary,
    listeners: list[socket.socket],
    presets: Mapping[str, Preset],
    stalls: Stalls,
) -> int:
    from service.doors.server import Server
    from service.doors.state import AppState
    from service.translator import Translator
    from tokenspeed.text import detection

    engine = model.engine
    translator = Translator(
        engine,
        model.tokenizer,
        model.prompts,
        max_length=engine.backend.max_length,
        budget_s=config.budget_ms / 1e3,
        house=house,
    )
    state = AppState(config, translator, model.name, engine, presets)
    # Nobody's first caption pays for what the first step of a backend costs, and the first look at
    # its language.
    detection.load()
    for source, target in sorted(model.prompts.pairs)[:1]:
        await translator.whole("One two three.", source, target)

    def started() -> None:
        # What there is now stays: no collection need look at it again, which took 0.1 s.
        gc.collect()
        gc.freeze()
        # Nearly all goes when nobody refers to it any more. Looking for the rest took 11 ms of a
        # step's planning while 10,000 requests waited; it comes after 5,000 new objects, not 700.
        gc.set_threshold(5_000, 10, 100)
        loop = asyncio.get_running_loop()
        state.metrics.gauge(
            "tokenspeed_event_loop_tasks",
            "Tasks of the event loop",
            lambda: len(asyncio.all_tasks(loop)),
        )
        loop.call_soon(lambda: setattr(stalls, "tell", state.metrics.stalled))  # after this turn
        _announce(config, model, listeners[0])

    server = Server(state, started)
    await server.serve(sockets=listeners)
    return EXIT_ENGINE_LOST if server.is_engine_lost else 0


def _announce(config: Config, model: LoadedModel, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else config.host
    url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    backend = model.engine.backend.name
    print(f"TokenSpeed is ready on {url} (model {model.name}, {backend})", flush=True)
    data = {"url": url, "model": model.name, "backend": backend}
    logging.getLogger("service.cli").info("ready", extra={"data": data})


def _refuse(problem: Exception) -> int:
    print(f"tokenspeed: {problem}", file=sys.stderr)
    return 2
