"""`POST /v1/chat/completions` and `GET /v1/models`, so that OpenAI's clients can translate.

The last user message is the text; the system message names the language ("Translate into German",
"from French to English"). Knows requests; translations are the translator's.
"""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
import regex
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.doors.auth import bearer
from service.doors.http import (
    CLIENT_GONE,
    MAX_CHARS,
    ClientGone,
    check_gate,
    client_of,
    parse_body,
    read_body,
    while_connected,
)
from service.doors.state import AppState
from service.errors import RestError, TranslationFailed

_NAMES: Final = {
    "en": "english|englisch|anglais|inglés",
    "de": "german|deutsch|allemand|alemán",
    "fr": "french|französisch|français|francés",
    "es": "spanish|spanisch|espagnol|español",
}


class OpenAI:
    """Answers chat requests with translations.

    Args:
        state: shared state of the service.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def models(self, request: Request) -> Response:
        """List the one model."""
        model = {"id": self._state.model.name, "object": "model", "owned_by": "tokenspeed"}
        return self._reply(request, {"object": "list", "data": [model]})

    async def chat(self, request: Request) -> Response:
        """Translate the last user message."""
        try:
            self._check_key(request)
            body = parse_body(await read_body(request), "application/json")
            text, source, target = self._wanted(body)
            client = client_of(request, bearer(request.headers.get("authorization")))
            check_gate(self._state.gate, client)
            if body.get("stream") is True:
                self._count(request, 200)
                events = self._events(text, source, target, client)
                return StreamingResponse(events, media_type="text/event-stream")
            with self._state.gate.passing(client):
                translator = self._state.translator
                work = translator.whole(text, source, target, client)
                translated = await while_connected(request, work)
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": translated},
                "finish_reason": "stop",
            }
            return self._reply(request, self._object("chat.completion", choice))
        except TranslationFailed as exc:
            status = 413 if exc.code == "text_too_long" else 503
            return self._error(request, status, str(exc))
        except RestError as exc:
            return self._error(request, exc.status, str(exc), exc.headers)
        except ClientGone:
            return self._error(request, CLIENT_GONE, "the client has gone")

    async def _events(
        self, text: str, source: str | None, target: str, client: str
    ) -> AsyncIterator[bytes]:
        """Server-sent events: one for each part that was decoded."""
        frame = self._object("chat.completion.chunk", {})
        translated = self._state.translator.stream(text, source, target, client)
        try:
            with self._state.gate.passing(client):
                async for part in translated:
                    frame["choices"] = [{"index": 0, "delta": {"content": part}}]
                    yield b"data: " + orjson.dumps(frame) + b"\n\n"
        except TranslationFailed as exc:
            # The status is sent already; what is missing must not look like the end.
            yield (
                b"data: "
                + orjson.dumps({"error": {"message": str(exc), "type": "server"}})
                + b"\n\n"
            )
            return
        frame["choices"] = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
        yield b"data: " + orjson.dumps(frame) + b"\n\ndata: [DONE]\n\n"

    def _wanted(self, body: dict[str, Any]) -> tuple[str, str | None, str]:
        """Return the text, the source language where it is named, and the target.

        Raises:
            RestError: the messages do not say what to do.
        """
        messages = body.get("messages")
        if not isinstance(messages, list):
            raise RestError(400, "messages must be an array")
        said = {"system": "", "user": ""}
        for message in messages:
            if isinstance(message, dict):
                role = "system" if message.get("role") == "developer" else message.get("role")
                said[str(role)] = _content(message.get("content"))
        text = said["user"].strip()
        if not text or len(text) > MAX_CHARS:
            raise RestError(400, f"the last user message must have 1 to {MAX_CHARS} characters")
        source, target = languages_of(said["system"])
        if target is None:
            raise RestError(400, "name the target language in the system message")
        if not self._state.model.translates(source, target):
            raise RestError(
                400, f"translation from {source or 'auto'} to {target} is not supported"
            )
        return text, source, target

    def _check_key(self, request: Request) -> None:
        auth = self._state.auth
        if auth.is_required and not auth.is_key(bearer(request.headers.get("authorization"))):
            raise RestError(401, "an API key is needed: Authorization: Bearer")

    def _object(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{secrets.token_hex(8)}",
            "object": kind,
            "created": int(time.time()),
            "model": self._state.model.name,
            "choices": [choice],
        }

    def _error(
        self,
        request: Request,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
    ) -> Response:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return self._reply(request, {"error": {"message": message, "type": kind}}, status, headers)

    def _reply(
        self,
        request: Request,
        value: Any,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> Response:
        self._count(request, status)
        return Response(orjson.dumps(value), status, headers, "application/json")

    def _count(self, request: Request, status: int) -> None:
        self._state.metrics.requests.labels(request.url.path, str(status)).inc()


def languages_of(instruction: str) -> tuple[str | None, str | None]:
    """Return (source, target) as an instruction names them; None where it does not.

    The source follows "from"; the target is the last other language that is named.
    """
    source = target = None
    for code, names in _NAMES.items():
        if regex.search(rf"\b(?:from|aus|vom|depuis|de l'|du|del)\s+(?:the\s+)?(?:{names})\b",
                        instruction, regex.IGNORECASE):  # fmt: skip
            source = code
    named = "|".join(f"(?P<{code}>\\b(?:{names})\\b)" for code, names in _NAMES.items())
    for found in regex.finditer(named, instruction, regex.IGNORECASE):
        if found.lastgroup != source:
            target = found.lastgroup
    return source, target


def _content(raw: Any) -> str:
    """A message's text, given as a string or in parts."""
    if isinstance(raw, list):
        return "".join(str(part.get("text", "")) for part in raw if isinstance(part, dict))
    return raw if isinstance(raw, str) else ""
