"""`POST /v1/chat/completions` and `GET /v1/models`, for OpenAI's clients.

The last user message is the text. Its languages are named by `translation`, an extension of ours,
or by the system message ("Translate into German"). Knows requests; the translator does the
translating.
"""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.doors.auth import bearer
from service.doors.http import (
    CLIENT_GONE,
    MAX_CHARS,
    ClientGone,
    check_gate,
    client_of,
    json_reply,
    kind_of,
    parse_body,
    read_body,
    while_connected,
)
from service.doors.instruction import (
    Languages,
    UnclearInstruction,
    instruction_of,
    languages_of,
    without_fence,
)
from service.doors.output import Output
from service.doors.state import AppState
from service.doors.whole import check_pair, failed
from service.doors.wishes import options_of
from service.errors import RestError, TranslationFailed
from service.load.meter import in_thread, metered_each
from service.translator import TextOptions
from tokenspeed.text.languages import code_of
from tokenspeed.text.words import has_words

MAX_STOPS: Final = 4
MAX_STOP_CHARS: Final = 500
COUNTED_CHARS: Final = 2000  # of a message that are counted in one go: Python's lock is held


@dataclass(frozen=True, slots=True)
class _Question:
    """What a chat asks for."""

    text: str
    source: str | None
    target: str
    said: tuple[str, ...]  # in all messages
    prompt_tokens: int
    max_tokens: int | None
    stops: tuple[str, ...]
    options: TextOptions
    is_stream: bool
    has_usage: bool  # in a stream


class OpenAI:
    """Answers chat requests with translations.

    Args:
        state: shared state of the service.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._created = int(time.time())

    async def models(self, request: Request) -> Response:
        """List the one model."""
        return json_reply({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """Describe the one model."""
        name = request.path_params["name"]
        if name == self._state.model.name:
            return json_reply(self._model())
        error = RestError(404, f"The model {name!r} does not exist", param="model")
        return self._error(error, "model_not_found")

    async def chat(self, request: Request) -> Response:
        """Translate the last user message."""
        try:
            self._check_key(request)
            body = parse_body(await read_body(request), "application/json")
            question = await self._wanted(body)
            # In a thread: a long conversation takes tens of milliseconds.
            question = replace(
                question, prompt_tokens=await in_thread(partial(self._count, question))
            )
            # Without keys of ours anybody could invent one, and be many.
            key = bearer(request.headers.get("authorization"))
            client = client_of(request, key if self._state.auth.is_required else None)
            check_gate(self._state.gate, client)
            if question.is_stream:
                events = metered_each(self._events(question, client))
                return StreamingResponse(events, media_type="text/event-stream")
            with self._state.gate.passing(client):
                translated, output = await while_connected(request, self._whole(question, client))
            reply = self._object(
                "chat.completion",
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": translated, "refusal": None},
                    "logprobs": None,
                    "finish_reason": output.finish_reason,
                },
            )
            return json_reply(reply | {"usage": _usage(question, output)})
        except TranslationFailed as exc:
            return self._error(failed(exc))
        except RestError as exc:
            is_key = exc.status == 401
            return self._error(exc, "invalid_api_key" if is_key else None)
        except ClientGone:
            return self._error(RestError(CLIENT_GONE, "the client has gone"))

    async def _whole(self, question: _Question, client: str) -> tuple[str, Output]:
        output = self._output(question)
        parts = [part async for part in self._parts(question, output, client)]
        return "".join(parts), output

    async def _parts(self, question: _Question, output: Output, client: str) -> AsyncIterator[str]:
        """Yield the translation as it becomes ready; nothing past its end is computed."""
        if not has_words(question.text):
            yield output.push(question.text) + output.end()
            return
        stream = self._state.translator.stream(
            question.text,
            question.source,
            question.target,
            replace(
                question.options,
                client=client,
                on_cut=output.mark_cut,
                turn=self._state.turns.turn,
            ),
        )
        async with aclosing(stream):
            async for part in stream:
                given = output.push(part)
                if given:
                    yield given
                if output.is_over:
                    return
        rest = output.end()
        if rest:
            yield rest

    async def _events(self, question: _Question, client: str) -> AsyncIterator[bytes]:
        """Server-sent events: one for each decoded part."""
        frame = self._object("chat.completion.chunk", {})
        if question.has_usage:
            frame["usage"] = None

        def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return _event(frame | {"choices": [choice]})

        output = self._output(question)
        try:
            with self._state.gate.passing(client):
                yield event({"role": "assistant", "content": ""})
                async for part in self._parts(question, output, client):
                    yield event({"content": part})
        except TranslationFailed as exc:
            # The status has been sent; what is missing must not look like the end.
            yield _event({"error": _error_of(failed(exc), None)})
            return
        yield event({}, output.finish_reason)
        if question.has_usage:
            yield _event(frame | {"choices": [], "usage": _usage(question, output)})
        yield b"data: [DONE]\n\n"

    async def _wanted(self, body: dict[str, Any]) -> _Question:
        """Return what a body asks for.

        Raises:
            RestError: it does not say what to do, or asks for something unsupported.
        """
        # In a thread: thousands of messages, or names of languages, take tens of milliseconds.
        said, languages, text = await in_thread(partial(self._read, body))
        if not text:
            raise RestError(
                400,
                f"the last user message must have 1 to {MAX_CHARS} characters",
                param="messages",
            )
        if languages.target is None:
            raise RestError(
                400,
                'name the target language in the system message, as in "Translate into German", '
                'or as "translation": {"target": "de"}',
                param="messages",
            )
        check_pair(self._state, languages.source, languages.target, "messages")
        n = body.get("n")
        if n not in (None, 1):
            given = n if type(n) is int else kind_of(n)
            raise RestError(400, f"n is {given}, expected 1: a text has one translation", param="n")
        wishes = body.get("translation") or {}
        options = body.get("stream_options")
        wanted = await options_of(
            wishes, self._state, languages.source, languages.target, "", "translation."
        )
        return _Question(
            text,
            languages.source,
            languages.target,
            said,
            0,
            _max_tokens(body),
            _stops(body),
            wanted,
            is_stream=body.get("stream") is True,
            has_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def _count(self, question: _Question) -> int:
        count = self._state.translator.count_tokens
        return sum(
            count(text[at : at + COUNTED_CHARS])
            for text in question.said
            for at in range(0, len(text), COUNTED_CHARS)
        )

    def _read(self, body: dict[str, Any]) -> tuple[tuple[str, ...], Languages, str]:
        """Return what all messages say, the requested languages, and the text alone.

        The text is empty if there is none, or too much.
        """
        messages = body.get("messages")
        if not isinstance(messages, list):
            raise RestError(
                400, f"messages must be a list, not {kind_of(messages)}", param="messages"
            )
        for message in messages:
            if not isinstance(message, dict):
                problem = f"messages must hold objects, not {kind_of(message)}"
                raise RestError(400, problem, param="messages")
        roles = [message.get("role") for message in messages]
        said = tuple(_content(message.get("content")) for message in messages)
        named = zip(roles, said, strict=True)
        instruction = "\n".join(text for role, text in named if role in ("system", "developer"))
        users = (text for role, text in zip(roles[::-1], said[::-1], strict=True) if role == "user")
        text = next(users, "")
        if len(text) > MAX_CHARS:
            return said, Languages(None, None), ""
        languages, text = self._languages(body, instruction, text)
        return said, languages, without_fence(text, instruction)

    def _languages(
        self, body: dict[str, Any], instruction: str, text: str
    ) -> tuple[Languages, str]:
        """Return the requested languages, and the text without the words that only name them."""
        ours = [info.code for info in self._state.model.languages]
        asked = body.get("translation")
        if asked is not None:
            if not isinstance(asked, dict):
                raise RestError(
                    400, f"translation must be an object, not {kind_of(asked)}", param="translation"
                )
            source = _named(asked, "source", ours)
            return Languages(source, _named(asked, "target", ours)), text
        try:
            languages = languages_of(instruction, ours)
            if languages.target is None:
                languages, text = instruction_of(text, ours) or (languages, text)
        except UnclearInstruction as exc:
            raise RestError(400, str(exc), param="messages") from exc
        code_of = self._state.model.code_of
        return Languages(code_of(languages.source), code_of(languages.target)), text

    def _output(self, question: _Question) -> Output:
        count = self._state.translator.count_tokens
        return Output(count, question.max_tokens, question.stops)

    def _check_key(self, request: Request) -> None:
        auth = self._state.auth
        if auth.is_required and not auth.is_key(bearer(request.headers.get("authorization"))):
            raise RestError(401, "an API key is needed: Authorization: Bearer")

    def _model(self) -> dict[str, Any]:
        return {
            "id": self._state.model.name,
            "object": "model",
            "created": self._created,
            "owned_by": "tokenspeed",
        }

    def _object(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{secrets.token_hex(8)}",
            "object": kind,
            "created": int(time.time()),
            "model": self._state.model.name,
            "choices": [choice],
        }

    def _error(self, error: RestError, code: str | None = None) -> Response:
        reply = {"error": _error_of(error, code)}
        return json_reply(reply, error.status, error.headers)


def _content(raw: Any) -> str:
    """A message's text, given as a string or in parts."""
    if isinstance(raw, list):
        texts = (part.get("text") for part in raw if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return raw if isinstance(raw, str) else ""


def _named(asked: dict[str, Any], name: str, languages: list[str]) -> str | None:
    """Return a language in `translation`, given by its code or its name."""
    raw = asked.get(name)
    if raw is None or (name == "source" and raw == "auto"):
        return None
    if not isinstance(raw, str):
        param = f"translation.{name}"
        raise RestError(400, f"{param} must be a string, not {kind_of(raw)}", param=param)
    code = code_of(raw, languages)
    if code is None:
        raise RestError(400, f"{raw!r} is not a language", param=f"translation.{name}")
    return code


def _max_tokens(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        raw = body.get(name)
        if raw is not None:
            if type(raw) is not int or raw < 1:
                said = raw if type(raw) is int else kind_of(raw)
                raise RestError(
                    400, f"{name} must be a whole number from 1, not {said}", param=name
                )
            return raw
    return None


def _stops(body: dict[str, Any]) -> tuple[str, ...]:
    raw = body.get("stop")
    stops = [] if raw is None else raw if isinstance(raw, list) else [raw]
    if len(stops) > MAX_STOPS or not all(isinstance(stop, str) for stop in stops):
        said = f"stop must be a string or up to {MAX_STOPS} of them"
        raise RestError(400, said, param="stop")
    if any(len(stop) > MAX_STOP_CHARS for stop in stops):
        raise RestError(413, f"stop has more than {MAX_STOP_CHARS} characters", param="stop")
    return tuple(stops)


def _usage(question: _Question, output: Output) -> dict[str, int]:
    return {
        "prompt_tokens": question.prompt_tokens,
        "completion_tokens": output.tokens,
        "total_tokens": question.prompt_tokens + output.tokens,
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _error_of(error: RestError, code: str | None) -> dict[str, Any]:
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"message": str(error), "type": kind, "param": error.param, "code": code}
