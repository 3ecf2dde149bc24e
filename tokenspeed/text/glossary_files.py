"""Glossaries from files: CSV and TSV as spreadsheets and DeepL write them, TBX as termbases do.

Knows files and languages' codes; does not know which pairs a model translates.
"""

import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Final

from tokenspeed.errors import GlossaryFileError
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.languages import code_of, primary, script_of

MAX_ROWS: Final = 10_000
MAX_CHARS: Final = 100  # of a term
KEPT: Final = 32  # glossaries of requests, of a megabyte at the most
_XML_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_NAMES: Final = {  # column names in files -> ours
    "source": "source",
    "target": "target",
    "source_language": "source_language",
    "source_lang": "source_language",
    "target_language": "target_language",
    "target_lang": "target_language",
    "language": "target_language",
    "case_sensitive": "case_sensitive",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A term and its translation; a language of None stands for any."""

    source: str
    target: str
    source_language: str | None = None
    target_language: str | None = None
    is_case_sensitive: bool = False


def read_glossary(path: Path) -> list[Row]:
    """Read a glossary.

    - `.csv`, `.tsv`: two columns, source and target; or four, followed by the languages of both (as
      in DeepL's files). A first line may name the columns: `source`, `target`,
      `source_language`, `target_language`, `case_sensitive`; or it has codes of languages, each
      with a column of terms, which are translated from any language into any other.
    - `.tbx`: concepts with terms in several languages. All terms of a concept are translated into
      its first term in another language.

    Raises:
        GlossaryFileError: the file or a line of it cannot be read.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".tbx":
            rows = list(_concepts(path))
        elif kind in (".csv", ".tsv"):
            # utf-8-sig: spreadsheets begin their files with a byte order mark.
            text = path.read_text(encoding="utf-8-sig")
            rows = list(_table(path, text.splitlines(), "\t" if kind == ".tsv" else ","))
        else:
            raise GlossaryFileError(path, f"ends in {kind!r}, expected .csv, .tsv or .tbx")
    except (OSError, UnicodeDecodeError, ElementTree.ParseError, csv.Error) as exc:
        raise GlossaryFileError(path, str(exc)) from exc
    if len(rows) > MAX_ROWS:
        raise GlossaryFileError(path, f"has {len(rows)} pairs of terms, at most {MAX_ROWS}")
    return rows


class HouseGlossary:
    """The terms of a service: they apply to every text, after those that come with it.

    Args:
        rows: of all languages.
    """

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self._rows = tuple(rows)
        self._terms: dict[tuple[str | None, str], tuple[Term, ...]] = {}
        self._glossaries: dict[tuple[str | None, str], Glossary] = {}
        # Of the newest requests, with their terms, so that no others have the same id.
        self._recent: dict[tuple[int, str | None, str], tuple[Sequence[Term], Glossary]] = {}

    @property
    def num_rows(self) -> int:
        """Terms of all pairs of languages."""
        return len(self._rows)

    def terms(self, source: str | None, target: str) -> tuple[Term, ...]:
        """Return the terms of a pair of languages; a source of None stands for any."""
        pair = (source, target)
        if pair not in self._terms:
            self._terms[pair] = tuple(
                Term(row.source, row.target, row.is_case_sensitive)
                for row in self._rows
                if _is_for(row.target_language, target)
                and (source is None or _is_for(row.source_language, source))
                and (row.source_language is None or not _is_for(row.source_language, target))
            )
        return self._terms[pair]

    def with_terms(
        self,
        own: Sequence[Term],
        source: str | None,
        target: str,
        is_rare: Callable[[str], bool] | None = None,
    ) -> Glossary:
        """Return a glossary of a text's own terms, then those of the house.

        Without terms of its own the glossary is made once and reused; with a tuple of them, for as
        long as that is used: a request may have hundreds of texts.
        """
        pair = (source, target)
        if own and isinstance(own, tuple):
            kept = self._recent.get((id(own), *pair))
            if kept is None or kept[0] is not own:
                kept = self._recent[id(own), *pair] = own, self._made(own, pair, is_rare)
                if len(self._recent) > KEPT:
                    del self._recent[next(iter(self._recent))]
            return kept[1]
        if own:
            return self._made(own, pair, is_rare)
        if pair not in self._glossaries:
            self._glossaries[pair] = Glossary(self.terms(*pair), is_rare, source)
        return self._glossaries[pair]

    def _made(
        self,
        own: Sequence[Term],
        pair: tuple[str | None, str],
        is_rare: Callable[[str], bool] | None,
    ) -> Glossary:
        named = {term.source.casefold() for term in own}
        rest = (t for t in self.terms(*pair) if t.source.casefold() not in named)
        return Glossary([*own, *rest], is_rare, pair[0])

    def keeping(
        self,
        own: Sequence[Term],
        source: str | None,
        targets: Iterable[str],
        is_rare: Callable[[str], bool] | None = None,
    ) -> Glossary:
        """Return a glossary that keeps the words of all these terms, for another pass."""
        terms = [*own, *(term for target in targets for term in self.terms(source, target))]
        words = dict.fromkeys(term.source for term in terms)
        return Glossary([Term(word, word) for word in words], is_rare, source)


def _table(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    header: list[str] | None = None
    languages: list[str | None] = []
    for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), 1):
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if header is None:
            names = [_NAMES.get(cell.lower(), "") for cell in cells]
            languages = [_language(cell) for cell in cells]
            is_named = "source" in names and "target" in names
            header = names if is_named else []
            if is_named or (len(cells) > 1 and all(languages)):
                continue
            languages = []
        try:
            yield from _rows(cells, header, languages)
        except ValueError as exc:
            raise GlossaryFileError(path, f"line {number}: {exc}") from exc


def _rows(cells: list[str], header: list[str], languages: list[str | None]) -> Iterator[Row]:
    """Read one line of a table."""
    if languages and not header:
        said = [(code, cell) for code, cell in zip(languages, cells, strict=False) if cell]
        for (source, term), (target, translation) in permutations(said, 2):
            yield _checked(term, translation, source, target, is_case_sensitive=False)
        return
    if not header and len(cells) not in (2, 4):
        raise ValueError(f"has {len(cells)} columns, expected 2 or 4")
    names = header or ["source", "target", "source_language", "target_language"]
    said_by = dict(zip(names, cells, strict=False))
    for name in ("source_language", "target_language"):
        if said_by.get(name) and _language(said_by[name]) is None:
            raise ValueError(f"{said_by[name]!r} is not a language")
    is_case_sensitive = said_by.get("case_sensitive", "").lower() in ("1", "true", "yes", "x")
    yield _checked(
        said_by.get("source", ""),
        said_by.get("target", ""),
        _language(said_by.get("source_language", "")),
        _language(said_by.get("target_language", "")),
        is_case_sensitive=is_case_sensitive,
    )


def _concepts(path: Path) -> Iterator[Row]:
    """Yield the pairs of a termbase: TBX as of 2008 (`termEntry`) and of 2019 (`conceptEntry`)."""
    root = ElementTree.fromstring(path.read_bytes())
    for entry in root.iter():
        if _tag(entry) not in ("termEntry", "conceptEntry"):
            continue
        said: dict[str, list[str]] = {}
        for section in entry:
            code = _language(section.get(_XML_LANG) or "")
            terms = ["".join(t.itertext()).strip() for t in section.iter() if _tag(t) == "term"]
            if _tag(section) in ("langSet", "langSec") and code is not None:
                said.setdefault(code, []).extend(filter(None, terms))
        for source, target in permutations(said, 2):
            for term in said[source]:
                if said[target]:
                    try:
                        yield _checked(term, said[target][0], source, target, False)
                    except ValueError as exc:
                        raise GlossaryFileError(path, str(exc)) from exc


def _checked(
    source: str,
    target: str,
    source_language: str | None,
    target_language: str | None,
    is_case_sensitive: bool,
) -> Row:
    for name, text in (("source", source), ("target", target)):
        if not text:
            raise ValueError(f"has no {name}")
        if len(text) > MAX_CHARS:
            raise ValueError(f"{text[:20]!r}... has {len(text)} characters, at most {MAX_CHARS}")
    return Row(source, target, source_language, target_language, is_case_sensitive)


def _language(name: str) -> str | None:
    """Return a language by code, tag or English name, with its script if unusual."""
    code = primary(code_of(name)) if name else None
    if code is None or primary(name) != code or script_of(name) == script_of(code):
        return code
    return f"{code}-{script_of(name)}"


def _is_for(named: str | None, language: str) -> bool:
    """Whether words given for one language suit another: same script, whatever the region."""
    if named is None:
        return True
    return primary(named) == primary(language) and script_of(named) == script_of(language)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
