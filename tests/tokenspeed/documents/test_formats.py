"""Formats by the names of files; libraries of formats are imported when a file needs them."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tokenspeed.documents import formats
from tokenspeed.documents.formats import open_document, suffixes
from tokenspeed.errors import DocumentError


def test_every_format_is_here() -> None:
    assert suffixes() == [".srt", ".vtt", ".txt", ".md", ".html", ".htm", ".json", ".po", ".docx"]
    assert open_document("A.TXT", b"Hello", "de").texts == ("Hello",)
    assert open_document("talk.en.vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nHi", "de").texts == (
        "Hi",
    )
    assert open_document("index.htm", b"<p>Hi</p>", "de").texts == ("Hi",)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.pdf", b"", "a.pdf: files of this kind are not translated; known are .srt .vtt"),
        ("a", b"", "a: files of this kind"),
        ("a.json", b"{", "a.json: it is not JSON"),
        ("a.srt", b"Hi", "a.srt: it has no cue"),
    ],
)
def test_other_files_are_refused_by_name(name: str, data: bytes, words: str) -> None:
    with pytest.raises(DocumentError, match=words) as caught:
        open_document(name, data, "de")
    assert caught.value.name == name


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert ".docx" not in suffixes()
    with pytest.raises(DocumentError, match=r"pip install 'tokenspeed-live\[docx\]'"):
        open_document("a.docx", b"", "de")


def test_libraries_are_imported_late() -> None:
    libraries = ("docx", "polib", "markdown_it", "lxml")
    assert all(map(find_spec, libraries))
    program = (
        "import sys, tokenspeed.cli, tokenspeed.documents.formats\n"
        f"print([name for name in {libraries} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
