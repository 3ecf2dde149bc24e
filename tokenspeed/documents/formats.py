"""The formats, by the suffixes of file names. A format's module is imported when it is needed."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from typing import Final

from tokenspeed.documents.document import Document
from tokenspeed.errors import DocumentError

# Suffix -> module, and the library that it needs besides those of the package.
_FORMATS: Final = {
    ".srt": ("subtitles:open_srt", None),
    ".vtt": ("subtitles:open_vtt", None),
    ".txt": ("plain:open_plain", None),
    ".md": ("markdown:open_markdown", None),
    ".html": ("html:open_html", None),
    ".htm": ("html:open_html", None),
    ".json": ("json_values:open_json", None),
    ".po": ("po:open_po", None),
    ".docx": ("docx:open_docx", "docx"),
}


def suffixes() -> list[str]:
    """Return the suffixes of files that can be translated here."""
    return [suffix for suffix, (_, library) in _FORMATS.items() if _is_here(library)]


def open_document(name: str, data: bytes, target: str) -> Document:
    """Return a file as a document.

    Args:
        name: of the file; its suffix gives the format.
        data: its bytes.
        target: code of the language to translate into.

    Raises:
        DocumentError: the format is unknown, its library is missing, or the file is not valid.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix not in _FORMATS:
        known = " ".join(suffixes())
        raise DocumentError(name, f"files of this kind are not translated; known are {known}")
    place, library = _FORMATS[suffix]
    if not _is_here(library):
        raise DocumentError(
            name, f"needs the package for {suffix[1:]}: pip install 'tokenspeed-live[{library}]'"
        )
    module, _, function = place.partition(":")
    opener: Callable[[bytes, str], Document]
    opener = getattr(import_module(f"tokenspeed.documents.{module}"), function)
    try:
        return opener(data, target)
    except ValueError as exc:
        raise DocumentError(name, str(exc)) from exc


def _is_here(library: str | None) -> bool:
    return library is None or find_spec(library) is not None
