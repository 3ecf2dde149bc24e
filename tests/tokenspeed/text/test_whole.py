"""A whole text: its layout stays, what is no translation is asked for again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text import whole as whole_text
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.vocabulary import NAMES, Vocabulary
from tokenspeed.text.whole import EMPTY_PARTS, WINDOW_CHARS, Exchange, Whole

HYGIENE = Hygiene(source="en", target="de")


def translated(text: str) -> str:
    """A text by a model that says everything in other words, as many of them."""
    whole = Whole(text, HYGIENE)
    said = []
    for part in whole.parts():
        exchange = Exchange(HYGIENE, part.source)
        while exchange.shown is not None:
            words = exchange.shown.split(" ")
            exchange.take(" ".join(w if w in NAMES else w.swapcase() for w in words))
        part.text = exchange.text
        said.append(whole.take_ready())
    return "".join([*said, whole.take_ready()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One line.\nTwo lines.\r\n\r\nEnd", "oNE LINE.\ntWO LINES.\r\n\r\neND"),
        ("  indented  \n\tand\n", "  INDENTED  \n\tAND\n"),
        ("We are happy\nto see you\nthere", "wE ARE HAPPY\nTO SEE YOU\nTHERE"),
        ("Title\n\nA text,\nDear all", "tITLE\n\na TEXT,\ndEAR ALL"),
        ("- one\n- two\n😀\n\n", "- ONE\n- TWO\n😀\n\n"),
        ("We go 👍 and rest", "wE GO 👍 AND REST"),
        ("We go 👍 see you", "wE GO 👍 sEE YOU"),
        ("We go 👍 See you", "wE GO 👍 sEE YOU"),
        ("One.  Two.   Three.", "oNE.  tWO.   tHREE."),
        ("", ""),
        ("\n", "\n"),
    ],
)
def test_lines_stay_where_they_were(text: str, expected: str) -> None:
    assert translated(text) == expected


@given(
    st.lists(
        st.sampled_from(("We go", "home.", "\n", "\n\n", " ", "a@b.de", "👍", "and")), max_size=20
    )
)
def test_as_many_lines_come_back(parts: list[str]) -> None:
    text = " ".join(parts)
    assert translated(text).count("\n") == text.count("\n")


def test_a_very_long_line_is_read_in_parts() -> None:
    text = "We go home and rest. " * (3 * WINDOW_CHARS // 20)
    whole = Whole(text, HYGIENE)
    next(whole.parts())
    assert translated(text) == text.swapcase()


def test_an_answer_that_is_no_translation_is_asked_for_once_more() -> None:
    exchange = Exchange(HYGIENE, "We go home 👍")
    assert exchange.shown == "We go home"
    assert exchange.take("so so so so so so so so") == "We go home."
    assert exchange.take("Wir gehen heim.") is None
    assert (exchange.text, exchange.faults, exchange.is_untranslated) == (
        "Wir gehen heim 👍",
        1,
        False,
    )


def test_a_sentence_that_makes_a_loop_is_asked_for_in_halves() -> None:
    exchange = Exchange(HYGIENE, "We have seen it all, and the others went home 👍")
    asked = []
    while exchange.shown is not None:
        asked.append(exchange.shown)
        is_half = len(asked) > 2
        exchange.take(f"Und {len(asked)}." if is_half else "so so so so so so so so")
    assert asked[2:] == ["We have seen it all,", "and the others went home"]
    assert exchange.text == "Und 3 und 4. 👍"
    assert (exchange.faults, exchange.is_untranslated) == (2, False)


def test_a_text_without_a_translation_stays_as_it_is() -> None:
    exchange = Exchange(HYGIENE, "WE GO HOME 👍")
    while exchange.shown is not None:
        exchange.take("so so so so so so so so")
    assert exchange.text == "WE GO HOME 👍"
    assert (exchange.faults, exchange.is_untranslated) == (2, True)
    cut = Exchange(HYGIENE, "We go.")
    cut.take("Wir gehen", is_whole=False)
    assert cut.shown == "We go"


def test_a_word_that_is_not_copied_is_tried_by_another_name_and_placed_in_the_end() -> None:
    exchange = Exchange(HYGIENE, "Write to a@b.de now.")
    asked = [exchange.shown]
    while exchange.shown is not None:
        asked.append(exchange.take("Schreib jetzt."))
    assert asked == [*(f"Write to {name} now." for name in NAMES[:3]), None]
    assert exchange.text in ("Schreib a@b.de jetzt.", "Schreib jetzt a@b.de.")
    assert [item.wanted for item in exchange.missing] == ["a@b.de"]


def test_a_page_of_empty_lines_gives_its_reader_turns() -> None:
    whole = Whole("\n" * 1000 + "End.", HYGIENE)
    parts = list(whole.parts())
    assert [part.text for part in parts[:-1]] == [""] * (1000 // EMPTY_PARTS)
    assert parts[-1].source == "End."


@pytest.mark.parametrize(
    ("target", "said", "whole"),
    [
        ("zh-Hans", ["早上好。", "今天很好。"], "早上好。今天很好。\n\n  早上好。"),
        ("ja", ["はい。", "OK"], "はい。OK\n\n  はい。"),
        ("ja", ["OK.", "はい。"], "OK. はい。\n\n  OK."),
        ("th", ["ดี", "วันนี้"], "ดี วันนี้\n\n  ดี"),
    ],
)
def test_sentences_are_joined_as_their_language_joins(
    target: str, said: list[str], whole: str
) -> None:
    text = Whole("Good morning. Today is good.\n\n  Good morning.", Hygiene(target=target))
    for part in text.parts():
        if part.source:
            part.text = said["Today" in part.source]
    assert text.take_ready() == whole


def test_sentences_of_a_language_without_spaces_are_joined_with_them() -> None:
    said = {"早上好。": "Guten Morgen.", "今天很好。": "Heute ist es schön.", "はい。": "はい。"}
    text = Whole("早上好。今天很好。\n早上好。はい。", Hygiene(source="zh", target="de"))
    for part in text.parts():
        part.text = said[part.source]
    assert text.take_ready() == "Guten Morgen. Heute ist es schön.\nGuten Morgen.はい。"


@pytest.mark.parametrize(
    ("source", "output", "text"),
    [
        ("Save file", "Datei speichern.", "Datei speichern"),
        ("Save it.", "Speichern.", "Speichern."),
        ("Room 5", "Zimmer 5.", "Zimmer 5."),  # an ordinal, for all that is known
        ("In the U.S.", "In den U.S.", "In den U.S."),
        ("We go \N{THUMBS UP SIGN} Go home", "Wir.", "Wir \N{THUMBS UP SIGN} Wir."),
        ("We go \N{THUMBS UP SIGN} see you", "Wir.", "Wir \N{THUMBS UP SIGN} wir."),
        ("We \N{THUMBS UP SIGN} are going", "Wir gehen", "Wir \N{THUMBS UP SIGN} gehen"),
        ("We saw a \N{COW} here", f"Hier war eine {NAMES[0]}.", "Hier war eine \N{COW}."),
        ("Thx 4 ur help", "Danke für deine Hilfe.", "Danke für deine Hilfe"),
        ("so we go home at last", "Wir gehen.", "Wir gehen."),  # said, not written on a button
        ("A", "", "A"),
        ("<b>Stop!</b> he said.", "Halt! sagte er.", "<b>Halt!</b> sagte er."),
        ("We told you\\Nnot to go.", "Wir sagten dir, geh nicht.", "Wir sagten dir,\\N geh nicht."),
        ("1½ cups of milk", "1 1/2 Tassen Milch", "1½ Tassen Milch"),
        ("¾ of it", "3/4 davon", "¾ davon"),
        ("Tom &amp; Anna", "Tom Anna", "Tom &amp; Anna"),
        ("It costs $1,000.00/yr.", f"Es kostet {NAMES[0]}.", "Es kostet $1,000.00/yr."),
        ("Use <code>x</code> now.", f"Nimm {NAMES[0]} jetzt.", "Nimm <code>x</code> jetzt."),
    ],
)
def test_a_text_gets_back_what_it_had_and_no_more(source: str, output: str, text: str) -> None:
    hygiene = Hygiene(Vocabulary(is_known=str.isascii), target="de")
    whole = Whole(source, hygiene)
    for part in whole.parts():
        exchange = Exchange(hygiene, part.source, "en")
        while exchange.shown is not None:
            exchange.take(output)
        part.text = exchange.text
    assert whole.take_ready() == text


def test_lines_of_a_list_are_texts_of_their_own() -> None:
    parts = [part.source for part in Whole("a) first\nb) second\nand more", HYGIENE).parts()]
    assert parts == ["a) first", "b) second and more"]


@given(
    st.lists(st.sampled_from(("we", " ", "go", "  ", "a")), max_size=30).map("".join),
    st.lists(st.floats(0, 1), max_size=8).map(sorted),
)
def test_line_breaks_stand_at_the_nearest_spaces(text: str, shares: list[float]) -> None:
    """As found by looking at every space for every break."""
    breaks = [(share, f"\n{i}") for i, share in enumerate(shares)]
    spaces = [
        i
        for i in range(1, len(text) - 1)
        if text[i] == " " and " " not in text[i - 1] + text[i + 1]
    ]
    parts, at = [], 0
    for i, (share, ending) in enumerate(breaks):
        left = [place for place in spaces if place >= at]
        left = left[: max(len(left) - (len(breaks) - 1 - i), 0)] or left
        if not left:
            parts.append(ending)
            continue
        place = min(left, key=lambda place: abs(place - share * len(text)))
        parts += [text[at:place], ending]
        at = place + 1
    expected = "".join([*parts, text[at:]]) if spaces else text + "".join(parts)
    assert whole_text._broken(text, breaks) == expected


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("WE GO", "HOME NOW", True),
        ("WE GO", "HOME", False),
        ("WE", "HOME NOW", False),
        ("We GO", "HOME NOW", False),
        ("A 5 B", "C D", False),
    ],
)
def test_lines_in_capitals_are_one_text(first: str, second: str, are_one: bool) -> None:
    parts = [part.source for part in Whole(f"{first}\n{second}", HYGIENE).parts()]
    assert parts == ([f"{first} {second}"] if are_one else [first, second])
