"""The endpoints of LibreTranslate: whole texts over HTTP.

`POST /translate`, `GET /languages`, `POST /detect`, `GET /frontend/settings`, and `POST /suggest`,
which is refused. Knows requests; the translator does the translating.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from service.doors.auth import bearer
from service.doors.http import (
    CLIENT_GONE,
    MAX_BODY_BYTES,
    MAX_CHARS,
    MAX_FILE_BYTES,
    MAX_TEXTS,
    ClientGone,
    client_of,
    json_reply,
    kind_of,
    read_fields,
    text_field,
    texts_field,
)
from service.doors.state import AppState
from service.doors.whole import Wanted, check_pair, seen_of, translate_documents, translate_texts
from service.doors.wishes import options_of
from service.errors import RestError
from service.load.meter import in_thread
from tokenspeed.documents.formats import suffixes
from tokenspeed.documents.html import open_text
from tokenspeed.model.prompt import FORMALITIES, Formality
from tokenspeed.text.detection import detect
from tokenspeed.text.languages import AUTO

MAX_ALTERNATIVES: Final = 3


class Rest:
    """Translates whole texts.

    Args:
        state: shared state of the service.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def translate(self, request: Request) -> Response:
        """Translate `q`, a string or a list of strings."""
        return await self.answer(request, self._translate)

    async def detect(self, request: Request) -> Response:
        """Guess the language of `q`."""
        return await self.answer(request, self._guess)

    async def suggest(self, request: Request) -> Response:
        """Refuse a better translation: nothing here learns from users."""
        return await self.answer(request, self._suggest)

    async def languages(self, request: Request) -> Response:
        """List what can be translated into what."""
        return json_reply(
            [
                {"code": info.code, "name": info.name, "targets": list(info.targets)}
                for info in self._state.model.languages
            ]
        )

    async def settings(self, request: Request) -> Response:
        """Tell a LibreTranslate user interface what is available."""
        return json_reply(
            {
                "apiKeys": self._state.auth.is_required,
                "keyRequired": self._state.auth.is_required,
                "charLimit": MAX_CHARS,
                "batchLimit": MAX_TEXTS,
                "alternativesLimit": MAX_ALTERNATIVES,
                "suggestions": False,
                "supportedFilesFormat": suffixes(),
                "filesTranslation": True,
                "fileBytesLimit": MAX_FILE_BYTES,
                "language": {
                    "source": {"code": AUTO, "name": "Auto Detect"},
                    "target": {
                        "code": self._codes()[0],
                        "name": self._state.model.languages[0].name,
                    },
                },
            }
        )

    async def _translate(self, request: Request) -> dict[str, Any]:
        body = await self.fields(request)
        texts = texts_field(body, "q")
        source, target = languages_of(body, self._state)
        is_html = _is_html(body)
        num_alternatives = _alternatives(body)
        check_pair(self._state, source, target)
        formalities = self._state.translator.prompts.formalities
        client = self.client(request, body)
        options = await options_of(body, self._state, source, target, client)

        async def translated(formality: Formality | None) -> tuple[list[str], list[str]]:
            as_said = Wanted(source, target, replace(options, formality=formality))
            return await self._found(request, texts, as_said, is_html=is_html)

        found, seen = await translated(options.formality)
        is_list = isinstance(body["q"], list)
        reply: dict[str, Any] = {"translatedText": found if is_list else found[0]}
        if num_alternatives:
            # Decoding is greedy: the only other answers have another form of address.
            forms = FORMALITIES if target in formalities else ()
            others = [(await translated(formality))[0] for formality in forms]
            alternatives = [
                [text for text in dict.fromkeys(each) if text != first][:num_alternatives]
                for first, *each in zip(found, *others, strict=True)
            ]
            reply["alternatives"] = alternatives if is_list else alternatives[0]
        if source is None:
            guesses = [(await self._detect(text))[0] for text in seen]
            detected = [{"language": code, "confidence": share} for code, share in guesses]
            reply["detectedLanguage"] = detected if is_list else detected[0]
        return reply

    async def _found(
        self,
        request: Request,
        texts: list[str],
        wanted: Wanted,
        *,
        is_html: bool,
    ) -> tuple[list[str], list[str]]:
        """Return the translations, and for each text what to detect its language from."""
        if not is_html:
            return await translate_texts(self._state, request, texts, wanted), texts
        pages, written = await translate_documents(
            self._state, request, lambda: list(map(open_text, texts)), wanted
        )
        return [page.decode("utf-8", "replace") for page in written], await seen_of(pages)

    async def _guess(self, request: Request) -> list[dict[str, Any]]:
        text = text_field(await self.fields(request), "q")
        return [
            {"language": language, "confidence": confidence}
            for language, confidence in await self._detect(text)
        ]

    async def _suggest(self, request: Request) -> None:
        await self.fields(request)
        raise RestError(403, "Suggestions are disabled on this server.")

    async def _detect(self, text: str) -> list[tuple[str, float]]:
        # In a thread: the first call loads a model, and a long text takes milliseconds.
        return await in_thread(partial(detect, text, self._codes()))

    async def fields(self, request: Request, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
        """Read the request body, and check the key.

        Raises:
            RestError: the body or the key is wrong.
        """
        body = await read_fields(request, max_bytes)
        auth, given = self._state.auth, self._key(request, body)
        if auth.is_required and not auth.is_key(given):
            raise RestError(403, "an API key is needed: Authorization: Bearer, or api_key")
        return body

    def client(self, request: Request, body: dict[str, Any]) -> str:
        """Return who asks. If we have no keys, keys do not count: anybody could invent many."""
        is_key = self._state.auth.is_required
        return client_of(request, self._key(request, body) if is_key else None)

    def _key(self, request: Request, body: dict[str, Any]) -> str:
        # The npm package `libretranslate` writes it as one word.
        given = body.get("api_key") or body.get("apiKey")
        by_field = given if isinstance(given, str) else ""
        return bearer(request.headers.get("authorization")) or by_field

    def _codes(self) -> list[str]:
        return [info.code for info in self._state.model.languages]

    async def answer(self, request: Request, work: Callable[[Request], Awaitable[Any]]) -> Response:
        """Return the result of `work`, or its error in LibreTranslate's form."""
        try:
            return json_reply(await work(request))
        except RestError as exc:
            return json_reply({"error": str(exc)}, exc.status, exc.headers)
        except ClientGone:
            return json_reply({"error": "the client has gone"}, CLIENT_GONE)


def languages_of(body: dict[str, Any], state: AppState) -> tuple[str | None, str]:
    """Return `source`, None for auto, and `target`, as the model calls them.

    Raises:
        RestError: one is missing, or `target` is auto.
    """
    source, target = (state.model.code_of(text_field(body, name)) for name in ("source", "target"))
    if target is None:
        raise RestError(400, "target must be a language, not auto", param="target")
    return source, target


def _is_html(body: dict[str, Any]) -> bool:
    given = body.get("format") or "text"
    if given not in ("text", "html"):
        said = repr(given[:40]) if isinstance(given, str) else kind_of(given)
        raise RestError(400, f"format is {said}, expected 'text' or 'html'", param="format")
    return bool(given == "html")


def _alternatives(body: dict[str, Any]) -> int:
    """Return how many alternatives are asked for; a form has numbers as strings."""
    raw = body.get("alternatives") or 0
    if isinstance(raw, str) and raw.strip().isdecimal() and len(raw) < 10:
        raw = int(raw)
    if type(raw) is not int:
        said = repr(raw[:40]) if isinstance(raw, str) else kind_of(raw)
        raise RestError(
            400, f"Invalid request: alternatives must be a number, not {said}", param="alternatives"
        )
    if not 0 <= raw <= MAX_ALTERNATIVES:
        raise RestError(
            400,
            f"Invalid request: alternatives is {raw}, expected 0 to {MAX_ALTERNATIVES}",
            param="alternatives",
        )
    return raw
