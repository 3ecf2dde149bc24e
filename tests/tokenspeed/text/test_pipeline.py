"""A text on its way to a model and back, with a model that copies: all that is not a word stays."""

import time
import unicodedata
from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.service.fakes import ids, token_text
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.pipeline import Hygiene, Piece
from tokenspeed.text.segmenter import MAX_CHARS
from tokenspeed.text.vocabulary import MARKS, NAMES, Vocabulary

FAMILIES = {
    "names": Vocabulary(is_known=str.isascii, placeholders=NAMES),
    "marks": Vocabulary(is_known=str.isascii, placeholders=MARKS),
}
SPANS = (
    "a@b.de", "http://x.org/a", "{name}", "%s", "<b>", "</b>", "👍", "#tag", "@ana", "v1.2.3",
    "`x y`", "Привет", "**", "[applause]", ">>", "§ 5", "file.pdf",
)  # fmt: skip
WORDS = ("we", "go", "home", "now", "and", "rest,", "then", "sleep.", "Never")
TEXTS = st.lists(st.sampled_from((*SPANS, *WORDS, *WORDS)), max_size=12).map(" ".join)


def hygiene(family: str = "names", terms: Sequence[Term] = (), **settings: str) -> Hygiene:
    return Hygiene(FAMILIES[family], Glossary(terms), "en", "de", **settings)  # type: ignore[arg-type]


def copied(found: Hygiene, text: str) -> str:
    """What a reader gets from a model that copies what it is shown."""
    said = []
    for cut in found.cut(text):
        piece = found.piece()
        piece.take(cut.text)
        output = piece.restore(piece.shown()) if piece.core else ""
        said.append(piece.prefix + piece.placed(output) + piece.suffix)
    return " ".join(said)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("text", "prefix", "core", "suffix"),
    [
        ("Great job 👍", "", "Great job", " 👍"),
        ("🔴 LIVE now!", "🔴 ", "LIVE now!", ""),
        ("Great job 👍!", "", "Great job", " 👍!"),
        ("<i>We go.</i>", "<i>", "We go.", "</i>"),
        (">> - Hello", ">> ", "- Hello", ""),
        ("- Hello", "- ", "Hello", ""),
        ("(inaudible) and then", "(unverständlich) ", "and then", ""),
        ("😀", "😀", "", ""),
        ("...", "...", "", ""),
        ("a@b.de, http://x.y/z", "a@b.de, http://x.y/z", "", ""),
        ("[APPLAUSE]", "[APPLAUS]", "", ""),
        ("WE GO HOME", "", "We go home", ""),
        ("[engine hums]", "[", "engine hums", "]"),
        ("b", "b", "", ""),
        ("I", "", "I", ""),
        ("very very very very very big", "", "very very very big", ""),
        ("five five five five five", "", "five five five five five", ""),
        ("We\ngo\thome\xa0now", "", "We go home now", ""),
    ],
)
def test_what_is_around_a_text_is_no_concern_of_the_model(
    family: str, text: str, prefix: str, core: str, suffix: str
) -> None:
    piece = hygiene(family).piece()
    piece.take(text)
    assert (piece.prefix, piece.core, piece.suffix) == (prefix, core, suffix)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("names", ["Great stream 😂", " see you", " -> we", " >> no."]),
        ("marks", ["Great stream 😂", " see you", " -> we", " >> no."]),
    ],
)
def test_texts_that_have_nothing_to_do_with_each_other_are_cut(
    family: str, expected: list[str]
) -> None:
    found = hygiene(family).cut("Great stream 😂 see you -> we >> no.")
    assert "".join(cut.text for cut in found) == "Great stream 😂 see you -> we >> no."
    assert not any(cut.is_cut for cut in found)
    assert len(found) == len(expected)


def test_no_cut_falls_within_a_span() -> None:
    text = 'See <img alt="One. Two. Three."> and {{ a. B }} here. Now go.'
    assert [cut.text for cut in hygiene().cut(text)] == [text[:-8], " Now go."]


@pytest.mark.parametrize("family", FAMILIES)
@given(text=TEXTS)
@example(text="Привет <b> Привет Привет we")
def test_spans_survive_in_order(family: str, text: str) -> None:
    found = hygiene(family)
    wanted = [span.wanted for span in found.spans(text)]
    output = copied(found, text)
    at = 0
    for word in wanted:
        assert word in output[at:], (word, output)
        at = output.index(word, at) + len(word)


@pytest.mark.parametrize("family", FAMILIES)
@given(text=TEXTS)
def test_words_survive_in_order(family: str, text: str) -> None:
    def words(text: str) -> list[str]:
        found = [word for word in text.split() if word in WORDS]
        return [word for word, _ in groupby(found)]  # of many times the same, some are left

    assert words(copied(hygiene(family), text)) == words(text)


@pytest.mark.parametrize("family", FAMILIES)
@given(text=TEXTS, lost=st.sets(st.integers(0, 15)))
def test_what_a_model_drops_or_says_twice_is_there_once(
    family: str, text: str, lost: set[int]
) -> None:
    found = hygiene(family)
    piece = found.piece()
    piece.take(text)
    placeholders = found.vocabulary.placeholders
    output = piece.shown()
    for i, name in enumerate(placeholders):
        output = output.replace(name, "" if i in lost else f"{name} {name}")
    output = " ".join(output.split())
    if family == "names":  # a name that is said twice may well be meant twice
        output = piece.shown()
    text_out = piece.prefix + piece.placed(piece.restore(output)) + piece.suffix
    wanted = [span.wanted for span in found.spans(" ".join(text.split()))]
    for word in wanted:
        assert text_out.count(word) >= wanted.count(word)
        if family == "marks" and word.isascii() and len(word) > 2 and word[0] != "<":
            assert text_out.count(word) == sum(each.count(word) for each in wanted)


@given(TEXTS | st.text("abcdé ÄÖß.,!? 👍<>", max_size=30))
def test_composed_and_decomposed_are_shown_alike(text: str) -> None:
    shown = []
    for form in ("NFC", "NFD"):
        piece = hygiene().piece()
        piece.take(unicodedata.normalize(form, text))
        shown.append((piece.prefix, piece.shown(), piece.suffix))
    assert shown[0] == shown[1]


@given(
    st.lists(st.sampled_from("the train to airport is late again".split()), min_size=3, unique=True)
)
def test_capitals_are_shown_like_small_letters_and_given_back(words: list[str]) -> None:
    small = " ".join(words)
    piece, loud = hygiene().piece(), hygiene().piece()
    piece.take(small[0].upper() + small[1:])
    loud.take(small.upper())
    assert loud.shown() == piece.shown()
    assert loud.restore(piece.shown()) == small.upper()
    calm = hygiene(capitals="sentence").piece()
    calm.take(small.upper())
    assert calm.restore(calm.shown()) == piece.shown()


@given(
    st.lists(st.sampled_from(("We", "go", "home,", "don't", "we?", "Ja", "3.5", "10")), max_size=9)
)
def test_clean_text_is_shown_as_it_is(words: list[str]) -> None:
    text = " ".join(words)
    piece = hygiene().piece()
    piece.take(text)
    if not piece.core:
        assert piece.prefix == text
    elif not any(words[i : i + 4] == words[i : i + 1] * 4 for i in range(len(words))):
        assert piece.shown().casefold() == text.casefold()


@pytest.mark.parametrize(
    "text", ["we see <b", "we {na", "we see http://", "we %1", "we `x", "we ["]
)
def test_the_beginning_of_a_span_is_not_shown_while_it_may_grow(text: str) -> None:
    piece = hygiene().piece()
    piece.take(text, is_open=True)
    assert piece.shown() in ("we see", "we")
    piece.take(text)
    assert piece.core.startswith("we ")


def test_capitals_that_readers_have_stay_capitals() -> None:
    piece = hygiene().piece()
    piece.take("THE TRAIN", is_open=True)
    assert piece.restore("der Zug") == "DER ZUG"
    piece.take("THE TRAIN is late today, they say", is_open=True, committed="DER")
    assert piece.restore("der Zug") == "DER ZUG"
    piece.take("THE TRAIN is late today, they say", is_open=True)
    assert piece.restore("der Zug") == "der Zug"


def test_offsets_follow_capitals_that_grow() -> None:
    piece = hygiene().piece()
    piece.take("THE STREET IS LONG a@b.de")
    shown = piece.shown()
    assert NAMES[0] in shown
    output = f"die straße {NAMES[0]} ist"
    text, offsets = piece.token_text(token_text)(ids(output))
    assert text == "DIE STRASSE a@b.de IST"
    assert (offsets[0], offsets[-1], offsets) == (0, len(text), sorted(offsets))
    assert text[: offsets[10]] == "DIE STRASSE"


def test_swear_words_get_stars_where_they_are_not_wanted() -> None:
    for profanity, expected in (("raw", "so ein Arsch"), ("mask", "so ein A****")):
        piece = hygiene(profanity=profanity).piece()
        piece.take("such an ass")
        assert piece.restore("so ein Arsch") == expected
        assert piece.token_text(token_text)(ids("so ein Arsch"))[0] == expected


def test_a_glossary_word_is_no_mark_and_an_address_no_glossary_word() -> None:
    found = hygiene(terms=[Term("ana", "Anna"), Term("C++", "Cpp")])
    kinds = [(item.wanted, item.kind) for item in found.find("ana wrote ana@b.de in C++")]
    assert kinds == [("Anna", "term"), ("ana@b.de", "word"), ("Cpp", "term")]


def test_a_mark_is_put_back_beside_its_old_neighbour() -> None:
    def placed(text: str, output: str) -> str:
        piece = hygiene().piece()
        piece.take(text)
        piece.shown()
        return piece.prefix + piece.placed(output) + piece.suffix

    assert placed("Hello <b>world</b>, you.", "Hallo Welt, du.") == "Hallo <b>Welt</b>, du."
    assert (
        placed("We met <b>Ann</b> there.", "Dort trafen wir Ann.") == "Dort trafen wir <b>Ann</b>."
    )
    assert (
        placed("I read the **book** now.", "Ich las das Buch nun.") == "Ich las das **Buch** nun."
    )
    assert placed("Great job 👍", "Gute Arbeit.") == "Gute Arbeit 👍"
    # What two tags enclose is not empty in the translation.
    assert placed("I really <em>love</em> it.", "Realmente me encanta.") == (
        "Realmente me <em>encanta</em>."
    )
    shown = "New: <b>{count}</b> mails."
    assert placed(shown, "{count} neue Mails.") == "<b>{count}</b> neue Mails."
    assert placed("We meet at 5 a.m. 👍", "Um 5 a.m.") == "Um 5 a.m. 👍"


@pytest.mark.parametrize("output", ["Vítores", "(Vítores)", "[Vítores]."])
def test_an_unknown_sound_has_its_own_brackets_alone(output: str) -> None:
    piece = hygiene().piece()
    piece.take("[crowd goes wild]")
    assert piece.shown() == "crowd goes wild"
    assert piece.prefix + piece.placed(piece.restore(output)) + piece.suffix == "[Vítores]"
    read = piece.token_text(token_text)
    assert read(ids("(Olé)"))[0] == "Olé"


@pytest.mark.parametrize(
    ("text", "output", "said"),
    [
        ("JOHN: I am late.", "John: Ich bin spät.", "JOHN: Ich bin spät."),
        (
            "WARNING: do not open.",
            "Avertissement : ne pas ouvrir.",
            "AVERTISSEMENT : ne pas ouvrir.",
        ),
        ("John: I am late.", "John: Ich bin spät.", "John: Ich bin spät."),
        ("JOHN: I am late.", "Ich bin um 5:30 da.", "Ich bin um 5:30 da."),
        ("STREET: one", "Straße: eins", "Straße: eins"),  # a letter more
    ],
)
def test_a_label_in_capitals_stays_in_capitals(text: str, output: str, said: str) -> None:
    piece = hygiene().piece()
    piece.take(text)
    assert piece.placed(piece.restore(output)) == said
    assert piece.token_text(token_text)(ids(output))[0] == said


def test_numbered_lines_are_cut_before_their_keycap() -> None:
    text = "1\ufe0f\u20e3 Open it 2\ufe0f\u20e3 Go on"
    assert [cut.text for cut in hygiene().cut(text)] == [
        "1\ufe0f\u20e3 Open it ",
        "2\ufe0f\u20e3 Go on",
    ]


def test_a_piece_that_goes_on_keeps_placeholders_and_case() -> None:
    first: Piece = hygiene().piece()
    first.take("WE SEE a@b.de AND")
    first.shown()
    rest = first.following()
    rest.take("THE HOUSE")
    assert rest.core == "the house"
    assert rest.placeholders is first.placeholders


def test_what_was_all_there_was_stays_in_sight() -> None:
    piece = hygiene().piece()
    piece.take("COVID-19", is_open=True)
    assert (piece.prefix, piece.sight) == ("COVID-19", "COVID-19")
    piece.take("COVID-19 hit", is_open=True)
    assert (piece.prefix, piece.core, piece.sight) == ("", "COVID-19 hit", "COVID-19")


@pytest.mark.parametrize("unit", ["👍*", "👍. ", "♪ "])
def test_a_page_of_signs_is_cut_in_time_that_grows_with_its_length(unit: str) -> None:
    def taken(times: int) -> float:
        found = []
        for _ in range(3):
            fresh = hygiene()
            began = time.thread_time()
            fresh._breaks(unit * times, fresh.spans(unit * times))
            found.append(time.thread_time() - began)
        return min(found)

    assert taken(8_000) < 32 * taken(500)  # 16 where it is linear, 256 where it is quadratic


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("We <b>go home</b> now", "We go home now"),
        ("We <b> go </b> home", "We go home"),
        ("We go<rt></rt> home", "We go home"),
    ],
)
def test_a_mark_is_no_concern_of_the_model(family: str, text: str, shown: str) -> None:
    piece = hygiene(family).piece()
    piece.take(text)
    assert piece.shown() == shown


@pytest.mark.parametrize(
    "end",
    [
        "<",
        "</i",
        "<say-as x>5",
        "{",
        "${na",
        "`x",
        "[mus",
        "%",
        "%1$",
        "http",
        "https:/",
        "www.",
        "@",
        "#",
    ],
)
def test_what_is_not_complete_yet_is_left_out(end: str) -> None:
    piece = hygiene().piece()
    piece.take(f"We go {end}", is_open=True)
    assert piece.shown() == "We go"


@pytest.mark.parametrize("unit", ["\\n", "</b>", "&amp;", "{x}"])
@pytest.mark.parametrize("before", ["", "n", "na", "nah"])
def test_a_page_of_spans_without_a_gap_is_no_single_piece(unit: str, before: str) -> None:
    text = before + unit * 700
    for scale in (1, 2):
        cuts = [cut.text for cut in hygiene().cut(text, scale=scale)]
        assert "".join(cuts) == text
        assert max(map(len, cuts)) <= 3 * MAX_CHARS * scale
