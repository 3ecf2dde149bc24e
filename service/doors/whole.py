"""Whole texts for any endpoint: within the limits of a client, and no longer than he waits.

Knows requests and the translator; does not know how an endpoint writes its questions and answers.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request

from service.doors.http import check_gate, while_connected
from service.doors.state import AppState
from service.errors import RestError, TranslationFailed
from tokenspeed.text.words import count_words

SIDE_BY_SIDE: Final = 16  # texts of one request; more wait, so that none fills the engine's queue


async def translate_texts(
    state: AppState,
    request: Request,
    texts: Sequence[str],
    source: str | None,
    target: str,
    client: str,
) -> list[str]:
    """Translate the texts of a request; what has no words comes back as it is.

    Raises:
        RestError: a text does not fit, the engine cannot, or too many requests are under way.
        ClientGone: nobody waits for the result any more.
    """
    check_gate(state.gate, client)
    turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(text: str) -> str:
        if not count_words(text):
            return text
        async with turns:
            return await state.translator.whole(text, source, target, client)

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(one, texts))

    try:
        with state.gate.passing(client):
            return await while_connected(request, all_of_them())
    except TranslationFailed as exc:
        raise failed(exc) from exc


def failed(exc: TranslationFailed) -> RestError:
    """Return what a request is told whose text could not be translated."""
    return RestError(413 if exc.code == "text_too_long" else 503, str(exc))


def check_pair(state: AppState, source: str | None, target: str, param: str = "target") -> None:
    """Refuse what the model does not translate.

    Args:
        source: None where it is not known.
        param: the field that names the target.

    Raises:
        RestError: the model has not this pair.
    """
    if not state.model.translates(source, target):
        wanted = f"translation from {source or 'auto'} to {target} is not supported"
        raise RestError(400, wanted, param=param)
