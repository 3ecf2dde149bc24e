"""Bodies of plain HTTP requests: read within bounds, as JSON or as a form."""

from typing import Any, Final
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request

from service.errors import RestError

MAX_BODY_BYTES: Final = 256 * 1024
MAX_TEXTS: Final = 64
MAX_CHARS: Final = 20_000  # of all texts of one request


async def read_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        RestError: it is too big.
    """
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise RestError(413, f"at most {MAX_BODY_BYTES} bytes")
    return data


def parse_body(data: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of a body.

    Raises:
        RestError: it is neither a JSON object nor a form.
    """
    if content_type.startswith("application/x-www-form-urlencoded"):
        found = parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise RestError(400, "the body is neither JSON nor a form") from exc
    if not isinstance(body, dict):
        raise RestError(400, "the body must be a JSON object")
    return body
