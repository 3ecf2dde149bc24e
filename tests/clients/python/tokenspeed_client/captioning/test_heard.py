"""What of two hypotheses can be relied on."""

from hypothesis import given
from hypothesis import strategies as st

from tokenspeed_client.captioning.heard import agreed

WORDS = st.lists(st.sampled_from(["a", "an", "and", "b"]), max_size=6)


def test_the_last_word_waits_for_another_hypothesis() -> None:
    assert agreed("", "go for") == ""
    assert agreed("go for", "go forward") == "go"
    assert agreed("go forward ten", "go forward ten  meters") == "go forward"
    assert agreed("so far", "go forward") == ""


@given(WORDS, WORDS, st.sampled_from([" ", "  "]))
def test_it_begins_both_and_ends_at_a_word(before: list[str], now: list[str], gap: str) -> None:
    text = gap.join(now)
    found = agreed(gap.join(before), text)
    words = found.split()
    assert text.startswith(found)
    assert now[: len(words)] == before[: len(words)] == words
    assert not words or len(words) < len(before)
    assert found == found.rstrip()
