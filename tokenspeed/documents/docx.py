"""Word (.docx): paragraphs of the text, of tables, headers and footers; their formats stay.

`python-docx` reads and writes the package. Consecutive words of one format are one part; parts of
other formats keep their order in a translation.
"""

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import docx
import regex
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml.ns import qn
from lxml import etree

from tokenspeed.documents.document import readable, writable
from tokenspeed.documents.flow import LINE_END
from tokenspeed.documents.tagged import Tag, Tagged
from tokenspeed.errors import DocumentError

MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
MAX_XML_BYTES: Final = 16 * 1024 * 1024  # parsed, it takes ten times as much memory
MAX_TAGS: Final = 500_000  # of its XML: these take most time and memory, 2 s and 200 MB here
_XML_LOOK: Final = 256  # bytes at the start of a member that show whether it is XML

# What python-docx raises for a damaged file: it does not check what it reads.
_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, PackageNotFoundError, etree.LxmlError, LookupError,
    AttributeError, TypeError, RuntimeError, EOFError, OSError,
)  # fmt: skip

_WORDS: Final = regex.compile(r"\p{L}")
_PARAGRAPH, _RUN, _TEXT, _FORMAT = qn("w:p"), qn("w:r"), qn("w:t"), qn("w:rPr")
_BREAKS: Final = frozenset({qn("w:tab"), qn("w:br"), qn("w:cr"), qn("w:drawing"), qn("w:pict")})
_SPACE: Final = "{http://www.w3.org/XML/1998/namespace}space"


@dataclass(slots=True)
class _Part:
    """Consecutive words of one format, in one or more elements."""

    format: bytes
    elements: list[Any]

    @property
    def text(self) -> str:
        return "".join(element.text or "" for element in self.elements)

    def write(self, text: str) -> None:
        for element in self.elements:
            element.text = ""
        self.elements[0].text = text
        self.elements[0].set(_SPACE, "preserve")


class DocxDocument:
    """A Word file.

    Args:
        data: its bytes.

    Raises:
        ValueError: it is not a Word file, or unpacks to too much.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._file = _opened(data)
        self._paragraphs = [
            _Paragraph(parts)
            for parts in _paragraph_parts(self._file)
            if _WORDS.search("".join(part.text for part in parts))
        ]

    @property
    def texts(self) -> Sequence[str]:
        """What is to be translated, paragraph by paragraph."""
        return [readable(paragraph.tagged.text) for paragraph in self._paragraphs]

    def translated(self, translations: Sequence[str]) -> bytes:
        """Return the file with these in place of `texts`; the same bytes where none differs.

        Raises:
            ValueError: there are not as many.
            DocumentError: the file is damaged and cannot be written.
        """
        texts = self.texts
        if len(translations) != len(texts):
            raise ValueError(f"{len(translations)} translations for {len(texts)} texts")
        if list(translations) == list(texts):
            return self._data
        for paragraph, text, translation in zip(self._paragraphs, texts, translations, strict=True):
            if translation != text:
                paragraph.write(LINE_END.sub(" ", writable(text, translation)))
        written = io.BytesIO()
        try:
            self._file.save(written)
        except _DAMAGED as exc:
            raise DocumentError("the file", f"it is damaged: {exc}") from exc
        return written.getvalue()


def open_docx(data: bytes, target: str) -> DocxDocument:
    """Return a Word file as a document.

    Raises:
        ValueError: it is not a Word file.
    """
    return DocxDocument(data)


def _opened(data: bytes) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            members = package.infolist()
            _check("bytes", sum(each.file_size for each in members), MAX_UNPACKED_BYTES)
            xml = [each for each in members if _is_xml(package, each.filename)]
            _check("bytes of XML", sum(each.file_size for each in xml), MAX_XML_BYTES)
            _check("tags", sum(package.read(each).count(b"<") for each in xml), MAX_TAGS)
        return docx.Document(io.BytesIO(data))
    except _DAMAGED as exc:
        raise ValueError("it is not a Word file, or it is damaged") from exc


def _check(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"it unpacks to {count} {what}, at most {most}")


def _is_xml(package: zipfile.ZipFile, name: str) -> bool:
    """Whether a member may be read as XML, whatever its name or type says."""
    with package.open(name) as member:
        begin = member.read(_XML_LOOK).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    return not begin or begin.startswith(b"<")


def _paragraph_parts(file: Any) -> Iterator[list[_Part]]:
    for part in file.part.package.iter_parts():
        element = getattr(part, "element", None)
        if element is not None and str(part.partname).startswith("/word/"):
            for paragraph in element.iter(_PARAGRAPH):
                yield from _stretches(paragraph)


def _stretches(paragraph: Any) -> Iterator[list[_Part]]:
    """Return the parts of a paragraph, one list for each stretch between tabs, breaks, pictures."""
    parts: list[_Part] = []
    for element in _own(paragraph):
        if element.tag in _BREAKS and parts:
            yield parts
            parts = []
        if element.tag == _TEXT:
            run = element.getparent()
            form = _format_of(run)
            if parts and parts[-1].format == form:
                parts[-1].elements.append(element)
            else:
                parts.append(_Part(form, [element]))
    if parts:
        yield parts


def _own(paragraph: Any) -> Iterator[Any]:
    """Return the elements of a paragraph, without those of paragraphs inside it (text boxes)."""
    inside = [iter(paragraph)]
    while inside:
        element = next(inside[-1], None)
        if element is None:
            inside.pop()
        elif element.tag != _PARAGRAPH:
            yield element
            inside.append(iter(element))


def _format_of(run: Any) -> bytes:
    """Return what distinguishes runs: their format, and the link that they are in."""
    found = run.find(_FORMAT)
    names = (
        []
        if found is None
        else sorted(
            f"{child.tag}{sorted(child.attrib.items())}"
            for child in found
            if child.tag not in _UNSEEN
        )
    )
    parent = run.getparent()
    link = "" if parent.tag == _PARAGRAPH else str(id(parent))
    return "|".join([*names, link]).encode()


# Invisible properties that programs add to runs: language, no proofing.
_UNSEEN: Final = frozenset({qn("w:lang"), qn("w:noProof")})


class _Paragraph:
    """A stretch of words: those of the most common format are plain, all others tagged."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts
        chars = Counter[bytes]()
        for part in parts:
            chars[part.format] += len(part.text)
        usual = chars.most_common(1)[0][0]
        self._plain = [i for i, part in enumerate(parts) if part.format == usual]
        pieces: list[str | Tag] = []
        for i, part in enumerate(parts):
            tags = () if i in self._plain else (Tag("", "start", i + 1), Tag("", "end", i + 1))
            pieces += [*tags[:1], part.text, *tags[1:]]
        self.tagged = Tagged(pieces)

    def write(self, translation: str) -> None:
        """Write the words of a translation into the parts that they belong to, in order."""
        pieces = self.tagged.restored(translation, in_order=True)
        starts = [p.number - 1 for p in pieces if isinstance(p, Tag) and p.kind == "start"]
        texts = [""] * len(self._parts)
        inside, before = False, -1  # whether in a tagged part; the last tagged part
        for piece in pieces:
            if isinstance(piece, Tag):
                inside = piece.kind == "start"
                before = starts.pop(0) if inside else before
            elif inside:
                texts[before] += piece
            elif piece:
                after = starts[0] if starts else len(self._parts)
                between = [i for i in self._plain if before < i < after]
                # If there were no plain words here, they join their neighbours.
                texts[between[0] if between else before if before >= 0 else after] += piece
        for part, text in zip(self._parts, texts, strict=True):
            part.write(text)
