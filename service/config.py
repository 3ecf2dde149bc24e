"""Settings of the service: the environment, read once, and what the command line says on top.

A value that cannot be used stops start-up with the name of its variable. Sizes of the engine are
not asked for: they follow from the number of sessions.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

from service.errors import ConfigError
from service.load.limits import Limits
from tokenspeed.model.config import DEFAULT_MODEL

_T = TypeVar("_T")


def find_page() -> Path:
    """Return the folder of the page: data of an installed package, or `web/` of a checkout."""
    installed = Path(str(files("service") / "page"))
    return installed if installed.is_dir() else installed.parents[1] / "web"


@dataclass(frozen=True)
class Config:
    """How the service runs. Each field says its environment variable."""

    host: str = "127.0.0.1"  # TOKENSPEED_HOST
    port: int = 8000  # TOKENSPEED_PORT; 0 takes any free one
    model: Path = DEFAULT_MODEL  # TOKENSPEED_MODEL, a directory
    device: str = "auto"  # TOKENSPEED_DEVICE
    web: Path = field(default_factory=find_page)  # TOKENSPEED_WEB, the page's directory
    api_keys: tuple[str, ...] = field(default=(), repr=False)  # TOKENSPEED_API_KEYS, with commas
    origins: tuple[str, ...] = ()  # TOKENSPEED_ORIGINS, with commas; pages of other sites
    is_insecure: bool = False  # TOKENSPEED_INSECURE=1: no keys, whoever can reach it may use it
    log_text: bool = False  # TOKENSPEED_LOG_TEXT=1: users' text in the logs
    log_level: str = "INFO"  # TOKENSPEED_LOG_LEVEL
    budget_ms: float = 200.0  # TOKENSPEED_BUDGET_MS, of one update
    context: int = 0  # TOKENSPEED_CONTEXT, earlier sentence pairs, 0 to 2
    max_sessions: int = 64  # TOKENSPEED_MAX_SESSIONS
    admission: bool = True  # TOKENSPEED_ADMISSION=0: let in more than fit the budget
    drain_s: float = 10.0  # TOKENSPEED_DRAIN_S, from SIGTERM to the end at most
    token_s: float = 60.0  # TOKENSPEED_TOKEN_S, life of a token of POST /v1/sessions
    deflate: bool = False  # TOKENSPEED_DEFLATE=1: compress frames, 64 KiB a connection
    limits: Limits = Limits()  # TOKENSPEED_IDLE_S, TOKENSPEED_UPDATES_PER_S

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
        """Whether no credentials are asked for."""
        return not self.api_keys

    def check(self) -> None:
        """Refuse settings that do not go together.

        Raises:
            ConfigError: the port is none, or a network could use the service without keys.
        """
        if not 0 <= self.port <= 65535:
            raise ConfigError("--port", f"is {self.port}, expected 0 to 65535")
        if self.is_open and not self.is_loopback and not self.is_insecure:
            raise ConfigError(
                "TOKENSPEED_API_KEYS",
                f"is needed to listen on {self.host}; or --insecure lets everybody in who can "
                "reach it",
            )


def load_config(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Config:
    """Read the environment; overrides that are None do not count.

    Raises:
        ConfigError: a value cannot be used.
    """
    config = Config()
    values: dict[str, Any] = {}
    for name, (variable, read) in _VARIABLES.items():
        if environ.get(variable):
            values[name] = _read(variable, read, environ[variable])
    limits: dict[str, Any] = {}
    for name, (variable, read) in _LIMITS.items():
        if environ.get(variable):
            limits[name] = _read(variable, read, environ[variable])
    values |= {name: value for name, value in overrides.items() if value is not None}
    return replace(config, **values, limits=replace(config.limits, **limits))


def _read(variable: str, read: Callable[[str], _T], raw: str) -> _T:
    try:
        return read(raw.strip())
    except ValueError as exc:
        raise ConfigError(variable, f"is {raw!r}: {exc}") from exc


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


def _level(raw: str) -> str:
    if raw.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("expected DEBUG, INFO, WARNING or ERROR")
    return raw.upper()


_VARIABLES: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "host": ("TOKENSPEED_HOST", str),
    "port": ("TOKENSPEED_PORT", _between(int, 0, 65535)),
    "model": ("TOKENSPEED_MODEL", Path),
    "device": ("TOKENSPEED_DEVICE", str),
    "web": ("TOKENSPEED_WEB", Path),
    "api_keys": ("TOKENSPEED_API_KEYS", _keys),
    "origins": ("TOKENSPEED_ORIGINS", _list),
    "is_insecure": ("TOKENSPEED_INSECURE", _flag),
    "log_text": ("TOKENSPEED_LOG_TEXT", _flag),
    "log_level": ("TOKENSPEED_LOG_LEVEL", _level),
    "budget_ms": ("TOKENSPEED_BUDGET_MS", _between(float, 1, 60_000)),
    "context": ("TOKENSPEED_CONTEXT", _between(int, 0, 2)),
    "max_sessions": ("TOKENSPEED_MAX_SESSIONS", _between(int, 1, 100_000)),
    "admission": ("TOKENSPEED_ADMISSION", _flag),
    "drain_s": ("TOKENSPEED_DRAIN_S", _between(float, 0, 3600)),
    "token_s": ("TOKENSPEED_TOKEN_S", _between(float, 1, 3600)),
    "deflate": ("TOKENSPEED_DEFLATE", _flag),
}
_LIMITS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "idle_s": ("TOKENSPEED_IDLE_S", _between(float, 1, 86_400)),
    "updates_per_s": ("TOKENSPEED_UPDATES_PER_S", _between(int, 1, 1000)),
}
