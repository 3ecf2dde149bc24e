"""Languages of pieces: they stay until the text speaks clearly against them."""

from hypothesis import given
from hypothesis import strategies as st

from service.captions.policy import Source
from service.captions.spoken import CONTRADICTION_WORDS, Spoken

WORDS = {"wir": "de", "gehen": "de", "we": "en", "go": "en"}


def language_of(text: str, expected: str | None) -> str | None:
    """Two words of a language in a row are clear, one of another than expected is doubtful."""
    said = [WORDS.get(word) for word in text.split()]
    clear = [a for a, b in zip(said, said[1:], strict=False) if a == b and a is not None]
    if clear:
        return clear[-1]
    return expected if set(said) <= {None, expected} else None


def marked(
    spoken: Spoken, *texts: str, named: str | None = None, before: str | None = None
) -> list[str | None]:
    sources = [Source(text, 0) for text in texts]
    return [
        source.language
        for source in spoken.mark(sources, range(len(texts)), language_of, named, before)
    ]


def test_a_language_is_known_once_it_is_clear_and_then_stays() -> None:
    spoken = Spoken()
    assert marked(spoken, "wir") == [None]
    assert marked(spoken, "wir gehen") == ["de"]
    assert marked(spoken, "wir go") == ["de"]
    assert marked(spoken, "wir go we go") == ["en"]
    assert spoken.language == "en"
    assert spoken.mismatch is None


def test_a_piece_that_says_nothing_is_taken_for_what_was_before() -> None:
    spoken = Spoken()
    assert marked(spoken, "hm", before="fr") == ["fr"]
    assert marked(spoken, "hm", "wir gehen", "hm", "we", before="fr") == ["fr", "de", "de", None]
    assert spoken.language == "de"


def test_a_named_language_is_given_up_for_a_longer_text_alone() -> None:
    spoken = Spoken()
    assert marked(spoken, "wir gehen", named="en") == ["en"]
    assert spoken.mismatch is None
    long = " ".join(["wir gehen"] * (CONTRADICTION_WORDS // 2))
    assert marked(spoken, long, "hm", named="en") == ["de", "de"]
    assert spoken.mismatch == "de"
    assert marked(spoken, "wir we gehen go", named="en") == ["en"]
    assert spoken.mismatch is None


@given(
    st.lists(st.lists(st.text("wirgeho ", max_size=20), min_size=1, max_size=3), max_size=5),
    st.sampled_from([None, "de", "en"]),
)
def test_each_piece_is_marked_and_no_text_twice_in_a_row(
    revisions: list[list[str]], named: str | None
) -> None:
    spoken = Spoken()
    for texts in revisions:
        found = marked(spoken, *texts, named=named)
        assert len(found) == len(texts)
        assert marked(spoken, *texts, named=named) == found
        assert named is None or None not in found


def test_pieces_are_marked_some_at_a_time() -> None:
    spoken = Spoken()
    sources = [Source(text, 0) for text in ("wir gehen", "hm", "we go")]
    first = spoken.mark(sources, range(0, 2), language_of, None, None)
    rest = spoken.mark(sources, range(2, 3), language_of, None, None)
    assert [source.language for source in first + rest] == ["de", "de", "en"]
