"""What goes wrong in a way that a caller can do something about.

    ClientError
    +-- NotConnected      no session within the time that was given for it
    +-- Ended             the session is over, and the client did not ask for it
        +-- Refused       and trying again is useless: credentials, room or protocol

An `error` of the server that leaves the session open is an event, not an exception.
"""


class ClientError(Exception):
    """Base of all errors here."""


class NotConnected(ClientError):
    """The time for connecting is over.

    Attributes:
        seconds: for how long it was tried.
        reason: why the last try failed.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        self.seconds = seconds
        self.reason = reason
        super().__init__(f"no session within {seconds:g} s: {reason or 'no answer'}")


class Ended(ClientError):
    """The session has ended.

    Attributes:
        code: of the WebSocket's close; 0 if there was no connection.
        reason: in English.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{reason} (code {code})")


class Refused(Ended):
    """The server rejects this client, and would do so again."""
