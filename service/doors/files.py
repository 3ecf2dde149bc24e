"""`POST /translate_file` of LibreTranslate: a file in, the URL of its translation out.

Translations are kept in memory for half an hour, a limited number per client, under unguessable
names. Knows requests and files; formats are in tokenspeed/documents.
"""

import secrets
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from service.doors.http import MAX_BODY_BYTES, MAX_FILE_BYTES, Upload, kind_of
from service.doors.operations import public_url
from service.doors.rest import Rest, languages_of
from service.doors.state import AppState
from service.doors.whole import Wanted, check_pair, translate_file
from service.doors.wishes import options_of
from service.errors import RestError
from tokenspeed.documents.worker import Question

MAX_FILE_CHARS: Final = 200_000  # in all texts of a file
MAX_FILE_TEXTS: Final = 20_000  # distinct texts in a file
KEPT_S: Final = 1800.0
MAX_KEPT: Final = 64  # files
MAX_KEPT_OF_CLIENT: Final = 8  # files; the oldest are dropped first


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A translated file waiting to be downloaded."""

    client: Hashable
    name: str  # shown to the user
    data: bytes
    until_s: float


class KeptFiles:
    """Translated files by unguessable names. Reads no clock."""

    def __init__(self) -> None:
        self._files: dict[str, KeptFile] = {}  # ordered by expiry

    def keep(self, client: Hashable, name: str, data: bytes, now_s: float) -> str | None:
        """Keep a file for half an hour; return its key, None if there is no room."""
        self._forget(now_s)
        own = [key for key, file in self._files.items() if file.client == client]
        for key in own[: max(0, len(own) - MAX_KEPT_OF_CLIENT + 1)]:
            del self._files[key]
        if len(self._files) >= MAX_KEPT:
            return None
        key = secrets.token_urlsafe(24)
        self._files[key] = KeptFile(client, name, data, now_s + KEPT_S)
        return key

    def find(self, key: str, now_s: float) -> KeptFile | None:
        """Return a file, None if it is unknown or expired."""
        self._forget(now_s)
        return self._files.get(key)

    def _forget(self, now_s: float) -> None:
        self._files = {key: file for key, file in self._files.items() if file.until_s > now_s}


class Files:
    """Serves file translations.

    Args:
        state: shared state of the service.
        rest: the text endpoints, whose keys and errors apply here too.
    """

    def __init__(self, state: AppState, rest: Rest) -> None:
        self._state = state
        self._rest = rest
        self._kept = KeptFiles()

    async def translate(self, request: Request) -> Response:
        """Translate `file` from a multipart form; return the URL of its translation."""
        return await self._rest.answer(request, self._translate)

    async def download(self, request: Request) -> Response:
        """Return a translated file to whoever knows its URL, which cannot be guessed."""
        key = PurePath(request.path_params["name"]).stem
        file = self._kept.find(key, self._state.now_s())
        if file is None:
            return await self._rest.answer(request, _gone)
        headers = {
            # Never rendered by the browser: it is a user's file under the service's own origin.
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
            "cache-control": "no-store",
        }
        return Response(file.data, 200, headers, "application/octet-stream")

    async def _translate(self, request: Request) -> dict[str, Any]:
        body = await self._rest.fields(request, MAX_FILE_BYTES + MAX_BODY_BYTES)
        file = body.get("file")
        if not isinstance(file, Upload) or not file.name:
            what = "missing" if file is None else f"must be a file, not {kind_of(file)}"
            raise RestError(400, f"Invalid request: file {what}", param="file")
        if len(file.data) > MAX_FILE_BYTES:
            raise RestError(413, f"the file has more than {MAX_FILE_BYTES} bytes", param="file")
        source, target = languages_of(body, self._state)
        check_pair(self._state, source, target)
        client = self._rest.client(request, body)
        options = await options_of(body, self._state, source, target, client)

        question = Question(file.name, target, MAX_FILE_CHARS, MAX_FILE_TEXTS)
        wanted = Wanted(source, target, options)
        data = await translate_file(self._state, request, question, file.data, wanted)
        path = PurePath(file.name.replace("\\", "/"))
        name = f"{path.stem}.{target}{path.suffix}"
        key = self._kept.keep(client, name, data, self._state.now_s())
        if key is None:
            raise RestError(503, "too many translated files are waiting to be fetched", 60)
        place = public_url(self._state.config, request, "http")
        return {"translatedFileUrl": f"{place}/download_file/{key}{path.suffix.lower()}"}


async def _gone(request: Request) -> None:
    raise RestError(404, "there is no such file, or it has expired")
