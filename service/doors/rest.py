"""The endpoints of LibreTranslate: whole texts over plain HTTP.

`POST /translate`, `GET /languages`, `POST /detect`, `GET /frontend/settings`; JSON or form. Knows
requests; translations are the translator's.
"""

import asyncio
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.doors.auth import bearer
from service.doors.http import (
    CLIENT_GONE,
    MAX_CHARS,
    MAX_TEXTS,
    ClientGone,
    check_gate,
    client_of,
    parse_body,
    read_body,
    while_connected,
)
from service.doors.state import AppState
from service.errors import RestError, TranslationFailed
from tokenspeed.text.detection import detect
from tokenspeed.text.words import count_words


class Rest:
    """Answers whole texts.

    Args:
        state: shared state of the service.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def translate(self, request: Request) -> Response:
        """Translate `q`, a string or a list of strings."""
        try:
            return self._reply(request, await self._translate(request))
        except RestError as exc:
            return self._reply(request, {"error": str(exc)}, exc.status, exc.headers)
        except ClientGone:
            return self._reply(request, {"error": "the client has gone"}, CLIENT_GONE)

    async def detect(self, request: Request) -> Response:
        """Guess the language of `q`."""
        try:
            body = await self._body(request)
            text = _string(body, "q")
            return self._reply(request, [
                {"language": language, "confidence": confidence}
                for language, confidence in await self._detect(text)
            ])  # fmt: skip
        except RestError as exc:
            return self._reply(request, {"error": str(exc)}, exc.status)

    async def languages(self, request: Request) -> Response:
        """List what can be translated into what."""
        return self._reply(request, [
            {"code": info.code, "name": info.name, "targets": list(info.targets)}
            for info in self._state.model.languages
        ])  # fmt: skip

    async def settings(self, request: Request) -> Response:
        """Tell a LibreTranslate user interface what is there."""
        return self._reply(request, {
            "apiKeys": self._state.auth.is_required,
            "keyRequired": self._state.auth.is_required,
            "charLimit": MAX_CHARS,
            "suggestions": False,
            "supportedFilesFormat": [],
            "language": {
                "source": {"code": "auto", "name": "Auto Detect"},
                "target": {"code": self._codes()[0], "name": self._state.model.languages[0].name},
            },
        })  # fmt: skip

    async def _translate(self, request: Request) -> dict[str, Any]:
        body = await self._body(request)
        raw: Any = body.get("q")
        texts: list[str] = raw if isinstance(raw, list) else [raw]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise RestError(400, "Invalid request: missing q parameter")
        if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARS:
            raise RestError(413, f"at most {MAX_TEXTS} texts and {MAX_CHARS} characters")
        if body.get("format", "text") not in ("text", ""):
            raise RestError(400, f"format is {body['format']!r}, only 'text' is supported")
        source, target = _code(body, "source"), _code(body, "target")
        known = None if source == "auto" else source
        if not self._state.model.translates(known, target):
            raise RestError(400, f"translation from {source} to {target} is not supported")
        client = client_of(request, self._key(request, body))
        check_gate(self._state.gate, client)
        try:
            with self._state.gate.passing(client):
                found = await while_connected(request, self._all(texts, known, target, client))
        except TranslationFailed as exc:
            raise RestError(413 if exc.code == "text_too_long" else 503, str(exc)) from exc
        is_list = isinstance(raw, list)
        reply: dict[str, Any] = {"translatedText": found if is_list else found[0]}
        if known is None:
            guesses = [(await self._detect(text))[0] for text in texts]
            detected = [{"language": code, "confidence": share} for code, share in guesses]
            reply["detectedLanguage"] = detected if is_list else detected[0]
        return reply

    async def _detect(self, text: str) -> list[tuple[str, float]]:
        # In a thread: the first call reads a model, a long text takes milliseconds.
        return await asyncio.to_thread(detect, text, self._codes())

    async def _all(
        self, texts: list[str], source: str | None, target: str, client: str
    ) -> list[str]:
        return await asyncio.gather(*(self._one(text, source, target, client) for text in texts))

    async def _one(self, text: str, source: str | None, target: str, client: str) -> str:
        if not count_words(text):
            return text
        return await self._state.translator.whole(text, source, target, client)

    async def _body(self, request: Request) -> dict[str, Any]:
        """Read a JSON object or a form, and check the key.

        Raises:
            RestError: the body or the key is wrong.
        """
        content_type = request.headers.get("content-type", "")
        body = parse_body(await read_body(request), content_type)
        auth, given = self._state.auth, self._key(request, body)
        if auth.is_required and not auth.is_key(given):
            raise RestError(403, "an API key is needed: Authorization: Bearer, or api_key")
        return body

    def _key(self, request: Request, body: dict[str, Any]) -> str:
        return bearer(request.headers.get("authorization")) or str(body.get("api_key") or "")

    def _codes(self) -> list[str]:
        return [info.code for info in self._state.model.languages]

    def _reply(
        self,
        request: Request,
        value: Any,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> Response:
        self._state.metrics.requests.labels(request.url.path, str(status)).inc()
        return Response(orjson.dumps(value), status, headers, "application/json")


def _string(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value or len(value) > MAX_CHARS:
        raise RestError(400, f"Invalid request: missing {name} parameter")
    return value


def _code(body: dict[str, Any], name: str) -> str:
    """`EN_us` -> `en`."""
    return _string(body, name).replace("_", "-").split("-")[0].lower()
