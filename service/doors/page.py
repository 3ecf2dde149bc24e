"""Files of the page, and of the protocol, as responses.

A file is read completely before it is sent. Sending takes as long as the client likes, and would
hold a second descriptor, while the connection limit assumes one.
"""

from pathlib import Path
from typing import Final

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE_FOLDERS: Final = frozenset({"src", "assets"})
PAGE_SUFFIXES: Final = frozenset({".html", ".css", ".svg", ".js", ".png", ".ico", ".webmanifest"})
_OF_A_FILE: Final = ("content-type", "etag", "last-modified")


class Page(StaticFiles):
    """The page's files, and nothing else in its folder (its tests, its tools)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file.

        Raises:
            HTTPException: 404, there is no file of that name.
        """
        parts = Path(path).parts
        is_top = len(parts) < 2 and (path in (".", "") or Path(path).suffix in PAGE_SUFFIXES)
        if not is_top and (not parts or parts[0] not in PAGE_FOLDERS):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        if isinstance(response, FileResponse):
            kept = {name: response.headers[name] for name in _OF_A_FILE}
            return await file_reply(Path(response.path), response.status_code, kept)
        response.headers["cache-control"] = "no-cache"
        return response


async def file_reply(
    path: Path, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a whole file; browsers revalidate each time, so an update shows at once."""
    content = await anyio.Path(path).read_bytes()
    return Response(content, status, {"cache-control": "no-cache", **(headers or {})})
