"""Whole texts for any endpoint: within a client's limits, and only as long as it waits.

Knows requests and the translator; does not know how an endpoint writes its questions and answers.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from starlette.requests import Request

from service.doors import apart
from service.doors.http import check_gate, while_connected
from service.doors.state import AppState
from service.errors import RestError, TranslationFailed
from service.load.meter import in_thread, metered
from service.translator import TextOptions
from tokenspeed.documents.document import Document
from tokenspeed.documents.tagged import without_marks
from tokenspeed.documents.worker import Question
from tokenspeed.text.words import has_words

_T = TypeVar("_T")

SIDE_BY_SIDE: Final = 16  # texts of one request; more wait, so that none fills the engine's queue


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a request's texts are to be translated.

    Attributes:
        source: their language, None if unknown.
        options: who asks, and how to translate.
    """

    source: str | None
    target: str
    options: TextOptions

    @property
    def client(self) -> str:
        """Who is asking."""
        return str(self.options.client)


async def translate_texts(
    state: AppState,
    request: Request,
    texts: Sequence[str],
    wanted: Wanted,
) -> list[str]:
    """Translate a request's texts; those without words come back unchanged.

    Raises:
        RestError: a text does not fit, the engine cannot, or too many requests are under way.
        ClientGone: nobody waits for the result any more.
    """
    return await _passing(state, request, wanted.client, _texts(state, texts, wanted))


async def translate_documents(
    state: AppState,
    request: Request,
    opened: Callable[[], Sequence[Document]],
    wanted: Wanted,
) -> tuple[Sequence[Document], list[bytes]]:
    """Translate documents; return them, and the bytes of their translations.

    Args:
        opened: reads them; called in a thread, as a large one takes long.

    Raises:
        RestError, ClientGone: as `translate_texts`, and what `opened` raises.
    """

    async def work() -> tuple[Sequence[Document], list[bytes]]:
        async with state.documents:
            documents = await in_thread(opened)
        texts = list(dict.fromkeys(text for document in documents for text in document.texts))
        translated = await _texts(state, texts, wanted)
        found = dict(zip(texts, translated, strict=True))

        def written() -> list[bytes]:
            return [
                document.translated([found[text] for text in document.texts])
                for document in documents
            ]

        async with state.documents:
            return documents, await in_thread(written)

    return await _passing(state, request, wanted.client, work())


async def seen_of(documents: Sequence[Document]) -> list[str]:
    """Return the words of each document, without marks: what to detect its language from."""

    def words() -> list[str]:
        return [" ".join(map(without_marks, document.texts)) for document in documents]

    return await in_thread(words)


async def translate_file(
    state: AppState, request: Request, question: Question, data: bytes, wanted: Wanted
) -> bytes:
    """Translate a file; return its bytes.

    Raises:
        RestError, ClientGone: as `translate_texts`, or the file cannot be read or written.
    """

    async def work() -> bytes:
        async with state.files:
            texts = await apart.texts_of(question, data)
        found = await _texts(state, texts, wanted)
        async with state.files:
            return await apart.translated(replace(question, translations=found), data)

    return await _passing(state, request, wanted.client, work())


async def _texts(state: AppState, texts: Sequence[str], wanted: Wanted) -> list[str]:
    found = list(texts)
    options = replace(wanted.options, turn=state.turns.turn)
    rest = iter(enumerate(texts))

    async def work() -> None:
        for index, text in rest:
            if has_words(text):
                found[index] = await state.translator.whole(
                    text, wanted.source, wanted.target, options
                )
            else:
                await asyncio.sleep(0)  # a file may have thousands of them

    workers = [asyncio.ensure_future(metered(work())) for _ in range(min(SIDE_BY_SIDE, len(texts)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()  # if another one failed
    return found


async def _passing(
    state: AppState, request: Request, client: str, work: Coroutine[Any, Any, _T]
) -> _T:
    try:
        check_gate(state.gate, client)
        with state.gate.passing(client):
            return await while_connected(request, work)
    except TranslationFailed as exc:
        raise failed(exc) from exc
    finally:
        work.close()  # if it never began


def failed(exc: TranslationFailed) -> RestError:
    """Return the error for a text that could not be translated."""
    return RestError(413 if exc.code == "text_too_long" else 503, str(exc))


def check_pair(state: AppState, source: str | None, target: str, param: str = "target") -> None:
    """Refuse a pair that the model does not translate.

    Args:
        source: None if unknown.
        param: the field that names the target.

    Raises:
        RestError: the model does not have this pair.
    """
    if not state.model.translates(source, target):
        wanted = f"translation from {source or 'auto'} to {target} is not supported"
        raise RestError(400, wanted, param=param)
