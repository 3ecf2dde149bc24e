"""What stands for protected words: put back, counted, and placed where it is lost."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from tests.service.fakes import ids, token_text
from tokenspeed.text import placeholders
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.placeholders import Placeholders
from tokenspeed.text.quantities.computing import Change
from tokenspeed.text.vocabulary import NAMES

TERMS = (
    Term("coffee machine", "Kaffeemaschine"),
    Term("machine", "maschinchen"),
    Term("IT", "EDV", is_case_sensitive=True),
    Term("TokenSpeed", "TokenSpeed", is_case_sensitive=True, is_exact=True),
)
WORDS = (
    "the",
    "coffee",
    "machine",
    "IT",
    "it",
    "TokenSpeed",
    *NAMES[:3],
    "a@b.de",
    "x.org/y",
)
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def test_another_name_stands_in_where_the_first_was_not_copied() -> None:
    found = Placeholders(Glossary(TERMS))
    assert found.replace("a machine") == f"a {NAMES[0]}"
    missing = found.missing("a machine", "ein Ding")
    assert [item.wanted for item in missing] == ["maschinchen"]
    found.give_up(missing)
    assert found.replace("a machine") == f"a {NAMES[1]}"
    # What was committed with the first name keeps its meaning.
    for name in NAMES[:2]:
        assert found.restore(f"ein {name}s", [])[0] == "ein maschinchens"
    assert found.missing("a machine", "ein maschinchens") == []
    assert found.missing("a machine", "Maschinchen sind da") == []


def test_a_sentence_may_begin_with_a_glossary_word_but_a_protected_one_stays() -> None:
    found = Placeholders(Glossary((*TERMS, Term("npm", "npm", is_exact=True))))
    source = found.replace("machine, machine and npm")
    assert found.restore(source, [])[0] == "Maschinchen, maschinchen and npm"
    assert found.restore(found.replace("npm"), [])[0] == "npm"


@given(st.lists(SENTENCES, min_size=1, max_size=5), st.integers(0, 3))
@example([*["machine IT a@b.de"] * 4, "machine IT TokenSpeed Microsoft a@b.de Python"], 1)
def test_a_model_that_copies_names_gives_every_wanted_word(
    revisions: list[str], failures: int
) -> None:
    """The identity as a model: whatever was said before, what comes back is what was wanted."""
    glossary = Glossary(TERMS)
    placeholders = Placeholders(glossary)
    for text in revisions:
        for _ in range(failures):
            placeholders.give_up(glossary.find(text))
        shown = placeholders.replace(text)
        expected, at = "", 0
        for item in glossary.find(text):
            expected += text[at : item.start] + item.wanted
            at = item.end
        expected += text[at:]
        output, offsets = placeholders.token_text(token_text)(ids(shown))
        assert output.casefold() == expected.casefold()
        assert placeholders.missing(text, output) == []
        assert offsets == sorted(offsets)
        assert (len(offsets), offsets[-1]) == (len(shown) + 1, len(output))


def test_numbers_that_were_said_in_words_come_back_in_words() -> None:
    found = Placeholders(Glossary())
    assert found.replace("eighteen cats", language="en", target="de") == "18 cats"
    for output, expected in (
        ("18 Katzen.", "Achtzehn Katzen."),
        ("es sind 18.", "es sind achtzehn."),
        ("eine 18-jährige Katze", "eine achtzehnjährige Katze"),
        # Parts of something else.
        ("18.000, 18:30, 18 %, 18. Mai, €18, A18, 18er, 118", None),
    ):
        assert found.restore(output, [])[0] == (expected or output)
    text, offsets = found.restore("es sind 18 Katzen", [0, 2, 7, 9, 10, 17])
    assert (text, offsets) == ("es sind achtzehn Katzen", [0, 2, 7, 8, 16, 23])
    found.is_upper = True
    assert found.restore("es sind 18", [])[0] == "ES SIND ACHTZEHN"


def test_a_number_that_readers_have_in_digits_stays() -> None:
    found = Placeholders(Glossary())
    found.replace("room 18", "Zimmer 18", language="en", target="de")
    found.replace("room eighteen", "Zimmer 18", language="en", target="de")
    assert found.restore("Zimmer 18", [])[0] == "Zimmer 18"


def test_no_placeholder_shows_where_a_model_glued_it_to_a_word() -> None:
    found = Placeholders(Glossary(TERMS))
    assert found.replace("a machine") == f"a {NAMES[0]}"
    assert found.restore(f"ein Ding{NAMES[0]} da", [0, 8, 17, 20]) == ("ein Ding da", [0, 8, 8, 11])
    assert found.restore(f"ein Ding{NAMES[1]} da", [])[0] == f"ein Ding{NAMES[1]} da"


CHANGES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.text("xyz", max_size=5)), max_size=5
)


@given(st.text("abc", max_size=20), CHANGES, st.lists(st.integers(0, 20), max_size=8).map(sorted))
def test_offsets_move_with_what_changes(
    text: str, steps: list[tuple[int, int, str]], offsets: list[int]
) -> None:
    """As with one change after another, from the last to the first."""
    changes, at = [], 0
    for gap, length, wanted in steps:
        changes.append(Change(at + gap, at + gap + length, wanted))
        at += gap + length
    offsets = [min(offset, len(text)) for offset in offsets]
    expected, moved = text, list(offsets)
    for change in reversed([each for each in changes if each.end <= len(text)]):
        grown = len(change.wanted) - (change.end - change.start)
        expected = expected[: change.start] + change.wanted + expected[change.end :]
        moved = [o + grown if o >= change.end else min(o, change.start) for o in moved]
    assert placeholders._changed(text, offsets, changes) == (expected, moved)


@given(st.lists(st.sampled_from(("10", "100", "0", "a@b.de", "de")), max_size=4), st.data())
def test_wanted_words_are_found_in_an_output_from_left_to_right(
    words: list[str], data: st.DataObject
) -> None:
    parts = st.lists(st.sampled_from(("10", "100", "1000", "a@b.de", " ", "x")), max_size=8)
    output = "".join(data.draw(parts))
    found = Placeholders(Glossary([Term(word, word) for word in words]))
    found.replace(" ".join(words))
    wanted = {item.wanted for item, _ in found._held.values()}
    pattern = "|".join(sorted(wanted, key=len, reverse=True)).replace(".", "[.]")
    expected = [match.span() for match in re.finditer(pattern, output)] if wanted else []
    assert found.protected(output) == expected
