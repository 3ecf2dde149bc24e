"""How a segment stands in a language, also when a later session says it again."""

from hypothesis import given
from hypothesis import strategies as st

from service.rooms.said import Told
from service.wire.protocol import TranslationDelta

PIECES = st.lists(st.tuples(st.text("ab ", max_size=4), st.text("ab ", max_size=3)), max_size=8)


def said(pieces: list[tuple[str, str]]) -> str:
    return "".join(append for append, _ in pieces)


def delta(append: str, unstable: str) -> TranslationDelta:
    return TranslationDelta("a", "de", 1, append, unstable)


@given(st.lists(PIECES, min_size=1, max_size=4))
def test_what_was_told_only_grows_whatever_later_sessions_say(
    sessions: list[list[tuple[str, str]]],
) -> None:
    told, shown = Told(), ""
    for number, pieces in enumerate(sessions):
        if number:
            told.behind = ""
        for count, (append, unstable) in enumerate(pieces):
            news = told.grow(delta(append, unstable))
            shown += news.append
            assert (shown, news.unstable) == (told.text, told.unstable)
            received = said(pieces[: count + 1])
            if (received + unstable).startswith(shown):  # on the way to what is there, or past it
                assert shown + news.unstable == received + unstable
            else:
                assert not news.unstable


@given(PIECES, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=4))
def test_a_session_that_says_the_same_ends_with_it_once(
    pieces: list[tuple[str, str]], stops: list[tuple[int, int]]
) -> None:
    told, shown, whole = Told(), "", said(pieces)
    for stop, step in [*stops, (len(whole), 3)]:
        told.behind = ""
        for begin in range(0, stop, step):
            news = told.grow(delta(whole[begin : min(begin + step, stop)], ""))
            shown += news.append
            assert whole.startswith(shown)
    assert shown == whole


def test_the_end_is_the_end() -> None:
    told = Told("Gut", "en", behind="G")
    told.end("Gute")
    assert told == Told("Gute", is_final=True)
    told.end("", is_retracted=True)
    assert told == Told(is_retracted=True)
