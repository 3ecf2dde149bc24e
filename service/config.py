"""Settings of the service: read once from the environment, overridden by the command line.

A value that cannot be used stops start-up with the name of its variable. The engine's sizes are no
settings: they follow from the number of sessions.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from service.errors import ConfigError
from service.load.limits import Limits
from tokenspeed.model.config import DEFAULT_MODEL

_T = TypeVar("_T")

MORE_CONNECTIONS: Final = 320  # than sessions and readers


def find_page() -> Path:
    """Return the folder of the page: data of an installed package, or `web/` of a checkout."""
    installed = Path(str(files("service") / "page"))
    return installed if installed.is_dir() else installed.parents[1] / "web"


@dataclass(frozen=True)
class Variable:
    """An environment variable: its name, how its text is parsed, and its meaning in a few words.

    is_secret: errors do not show its value.
    """

    name: str
    read: Callable[[str], Any]
    meaning: str
    is_secret: bool = False


def _flag(raw: str) -> bool:
    if raw not in ("0", "1"):
        raise ValueError("expected 0 or 1")
    return raw == "1"


def _between(kind: type[_T], low: float, high: float) -> Callable[[str], _T]:
    def read(raw: str) -> _T:
        value: Any = kind(raw)  # type: ignore[call-arg]
        if not low <= value <= high:
            raise ValueError(f"expected {low} to {high}")
        return value

    return read


def _list(raw: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def _keys(raw: str) -> tuple[str, ...]:
    keys = _list(raw)
    if any(len(key) < 16 for key in keys):
        raise ValueError("a key has fewer than 16 characters")
    return keys


def _web_address(raw: str) -> str:
    url = urlsplit(raw)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ValueError("expected something like https://captions.example")
    return raw.rstrip("/")


def _redis_address(raw: str) -> str:
    url = urlsplit(raw)
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise ValueError("expected something like redis://:password@redis.example:6379/0")
    return raw


def _networks(raw: str) -> tuple[str, ...]:
    networks = _list(raw)
    for network in networks:
        ip_network(network)
    return networks


def _level(raw: str) -> str:
    if raw.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("expected DEBUG, INFO, WARNING or ERROR")
    return raw.upper()


def _from(
    name: str, read: Callable[[str], Any], meaning: str, *, is_secret: bool = False
) -> dict[str, Variable]:
    """Return the metadata of a field that an environment variable can set."""
    return {"variable": Variable(f"TOKENSPEED_{name}", read, meaning, is_secret)}


@dataclass(frozen=True)
class Config:
    """How the service runs. Each field says its environment variable and what it means."""

    host: str = field(
        default="127.0.0.1",
        metadata=_from(
            "HOST", str, "address to listen on; keys are required if other machines can connect"
        ),
    )
    port: int = field(
        default=8000,
        metadata=_from("PORT", _between(int, 0, 65535), "port to listen on; 0: any free one"),
    )
    model: Path = field(
        default=DEFAULT_MODEL,
        metadata=_from("MODEL", Path, "directory of the model"),
    )
    profile: Path | None = field(
        default=None,
        metadata=_from(
            "PROFILE", Path, "profile of the model, a .toml file; empty: the one that recognises it"
        ),
    )
    device: str = field(
        default="auto",
        metadata=_from("DEVICE", str, "backend to use: auto, a name, or cuda:0,1 for two GPUs"),
    )
    web: Path = field(
        default_factory=find_page,
        metadata=_from("WEB", Path, "folder of the web page"),
    )
    glossary: Path | None = field(
        default=None,
        metadata=_from("GLOSSARY", Path, "glossary for all texts: a .csv, .tsv or .tbx file"),
    )
    api_keys: tuple[str, ...] = field(
        default=(),
        repr=False,
        metadata=_from(
            "API_KEYS",
            _keys,
            "API keys of at least 16 characters, comma-separated",
            is_secret=True,
        ),
    )
    origins: tuple[str, ...] = field(
        default=(),
        metadata=_from(
            "ORIGINS", _list, "other sites whose pages may connect, comma-separated; *: all"
        ),
    )
    public_url: str = field(
        default="",
        metadata=_from(
            "PUBLIC_URL",
            _web_address,
            "address of the service for browsers: https://captions.example",
        ),
    )
    proxies: tuple[str, ...] = field(
        default=(),
        metadata=_from(
            "PROXIES",
            _networks,
            "addresses or networks of proxies whose X-Forwarded-For, X-Forwarded-Proto and Host "
            "are trusted, comma-separated",
        ),
    )
    metrics_port: int = field(
        default=0,
        metadata=_from(
            "METRICS_PORT",
            _between(int, 0, 65535),
            "separate port for /metrics and the probes; 0: the port of the service, where /metrics "
            "needs a key if there are keys",
        ),
    )
    is_insecure: bool = field(
        default=False,
        metadata=_from("INSECURE", _flag, "1: no keys; whoever can reach the service may use it"),
    )
    log_text: bool = field(
        default=False,
        metadata=_from("LOG_TEXT", _flag, "1: log users' text"),
    )
    log_level: str = field(
        default="INFO",
        metadata=_from("LOG_LEVEL", _level, "DEBUG, INFO, WARNING or ERROR"),
    )
    budget_ms: float = field(
        default=200.0,
        metadata=_from(
            "BUDGET_MS", _between(float, 1, 60_000), "milliseconds that one update may take"
        ),
    )
    context: int = field(
        default=0,
        metadata=_from(
            "CONTEXT",
            _between(int, 0, 2),
            "earlier sentence pairs that the model is given as context",
        ),
    )
    max_sessions: int = field(
        default=64,
        metadata=_from("MAX_SESSIONS", _between(int, 1, 100_000), "maximum number of sessions"),
    )
    max_connections: int = field(
        default=0,
        metadata=_from(
            "MAX_CONNECTIONS",
            _between(int, 0, 1_000_000),
            "maximum number of connections; 0: enough for sessions, readers and 320 more",
        ),
    )
    admission: bool = field(
        default=True,
        metadata=_from("ADMISSION", _flag, "0: admit more sessions than fit the budget"),
    )
    max_rooms: int = field(
        default=256,
        metadata=_from("MAX_ROOMS", _between(int, 0, 100_000), "maximum number of rooms"),
    )
    max_readers: int = field(
        default=2000,
        metadata=_from(
            "MAX_READERS",
            _between(int, 1, 1_000_000),
            "maximum number of readers of all rooms together",
        ),
    )
    room_idle_s: float = field(
        default=6 * 3600.0,
        metadata=_from(
            "ROOM_IDLE_S",
            _between(float, 1, 30 * 86_400),
            "seconds after which a room that nobody uses is forgotten",
        ),
    )
    redis_url: str = field(
        default="",
        repr=False,
        metadata=_from(
            "REDIS_URL",
            _redis_address,
            "Redis for what replicas share (rooms, tokens, sessions, glossaries): redis://host:6379/0",
            is_secret=True,
        ),
    )
    drain_s: float = field(
        default=10.0,
        metadata=_from(
            "DRAIN_S", _between(float, 0, 3600), "seconds for open segments to finish after SIGTERM"
        ),
    )
    token_s: float = field(
        default=60.0,
        metadata=_from(
            "TOKEN_S",
            _between(float, 1, 3600),
            "seconds for which a token of POST /v1/sessions is valid",
        ),
    )
    step_spans: float = field(
        default=10.0,
        metadata=_from(
            "STEP_SPANS",
            _between(float, 0, 10_000),
            "maximum number of spans of engine steps per second, if traces are enabled "
            "(OTEL_EXPORTER_OTLP_ENDPOINT)",
        ),
    )
    is_traced: bool = False  # by the variables of OpenTelemetry
    deflate: bool = field(
        default=False,
        metadata=_from("DEFLATE", _flag, "1: compress frames, at a cost of 64 KiB per connection"),
    )
    limits: Limits = Limits()  # only those in _LIMITS can be set

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_open(self) -> bool:
        """Whether no credentials are required."""
        return not self.api_keys

    @property
    def is_local(self) -> bool:
        """Whether the service is open without keys, but only to this machine."""
        return self.is_open and self.is_loopback

    @property
    def connections(self) -> int:
        """Most connections at one time, if the limit on open files allows as many."""
        # The rest is for short requests, under way or waiting, and for probes.
        held = self.max_sessions + self.max_readers
        return self.max_connections or held + MORE_CONNECTIONS

    @property
    def strangers(self) -> int:
        """Most sockets without a session at one time."""
        return min(max(self.max_sessions, 16), 128)

    def check(self) -> None:
        """Refuse settings that do not go together.

        Raises:
            ConfigError: a port is invalid or used twice, a package is missing, there are fewer
                connections than sessions, or a network could use the service without keys.
        """
        if not 0 <= self.port <= 65535:
            raise ConfigError("--port", f"is {self.port}, expected 0 to 65535")
        if self.port and self.metrics_port == self.port:
            raise ConfigError(
                "TOKENSPEED_METRICS_PORT", f"is {self.port}, which is the port of the service"
            )
        if self.redis_url and find_spec("redis") is None:
            raise ConfigError(
                "TOKENSPEED_REDIS_URL",
                "needs the package redis: pip install 'tokenspeed-live[redis]'",
            )
        if self.is_traced and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ConfigError(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "needs OpenTelemetry: pip install 'tokenspeed-live[otel]', or "
                "OTEL_SDK_DISABLED=true",
            )
        if self.connections <= self.max_sessions:
            raise ConfigError(
                "TOKENSPEED_MAX_CONNECTIONS",
                f"is {self.connections}, expected more than the {self.max_sessions} sessions",
            )
        if self.is_open and not self.is_loopback and not self.is_insecure:
            raise ConfigError(
                "TOKENSPEED_API_KEYS",
                f"is required to listen on {self.host}; or use --insecure to admit everybody who "
                "can reach it",
            )


def load_config(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Config:
    """Read the environment; overrides that are None are ignored.

    Raises:
        ConfigError: a value cannot be used.
    """
    config = Config()
    values: dict[str, Any] = {"is_traced": _is_traced(environ)}
    for name, variable in _variables().items():
        if environ.get(variable.name):
            values[name] = _read(variable, environ[variable.name])
    limits: dict[str, Any] = {}
    for name, variable in _LIMITS.items():
        if environ.get(variable.name):
            limits[name] = _read(variable, environ[variable.name])
    values |= {name: value for name, value in overrides.items() if value is not None}
    return replace(config, **values, limits=replace(config.limits, **limits))


def _is_traced(environ: Mapping[str, str]) -> bool:
    """Return whether the variables of OpenTelemetry ask for traces.

    Raises:
        ConfigError: they ask for an exporter or a protocol that is not supported.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    places = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if exporter == "none" or not (exporter or any(environ.get(name) for name in places)):
        return False
    if exporter not in ("", "otlp"):
        raise ConfigError("OTEL_TRACES_EXPORTER", f"is {exporter!r}, expected otlp or none")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        spoken = environ.get(name, "").strip()
        if spoken == "http/protobuf":
            break
        if spoken:
            raise ConfigError(name, f"is {spoken!r}, expected http/protobuf")
    return True


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even its parent package
        return False


def _read(variable: Variable, raw: str) -> Any:
    try:
        return variable.read(raw.strip())
    except ValueError as exc:
        if variable.is_secret:
            raise ConfigError(variable.name, str(exc)) from None
        raise ConfigError(variable.name, f"is {raw!r}: {exc}") from exc


_LIMITS: Final[Mapping[str, Variable]] = {
    "idle_s": Variable(
        "TOKENSPEED_IDLE_S",
        _between(float, 1, 86_400),
        "seconds after which a session ends if its client sends nothing",
    ),
    "updates_per_s": Variable(
        "TOKENSPEED_UPDATES_PER_S",
        _between(int, 1, 1000),
        "updates of a session that are translated per second",
    ),
}


def variables() -> list[tuple[Variable, str]]:
    """Return every variable with its default as a user would write it."""
    config = Config()
    found = [(v, _shown(getattr(config, name))) for name, v in _variables().items()]
    return found + [(v, _shown(getattr(config.limits, name))) for name, v in _LIMITS.items()]


def _variables() -> dict[str, Variable]:
    return {f.name: f.metadata["variable"] for f in fields(Config) if "variable" in f.metadata}


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Path):
        return "the shipped one"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, bool | float) else str(value)
