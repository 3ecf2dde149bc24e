"""`/v2/glossaries` as in DeepL's API: stored once, then used by id at every endpoint.

Knows requests; what is kept, how much and for how long is up to the store.
"""

import csv
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from service.captions.glossaries import MAX_ENTRIES, MAX_OF_CLIENT, StoredGlossary, new_id
from service.captions.settings import MAX_TERM_CHARS
from service.doors.deepl import DeepL
from service.doors.http import text_field
from service.doors.state import AppState
from service.errors import RestError
from service.load.meter import in_thread
from tokenspeed.text.glossary import Term

_DELIMITERS: Final = {"tsv": "\t", "csv": ","}
_MAX_NAME: Final = 1024  # characters, as DeepL has it


class Glossaries:
    """Serves stored glossaries.

    Args:
        state: shared state of the service.
        deepl: the translation endpoints, whose keys and errors apply here too.
    """

    def __init__(self, state: AppState, deepl: DeepL) -> None:
        self._state = state
        self._deepl = deepl

    async def all(self, request: Request) -> Response:
        """Store a glossary, or list a client's own."""
        if request.method == "POST":
            return await self._deepl.answer(request, self._create, 201)
        return await self._deepl.answer(request, self._list)

    async def one(self, request: Request) -> Response:
        """Describe a glossary, or delete it."""
        if request.method == "DELETE":
            return await self._deepl.answer(request, self._remove, 204)
        return await self._deepl.answer(request, self._tell)

    async def entries(self, request: Request) -> Response:
        """Return the entries of a glossary, a pair a line."""
        found: list[StoredGlossary] = []

        async def find(request: Request) -> None:
            found.append(await self._own(request))

        reply = await self._deepl.answer(request, find)
        if not found:
            return reply
        lines = (f"{term.source}\t{term.target}" for term in found[0].terms)
        return Response("\n".join(lines), media_type="text/tab-separated-values")

    async def pairs(self, request: Request) -> Response:
        """List the language pairs that a glossary may be for: all of them."""
        return await self._deepl.answer(request, self._pairs)

    async def _create(self, request: Request) -> dict[str, Any]:
        body, client = await self._deepl.fields(request)
        name = text_field(body, "name", _MAX_NAME)
        source, target = (self._language(body, field) for field in ("source_lang", "target_lang"))
        if not self._state.model.translates(source, target) or source == target:
            raise RestError(400, "Unsupported language pair", param="target_lang")
        form = body.get("entries_format") or "tsv"
        if not isinstance(form, str) or form not in _DELIMITERS:
            raise RestError(
                400, "Value for 'entries_format' not supported.", param="entries_format"
            )
        lines = text_field(body, "entries", 1 << 30).splitlines()
        try:
            terms = await in_thread(lambda: tuple(_terms(lines, _DELIMITERS[form])))
        except csv.Error as exc:
            raise RestError(400, f"entries: {exc}", param="entries") from exc
        glossary = StoredGlossary(new_id(), client, name, source, target, terms, time.time())
        made = await self._state.glossaries.add(glossary, self._state.now_s())
        if made is None:
            raise RestError(456, f"at most {MAX_OF_CLIENT} glossaries of a client; delete one")
        return _told(made)

    async def _list(self, request: Request) -> dict[str, Any]:
        _, client = await self._deepl.fields(request)
        own = await self._state.glossaries.of(client, self._state.now_s())
        return {"glossaries": list(map(_told, own))}

    async def _tell(self, request: Request) -> dict[str, Any]:
        return _told(await self._own(request))

    async def _remove(self, request: Request) -> None:
        _, client = await self._deepl.fields(request)
        if not await self._state.glossaries.remove(request.path_params["id"], client):
            raise RestError(404, "Glossary not found")

    async def _own(self, request: Request) -> StoredGlossary:
        _, client = await self._deepl.fields(request)
        glossaries = self._state.glossaries
        found = await glossaries.find(request.path_params["id"], self._state.now_s())
        if found is None or not glossaries.is_of(found, client):
            raise RestError(404, "Glossary not found")
        return found

    async def _pairs(self, request: Request) -> dict[str, Any]:
        await self._deepl.fields(request)
        return {
            "supported_languages": [
                {"source_lang": info.code, "target_lang": target}
                for info in self._state.model.languages
                for target in info.targets
            ]
        }

    def _language(self, body: dict[str, Any], name: str) -> str:
        found = self._state.model.code_of(text_field(body, name))
        if found is None:
            raise RestError(400, f"Value for '{name}' not supported.", param=name)
        return found


def _terms(lines: Iterable[str], delimiter: str) -> Iterable[Term]:
    """Read pairs; a word has one translation."""
    seen: set[str] = set()
    is_quoted = delimiter == ","
    rows = (
        csv.reader(lines)
        if is_quoted
        else csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    )
    for number, cells in enumerate(rows, 1):
        said = [cell.strip() for cell in cells[:2]]
        if not any(said):
            continue
        if len(said) < 2 or not all(said):
            raise RestError(400, f"entries: line {number} has no pair of words", param="entries")
        if max(map(len, said)) > MAX_TERM_CHARS:
            problem = f"entries: line {number} has more than {MAX_TERM_CHARS} characters"
            raise RestError(400, problem, param="entries")
        if said[0].casefold() in seen:
            problem = f"entries: {said[0]!r} is there twice, in line {number}"
            raise RestError(400, problem, param="entries")
        seen.add(said[0].casefold())
        if len(seen) > MAX_ENTRIES:
            raise RestError(413, f"entries: at most {MAX_ENTRIES}", param="entries")
        yield Term(said[0], said[1])
    if not seen:
        raise RestError(400, "entries: there is none", param="entries")


def _told(kept: StoredGlossary) -> dict[str, Any]:
    created = datetime.fromtimestamp(kept.created, UTC).isoformat(timespec="milliseconds")
    return {
        "glossary_id": kept.id,
        "name": kept.name,
        "ready": True,
        "source_lang": kept.source,
        "target_lang": kept.target,
        "creation_time": created.replace("+00:00", "Z"),
        "entry_count": len(kept.terms),
    }
