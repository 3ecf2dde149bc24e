"""Addresses of a service: what a user may give, and where its stream, rooms and readers are."""

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit


def stream_url(url: str) -> str:
    """Return the WebSocket address of a service's stream.

    Raises:
        ValueError: this is not the address of a service.
    """
    parts = _service(url)
    path = parts.path.rstrip("/")
    if not path.endswith("/v1/stream"):
        path += "/v1/stream"
    return urlunsplit((_websocket(parts), parts.netloc, path, parts.query, ""))


def rooms_url(url: str) -> str:
    """Return the HTTP address of a service's rooms.

    Raises:
        ValueError: this is not the address of a service.
    """
    parts = _service(url)
    scheme = _websocket(parts).replace("ws", "http")
    path = parts.path.rstrip("/").removesuffix("/v1/stream")
    return urlunsplit((scheme, parts.netloc, f"{path}/v1/rooms", "", ""))


def listen_url(room_url: str) -> str:
    """Return the WebSocket address of a room's readers.

    Raises:
        ValueError: this is not the address of a room.
    """
    parts = urlsplit(room_url)
    path = parts.path.rstrip("/").removesuffix("/listen")
    before, _, room = path.rpartition("/")
    prefix = next((p for p in ("/v1/rooms", "/r") if before.endswith(p)), None)
    if not _is_of_service(parts) or prefix is None or not room:
        raise ValueError(
            f"room_url is {room_url!r}, expected a URL such as http://127.0.0.1:8000/r/ROOM"
        )
    path = f"{before.removesuffix(prefix)}/v1/rooms/{room}/listen"
    return urlunsplit((_websocket(parts), parts.netloc, path, "", ""))


def with_query(url: str, query: Mapping[str, str]) -> str:
    """Return a URL with these parameters in place of those of the same names."""
    parts = urlsplit(url)
    found = {**dict(parse_qsl(parts.query)), **query}
    return urlunsplit(parts._replace(query=urlencode(found)))


def _service(url: str) -> SplitResult:
    parts = urlsplit(url)
    if not _is_of_service(parts):
        raise ValueError(f"url is {url!r}, expected http://, https://, ws:// or wss://")
    return parts


def _is_of_service(parts: SplitResult) -> bool:
    return parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname)


def _websocket(parts: SplitResult) -> str:
    return "wss" if parts.scheme in ("https", "wss") else "ws"
