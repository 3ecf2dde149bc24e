"""`/v2/translate`, `/v2/languages` and `/v2/usage`, for DeepL's clients.

Knows DeepL's terms: upper-case codes with regions, formality, tags; the translator does the
translating.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from service.doors.auth import bearer
from service.doors.http import (
    CLIENT_GONE,
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
from service.doors.whole import Wanted, seen_of, translate_documents, translate_texts
from service.doors.wishes import options_of
from service.errors import RestError
from service.load.meter import in_thread
from tokenspeed.documents import html, xml
from tokenspeed.documents.document import SpanDocument
from tokenspeed.model.prompt import Formality
from tokenspeed.text.detection import detect
from tokenspeed.text.languages import name_of

# DeepL requires a region for some targets. The model makes no difference between regions.
_REGIONS: Final = {"en": ("EN-GB", "EN-US"), "pt": ("PT-BR", "PT-PT")}
_FORMALITY: Final[dict[str, Formality | None]] = {
    "default": None,
    "more": "formal",
    "less": "informal",
    "prefer_more": "formal",
    "prefer_less": "informal",
}
MAX_TAGS: Final = 1000  # names in one list of them
_UNLIMITED: Final = 1_000_000_000_000  # characters a month: what DeepL reports if there is no limit
_REFUSED: Final = (
    "glossary_ids",
    "style_id",
    "translation_memory_id",
    "translation_memory_threshold",
    "custom_instructions",
    "context",
)
# DeepL's own fields, and extras of ours that its clients can pass.
_OURS: Final = ("glossary_id", "glossary", "do_not_translate", "capitals", "profanity")


class DeepL:
    """Answers DeepL's clients.

    Args:
        state: shared state of the service.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._chars = 0  # translated since the start

    async def translate(self, request: Request) -> Response:
        """Translate `text`, a list of strings."""
        return await self.answer(request, self._translate)

    async def languages(self, request: Request) -> Response:
        """List languages of one `type`, source or target."""
        return await self.answer(request, self._languages)

    async def usage(self, request: Request) -> Response:
        """Report how much was translated since the start; there is no limit."""
        return await self.answer(request, self._usage)

    async def _translate(self, request: Request) -> dict[str, Any]:
        body, client = await self.fields(request)
        texts = texts_field(body, "text")
        source, target = self._pair(body)
        for name in _REFUSED:
            if body.get(name):
                raise RestError(400, f"Value for '{name}' not supported.", param=name)
        if body.get("model_type") == "quality_optimized":
            raise RestError(400, "Value for 'model_type' not supported.", param="model_type")
        if body.get("glossary_id") and source is None:
            said = "Value for 'source_lang' required when 'glossary_id' is given."
            raise RestError(400, said, param="source_lang")
        own: dict[str, Any] = {name: body[name] for name in _OURS if name in body}
        options = replace(
            await options_of(own, self._state, source, target, client),
            formality=self._formality(body, target),
        )
        wanted = Wanted(source, target, options)
        tags = body.get("tag_handling") or None
        if tags not in (None, "html", "xml"):
            raise RestError(400, "Value for 'tag_handling' not supported.", param="tag_handling")
        if body.get("split_sentences") == "nonewlines":
            texts = [text.replace("\n", " ") for text in texts]
        seen = texts
        if tags is None:
            found = await translate_texts(self._state, request, texts, wanted)
        else:
            opened = _opener(tags, body)
            documents, written = await translate_documents(
                self._state, request, lambda: [opened(text) for text in texts], wanted
            )
            found = [each.decode("utf-8", "replace") for each in written]
            seen = await seen_of(documents)
        self._chars += sum(map(len, texts))
        codes = [info.code for info in self._state.model.languages]
        if source is None:
            # In a thread: that many texts take a quarter of a second.
            sources = await in_thread(lambda: [detect(words, codes)[0][0] for words in seen])
        else:
            sources = [source] * len(texts)
        translations = []
        for text, language, translation in zip(texts, sources, found, strict=True):
            translations.append(
                {
                    "detected_source_language": language.upper(),
                    "text": translation,
                    **(
                        {"billed_characters": len(text)}
                        if _is_on(body, "show_billed_characters")
                        else {}
                    ),
                }
            )
        return {"translations": translations}

    async def _languages(self, request: Request) -> list[dict[str, Any]]:
        body, _ = await self.fields(request)
        kind = body.get("type") or "source"
        infos = self._state.model.languages
        if kind == "source":
            return [{"language": i.code.upper(), "name": i.name} for i in infos if i.targets]
        if kind != "target":
            raise RestError(400, "Value for 'type' not supported.", param="type")
        codes = sorted({target for info in infos for target in info.targets})
        tags = {tag: code for code in codes for tag in _REGIONS.get(code, (code.upper(),))}
        return [
            {"language": tag, "name": name_of(tag), "supports_formality": self._has_formality(code)}
            for tag, code in tags.items()
        ]

    async def _usage(self, request: Request) -> dict[str, int]:
        await self.fields(request)
        return {"character_count": self._chars, "character_limit": _UNLIMITED}

    def _pair(self, body: dict[str, Any]) -> tuple[str | None, str]:
        code_of = self._state.model.code_of
        target = code_of(text_field(body, "target_lang"))
        source = code_of(text_field(body, "source_lang")) if body.get("source_lang") else None
        if target is None or not self._state.model.translates(None, target):
            raise RestError(400, "Value for 'target_lang' not supported.", param="target_lang")
        if not self._state.model.translates(source, target):
            raise RestError(400, "Value for 'source_lang' not supported.", param="source_lang")
        return source, target

    def _formality(self, body: dict[str, Any], target: str) -> Formality | None:
        given = body.get("formality") or "default"
        if not isinstance(given, str) or given not in _FORMALITY:
            raise RestError(400, "Value for 'formality' not supported.", param="formality")
        wanted = _FORMALITY[given]
        if wanted is None or self._has_formality(target):
            return wanted
        if given.startswith("prefer_"):
            return None
        raise RestError(
            400,
            f"'formality' is not supported for given 'target_lang' ({target})",
            param="formality",
        )

    def _has_formality(self, target: str) -> bool:
        return target in self._state.translator.prompts.formalities

    async def fields(self, request: Request) -> tuple[dict[str, Any], str]:
        """Read the request body and its sender, and check the key.

        Raises:
            RestError: the body or the key is wrong.
        """
        body = await read_fields(request)
        header = request.headers.get("authorization")
        scheme, _, value = (header or "").partition(" ")
        is_deepl = scheme.lower() == "deepl-auth-key"
        by_field = body.get("auth_key")
        given = value.strip() if is_deepl else bearer(header)
        given = given or (by_field if isinstance(by_field, str) else "")
        auth = self._state.auth
        if auth.is_required and not auth.is_key(given):
            raise RestError(403, "Authorization failed: send DeepL-Auth-Key with a key")
        # If we have no keys any key will do, and says nothing about the sender.
        return body, client_of(request, given if auth.is_required else None)

    async def answer(
        self, request: Request, work: Callable[[Request], Awaitable[Any]], status: int = 200
    ) -> Response:
        """Return the result of `work`, or its error in DeepL's form."""
        value, headers = None, None
        try:
            value = await work(request)
        except RestError as exc:
            status, value, headers = exc.status, {"message": str(exc)}, exc.headers
        except ClientGone:
            status, value = CLIENT_GONE, {"message": "the client has gone"}
        if status == 204:
            return Response(b"", status, headers, "application/json")
        return json_reply(value, status, headers)


def _opener(tags: Literal["html", "xml"], body: dict[str, Any]) -> Callable[[str], SpanDocument]:
    """Return what reads the texts of a request."""
    if tags == "html":
        return html.open_text
    return partial(
        xml.open_text,
        splitting=_names(body, "splitting_tags"),
        joining=_names(body, "non_splitting_tags"),
        ignored=_names(body, "ignore_tags"),
        is_outline_seen=_is_on(body, "outline_detection", default=True),
    )


def _names(body: dict[str, Any], name: str) -> Sequence[str]:
    """Return a list of tags; a form separates them with commas."""
    raw = body.get(name) or []
    parts = raw if isinstance(raw, list) else [raw]
    if not all(isinstance(part, str) for part in parts) or len(parts) > MAX_TEXTS:
        raise RestError(400, f"{name} must be a list of strings, not {kind_of(raw)}", param=name)
    if len(parts) + sum(part.count(",") for part in parts) > MAX_TAGS:
        raise RestError(413, f"{name} has more than {MAX_TAGS} tags", param=name)
    return [tag.strip() for part in parts for tag in part.split(",")]


def _is_on(body: dict[str, Any], name: str, *, default: bool = False) -> bool:
    """Return a switch; a form uses 1 and 0."""
    raw = body.get(name)
    return default if raw is None else raw not in (False, 0, "0", "false", "")
