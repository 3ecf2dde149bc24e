"""Text that is in the wanted language already."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.captions.copied import Copied
from service.captions.job import JobKey
from service.captions.policy import PRESETS, Source
from tests.service.fakes import token_text
from tokenspeed.text.words import count_words


def copied(preset: str = "balanced") -> Copied:
    return Copied(JobKey("s", "a", "en", 0), PRESETS[preset], token_text)


def test_stable_words_are_committed_but_for_the_last_of_an_open_text() -> None:
    found = copied()
    assert found.is_fresh
    assert found.revise(Source("we go home", 2)) is None
    assert (found.committed_text, found.shown) == ("we go", "we go home")
    found.revise(Source("we go home", 3))
    assert (found.committed_text, found.covered_words) == ("we go", 2)
    assert not found.is_fresh
    found.revise(Source("we go home", 3, is_open=False))
    assert (found.committed_text, found.is_done) == ("we go home", False)
    found.revise(Source(" we go home. ", 3, is_open=False, is_final=True))
    assert (found.committed_text, found.shown) == ("we go home.", "we go home.")
    assert found.is_done
    assert found.revise(Source("we go on", 3)) is None
    assert found.shown == "we go home."


def test_only_what_stays_is_shown_where_that_is_wanted() -> None:
    found = copied("append_only")
    found.revise(Source("we go home", 1))
    assert found.shown == found.committed_text == "we"


@pytest.mark.parametrize("preset", PRESETS)
@given(revisions=st.lists(st.tuples(st.text("ab .é", max_size=12), st.integers(0, 5)), max_size=6))
def test_what_is_committed_stays(preset: str, revisions: list[tuple[str, int]]) -> None:
    found = copied(preset)
    for text, stable in revisions:
        before = found.committed_text
        found.revise(Source(text, min(stable, count_words(text))))
        assert found.committed_text.startswith(before)
        assert found.shown.startswith(found.committed_text)
    before = found.committed_text
    found.revise(Source("a b", 2, is_open=False, is_final=True))
    assert found.is_done
    assert found.shown == found.committed_text
    assert found.committed_text.startswith(before)
