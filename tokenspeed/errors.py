"""Every error that the engine raises on purpose.

TokenSpeedError
├── CheckpointError      a model directory is missing, damaged or foreign; names file and tensor
├── ProfileError         no profile says how to prompt a model, or one is wrong; names the file
├── BackendUnavailable   the requested device or kernel cannot run here; says what to do
├── DeviceLost           a device of a backend no longer answers; no request is at fault
├── RequestError         a request that can never run
│   └── RequestTooLong   more tokens than a slot holds
├── EngineStopped        the engine was closed, or its loop failed, while the request was waiting
├── DocumentError        a file that cannot be translated; names it
├── GlossaryFileError    a glossary that cannot be read; names file and line
└── CommandError         a command that cannot be carried out; becomes one line and exit code 2
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class TokenSpeedError(Exception):
    """Base of all errors of the engine."""


class CheckpointError(TokenSpeedError):
    """A model directory cannot be used.

    Attributes:
        path: the file or directory at fault.
        tensor: the tensor at fault, or None.
    """

    def __init__(self, path: Path | str, problem: str, tensor: str | None = None) -> None:
        self.path = Path(path)
        self.tensor = tensor
        where = f"{path}" if tensor is None else f"{path}: tensor {tensor!r}"
        super().__init__(f"{where}: {problem}")


class ProfileError(TokenSpeedError):
    """No profile says how to prompt a model, or its profile is wrong.

    Attributes:
        path: the profile at fault, or the model directory that no profile fits.
    """

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path = Path(path)
        super().__init__(f"{path}: {problem}")


class BackendUnavailable(TokenSpeedError):
    """The requested backend cannot run on this machine; the text says why and what to do."""


class DeviceLost(TokenSpeedError):
    """A device of a backend did not answer in time, whatever it was asked for."""


class RequestError(TokenSpeedError):
    """A request that can never run."""


class RequestTooLong(RequestError):
    """A request needs more positions than a slot has.

    Attributes:
        tokens: positions that the request could need.
        limit: positions that a slot has.
    """

    def __init__(self, tokens: int, limit: int) -> None:
        self.tokens = tokens
        self.limit = limit
        super().__init__(f"request needs {tokens} positions, a slot holds {limit}")


class EngineStopped(TokenSpeedError):
    """The engine stopped before the request was done."""


class DocumentError(TokenSpeedError):
    """A file cannot be translated: its format is unknown, or it is not of its format.

    Attributes:
        name: the file's name.
    """

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name}: {problem}")


class GlossaryFileError(TokenSpeedError):
    """A glossary cannot be read.

    Attributes:
        path: the file at fault.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}")


class CommandError(TokenSpeedError):
    """A command cannot be carried out; the text says why."""


@contextmanager
def told(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of these kinds into a CommandError: a user's mistake needs no traceback.

    Raises:
        CommandError: with the text of the error.
    """
    try:
        yield
    except kinds as exc:
        raise CommandError(str(exc)) from exc
