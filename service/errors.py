"""Every error that the service raises on purpose.

ServiceError
├── ProtocolError     a frame that cannot be taken; becomes an `error` event
├── ConfigError       a setting that cannot be used; stops start-up with its name
├── AuthError         credentials missing, wrong or expired
├── RestError         a request over plain HTTP that gets an error status
├── StoreLost         the Redis that replicas share does not answer
└── TranslationFailed the engine could not run a job; says which
"""

from typing import Final

MAX_MESSAGE: Final = 400  # characters: what was sent may be long, and is not all repeated


class ServiceError(Exception):
    """Base of all errors of the service."""


class ProtocolError(ServiceError):
    """A client's frame cannot be accepted.

    Attributes:
        code: one of `protocol.ErrorCode`.
        message: what came and what was wanted.
        param: dotted name of the field at fault, or None.
        event_id: the client's id of the event, where it could be read.
    """

    def __init__(
        self, code: str, message: str, param: str | None = None, event_id: str | None = None
    ) -> None:
        self.code = code
        self.message = message
        self.param = param
        self.event_id = event_id
        super().__init__(message if param is None else f"{param}: {message}")


class ConfigError(ServiceError):
    """A setting has an unusable value.

    Attributes:
        name: of the environment variable or option.
    """

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name}: {problem}")


class AuthError(ServiceError):
    """The credentials are missing, unknown, used up or expired."""


class RestError(ServiceError):
    """An HTTP request that cannot be served.

    Attributes:
        status: of the reply.
        retry_after_s: when to ask again, where that may help.
        param: name of the field at fault, or None.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after_s: int | None = None,
        *,
        param: str | None = None,
    ) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        self.param = param
        super().__init__(message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…")

    @property
    def headers(self) -> dict[str, str]:
        """Of the reply."""
        return {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}


class StoreLost(ServiceError):
    """Redis does not answer, or not as expected."""


class TranslationFailed(ServiceError):
    """The engine could not run a job.

    Attributes:
        code: the `error.code` that the client gets.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)
