"""Where an answer ends, however its text came."""

from hypothesis import example, given
from hypothesis import strategies as st

from service.doors.output import LONGEST, Output

TEXTS = st.text(alphabet="ab. \n", max_size=30)


def cut(
    parts: list[str], max_tokens: int | None = None, stops: tuple[str, ...] = ()
) -> tuple[str, str, int]:
    output = Output(len, max_tokens, stops)  # a token a character
    text = "".join(map(output.push, parts)) + output.end()
    assert output.push("more") == output.end() == ""
    return text, output.finish_reason, output.tokens


@given(st.lists(TEXTS, max_size=6))
def test_without_bounds_all_of_it_is_given_and_counted(parts: list[str]) -> None:
    text = "".join(parts)
    assert cut(parts) == (text, "stop", sum(map(len, text.split())))


@example([" a", "."], None, ["a", " a."])
@example(["b  a", "b.a"], 2, [".", ".. ", " a "])
@example([" .a. ", "a"], 2, ["  ", "aab", ". ."])
@given(
    st.lists(TEXTS, max_size=6),
    st.one_of(st.none(), st.integers(1, 20)),
    st.lists(st.text(alphabet="ab. ", min_size=1, max_size=3), max_size=3),
)
def test_the_end_does_not_depend_on_the_parts(
    parts: list[str], max_tokens: int | None, stops: list[str]
) -> None:
    text, reason, tokens = cut(parts, max_tokens, tuple(stops))
    assert cut(["".join(parts)], max_tokens, tuple(stops)) == (text, reason, tokens)
    assert "".join(parts).startswith(text)
    assert not any(stop in text for stop in stops)
    assert max_tokens is None or tokens <= max_tokens
    if reason == "stop" and text != "".join(parts):
        assert any("".join(parts)[len(text) :].startswith(stop) for stop in stops)


@given(st.lists(st.sampled_from(("a" * 100, "a" * 300, " b", "a")), max_size=9))
def test_a_very_long_word_is_given_and_counted_in_parts(parts: list[str]) -> None:
    output = Output(lambda text: 1 + len(text) // 10)
    text = "".join(map(output.push, parts))
    whole = Output(lambda text: 1 + len(text) // 10)
    assert text + output.end() == whole.push("".join(parts)) + whole.end() == "".join(parts)
    assert output.tokens == whole.tokens
    assert len("".join(parts)) - len(text) <= 2 * LONGEST


def test_what_the_model_did_not_end_is_told() -> None:
    output = Output(len)
    assert output.push("round and round") == "round and"
    output.mark_cut()
    assert output.end() == " round"
    assert output.finish_reason == "length"


def test_a_stop_string_ends_it_whatever_the_model_did() -> None:
    output = Output(len, stops=("x",))
    assert output.push("one x two") == "one "
    output.mark_cut()
    assert (output.end(), output.finish_reason) == ("", "stop")
