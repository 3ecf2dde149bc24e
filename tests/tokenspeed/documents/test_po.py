"""Messages of gettext: what has no translation gets one, all else stays."""

import polib
import pytest

from tokenspeed.documents.po import open_po

FILE = r"""# A note
msgid ""
msgstr ""
"Project-Id-Version: x\n"
"Content-Type: text/plain; charset=UTF-8\n"

#. for translators
#: src/a.py:1
msgid "Hello\n"
msgstr ""

#, python-format
msgctxt "menu"
msgid "%d file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

msgid "Done"
msgstr "Fertig"

#, fuzzy
#| msgid "Old"
msgid "New"
msgstr "Alt"

msgid "100 %"
msgstr ""

#~ msgid "Gone"
#~ msgstr ""
"""


def test_messages_without_translation_get_one() -> None:
    document = open_po(FILE.encode(), "de")
    assert document.texts == ["Hello", "%d file", "%d files", "New"]
    found = polib.pofile(document.translated(["Hallo", "%d Datei", "%d Dateien", "Neu"]).decode())
    by_id = {entry.msgid: entry for entry in found}
    assert by_id["Hello\n"].msgstr == "Hallo\n"
    assert by_id["Hello\n"].comment == "for translators"
    assert by_id["Hello\n"].occurrences == [("src/a.py", "1")]
    assert by_id["%d file"].msgstr_plural == {0: "%d Datei", 1: "%d Dateien"}
    assert (by_id["%d file"].msgctxt, by_id["%d file"].flags) == ("menu", ["python-format"])
    assert by_id["Done"].msgstr == "Fertig"
    assert (by_id["New"].msgstr, by_id["New"].fuzzy, by_id["New"].previous_msgid) == (
        "Neu",
        False,
        None,
    )
    assert by_id["100 %"].msgstr == ""
    assert by_id["Gone"].obsolete
    assert found.metadata["Language"] == "de"
    assert found.metadata["Plural-Forms"] == "nplurals=2; plural=(n != 1);"
    assert [entry.msgid for entry in found] == [entry.msgid for entry in polib.pofile(FILE)]


def test_plural_forms_are_those_of_the_language() -> None:
    found = polib.pofile(open_po(FILE.encode(), "ja").translated(list("abcd")).decode())
    assert found.metadata["Plural-Forms"] == "nplurals=1; plural=0;"
    assert next(e for e in found if e.msgid_plural).msgstr_plural == {0: "c"}
    forms = '"Language: de\\n"\n"Plural-Forms: nplurals=3; plural=n;\\n"\n"Content'
    own = FILE.replace('"Content', forms)
    found = polib.pofile(open_po(own.encode(), "de").translated(list("abcd")).decode())
    assert next(e for e in found if e.msgid_plural).msgstr_plural == {0: "b", 1: "c", 2: "c"}
    assert "nplurals=2" in open_po(FILE.encode(), "qqq").translated(list("abcd")).decode()


def test_a_translated_file_stays_translated() -> None:
    once = open_po(FILE.encode(), "de").translated(["a", "b", "c", "d"])
    again = open_po(once, "de")
    assert list(again.texts) == []
    assert again.translated([]) == once
    with pytest.raises(ValueError, match="1 translations for 0 texts"):
        again.translated(["x"])


def test_other_encodings_become_utf_8() -> None:
    data = FILE.replace("UTF-8", "ISO-8859-1").replace("Fertig", "Höhe").encode("latin-1")
    written = open_po(data, "de").translated(list("abcd"))
    assert "Höhe" in written.decode()
    assert b"charset=UTF-8" in written


@pytest.mark.parametrize("data", [b"", b"nonsense", b"/etc/hostname", b'msgid "a'])
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a PO file"):
        open_po(data, "de")
