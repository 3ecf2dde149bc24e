"""Ids to text while they grow: the same as at once, and each id decoded once."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.detokenizer import Detokenizer


class Bytes:
    """Ids are bytes of UTF-8; counts what it was given."""

    pushed = 0

    def __init__(self) -> None:
        self.rest = b""

    def push(self, ids: Sequence[int]) -> str:
        Bytes.pushed += len(ids)
        self.rest += bytes(ids)
        for end in range(len(self.rest), -1, -1):
            try:
                text = self.rest[:end].decode()
            except UnicodeDecodeError:
                continue
            self.rest = self.rest[end:]
            return text
        return ""


def test_half_a_character_is_no_text_yet() -> None:
    text, offsets = Detokenizer(Bytes)(list("aé".encode()))
    assert (text, offsets) == ("aé", [0, 1, 1, 2])
    assert Detokenizer(Bytes)(list("aé".encode()[:2])) == ("a", [0, 1, 1])


@given(st.lists(st.text(max_size=8), max_size=6), st.data())
def test_whatever_was_asked_before_the_text_is_that_of_the_ids(
    texts: list[str], data: st.DataObject
) -> None:
    kept = Detokenizer(Bytes)
    for text in texts:
        ids = list(text.encode())
        ids = ids[: data.draw(st.integers(0, len(ids)))]
        assert kept(ids) == Detokenizer(Bytes)(ids)


def test_growing_and_shrinking_decode_only_the_difference() -> None:
    kept, ids = Detokenizer(Bytes), list(b"Where is the station?")
    Bytes.pushed = 0
    for end in range(len(ids) + 1):
        kept(ids[:end])
    kept(ids[:5])
    assert kept(ids)[0] == "Where is the station?"
    assert Bytes.pushed == len(ids)
