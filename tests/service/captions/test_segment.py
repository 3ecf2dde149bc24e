"""The source of a segment: what is stable, what is frozen, and what a client rewrites."""

from hypothesis import given
from hypothesis import strategies as st

from service.captions.policy import Source
from service.captions.segment import MAX_CUT, Segment
from tokenspeed.text.pipeline import Hygiene


def segment(stable: str, unstable: str = "", **more: bool) -> Segment:
    found = Segment("a", "a", first_arrival_s=0.0, **more)  # type: ignore[arg-type]
    found.stable, found.unstable = stable, unstable
    return found


def test_words_of_the_stable_text_are_counted_for_each_piece() -> None:
    found = segment("", "We go home. Then we sl")
    assert found.pieces(0) == [
        Source("We go home.", 0, is_open=False),
        Source(" Then we sl", 0, is_open=True),
    ]
    found.stable, found.unstable = "We go home. Then we", " sleep"
    assert found.pieces(0) == [
        Source("We go home.", 3, is_open=False, is_final=True),
        Source(" Then we sleep", 2, is_open=True),
    ]
    assert [source.text for source in found.frozen] == ["We go home."]


def test_a_complete_piece_is_frozen_only_where_all_of_it_is_stable() -> None:
    found = segment("We go", " home. Then")
    found.pieces(0)
    assert found.frozen == []


def test_frozen_text_is_not_looked_at_again() -> None:
    found = segment("We go home. Then we")
    found.pieces(0)
    found.stable = "We went home! Then we sleep"
    assert [source.text for source in found.pieces(0) or ()] == ["We go home.", " Then we sleep"]
    assert found.text == "We went home! Then we sleep"


def test_the_last_word_of_typed_text_may_still_grow() -> None:
    assert segment("we go ho", is_appended=True).pieces(0) == [Source("we go ho", 2)]
    assert segment("we go home ", is_appended=True).pieces(0) == [Source("we go home ", 3)]
    assert segment("we go ho").pieces(0) == [Source("we go ho", 3)]


def test_all_of_a_committed_segment_is_final() -> None:
    found = segment("We go home. Then", " we sleep")
    found.committed_s = 1.0
    assert found.pieces(0) == [
        Source("We go home.", 3, is_open=False, is_final=True),
        Source(" Then we sleep", 3, is_open=False, is_final=True),
    ]


def test_a_segment_that_goes_on_leaves_out_what_came_before() -> None:
    found = segment("one two three four")
    found.base = "one two"
    assert found.text == " three four"
    found.stable = "One too three four five"  # rewritten by the client: two words are skipped
    assert found.text == " three four five"


def test_a_cut_inside_a_sentence_is_told_to_both_sides() -> None:
    long = "one " * 30 + "two, three four. Five"
    found = segment(long)
    assert [(s.is_cut, s.continues, s.is_open, s.is_final) for s in found.pieces(0) or ()] == [
        (True, False, False, True),
        (False, True, False, True),
        (False, False, True, False),
    ]


def test_a_piece_is_told_whether_it_touches_the_one_before() -> None:
    found = segment("One.<br>Two. Three.<br><br>Four.")
    assert [(source.text, source.touches) for source in found.pieces(0) or ()] == [
        ("One.<br>", False),
        ("Two.", True),
        (" Three.<br>", False),
        ("<br>", True),
        ("Four.", True),
    ]
    wide = segment("你好。再见。").pieces(0)
    assert [source.touches for source in wide or ()] == [False, False]  # other scripts need a space


def test_a_piece_is_frozen_where_the_stable_text_ends_with_it() -> None:
    found = segment("We go home.", " Then we sleep")
    found.pieces(0)
    assert [source.text for source in found.frozen] == ["We go home."]


def test_a_part_ends_where_it_is_cut_and_the_rest_begins_there() -> None:
    found = segment("We go home. Then we ", "sleep and rest")
    rest = found.cut(len("We go home."), now_s=2.0)
    assert (found.text, found.stable, found.unstable) == ("We go home.", "We go home.", "")
    assert rest.text == " Then we sleep and rest"
    assert (rest.stable, rest.unstable) == ("We go home. Then we ", "sleep and rest")
    last = rest.cut(len(" Then"), now_s=3.0)
    assert (rest.text, last.text) == (" Then", " we sleep and rest")
    assert (found.segment_id, rest.segment_id, last.segment_id) == ("a", "a~2", "a~3")


def test_a_part_may_end_in_what_was_not_stable() -> None:
    found = segment("We go", " home. Then we sleep")
    rest = found.cut(len("We go home."), now_s=2.0)
    assert (found.stable, found.unstable) == ("We go home.", "")
    assert (rest.stable, rest.unstable) == ("We go home.", " Then we sleep")


def test_the_last_word_of_a_long_typed_text_may_still_grow() -> None:
    long = "we go home and rest " * 40
    found = segment(f"{long}and sleep", is_appended=True)
    assert found.stable.endswith(" and sleep")
    stable = sum(source.stable_words for source in found.pieces(0) or ())
    assert stable == 5 * 40 + 1


@given(
    st.lists(
        st.sampled_from(("We go home. ", "and so on ", "Yes! ", "see {x} or <b>a</b> ", "a")),
        min_size=50, max_size=400,
    ).map("".join),
    st.booleans(),
    st.integers(0, 20),
)  # fmt: skip
def test_a_long_text_is_cut_in_steps_as_in_one(text: str, is_stable: bool, covered: int) -> None:
    found = segment(text if is_stable else "", "" if is_stable else text)
    steps = 1
    while (pieces := found.pieces(covered, is_spent=lambda: True)) is None:
        steps += 1
    assert "".join(source.text for source in pieces) == text
    assert steps >= len(text) // MAX_CUT
    assert segment(found.stable, found.unstable).pieces(covered) == pieces
    whole = Hygiene().cut(text, covered)
    assert [source.text for source in pieces] == [cut.text for cut in whole]
