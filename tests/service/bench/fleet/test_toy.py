"""The toy's language: one id a word, two a long one, and words that a reader could see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.fleet.toy import ToyPrompts, ToyTokenizer
from service.bench.load.loadtest import script
from service.bench.load.simulator import FIRST_WORD, NUM_WORDS, toy_prompt
from tokenspeed.model.config import DEFAULT_MODEL
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.text.detokenizer import Detokenizer

WORDS = st.lists(st.text("abcdefghijklmnop", min_size=1, max_size=12), max_size=12)


@given(WORDS)
def test_words_are_ids_and_a_longer_text_begins_alike(words: list[str]) -> None:
    tokenizer = ToyTokenizer()
    ids = tokenizer.encode(" ".join(words))
    assert len(words) <= len(ids) <= 2 * len(words)
    assert all(FIRST_WORD <= token < NUM_WORDS for token in ids)
    assert tokenizer.encode(" ".join([*words, "more"]))[: len(ids)] == ids
    prompt = ToyPrompts(tokenizer).build(" ".join(words), "en", "de", is_open=True)
    assert prompt == toy_prompt(ids, is_open=True)


@given(st.lists(st.integers(NUM_WORDS, 200_000), max_size=12), st.integers(0, 12))
def test_ids_are_words_however_they_come(ids: list[int], split: int) -> None:
    whole = Detokenizer(ToyTokenizer().decoder)
    growing = Detokenizer(ToyTokenizer().decoder)
    growing(ids[:split])
    text, offsets = growing(ids)
    assert (text, offsets) == whole(ids)
    assert len(text.split()) == len(ids)
    assert len(offsets) == len(ids) + 1


def test_what_a_load_test_says_has_about_as_many_ids_as_in_the_shipped_vocabulary() -> None:
    lines, _ = script(60.0, 180.0, 0)
    text = " ".join(line.source for line in lines)
    shipped = len(Tokenizer.load(DEFAULT_MODEL).encode(text))
    assert len(ToyTokenizer().encode(text)) == pytest.approx(shipped, rel=0.1)
