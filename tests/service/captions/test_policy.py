"""The policy: what is committed stays committed, whatever the engine says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.captions.job import Job, JobKey
from service.captions.policy import (
    MAX_SUPERSEDED,
    PRESETS,
    Preset,
    Source,
    Translation,
    trim_repetition,
)
from tests.service.fakes import ids, token_text

KEY = JobKey("s", "a", "de", 0)
PLAIN = Preset(agreement=2, mask_words=1, bias=0.2, min_source_words=1)


def revise(translation: Translation, text: str, output: str | None = None, **more: Any) -> Job:
    """A whole round: a stable source in, the engine's output back."""
    job = translation.revise(Source(text, 10**6, **more))
    assert job is not None
    if output is not None:
        translation.complete(job.number, ids(output))
    return job


def test_two_hypotheses_must_agree_before_words_are_committed() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    first = revise(translation, "we go", "wir gehen")
    assert (first.forced, first.draft, first.bias) == ((), (), 0.2)
    assert (translation.committed_text, translation.shown) == ("", "wir")
    second = revise(translation, "we go home", "wir gehen heim")
    assert (second.forced, second.draft) == ((), ids("wir gehen"))
    assert (translation.committed_text, translation.shown) == ("wir gehen", "wir gehen")
    third = revise(translation, "we go home now", "wir gehen jetzt heim")
    assert (third.forced, third.draft) == (ids("wir gehen"), ids(" heim"))
    assert (translation.committed_text, translation.shown) == ("wir gehen", "wir gehen jetzt")


def test_a_word_is_committed_only_where_both_hypotheses_end_it() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    revise(translation, "a b c", "das Haustier ist da")
    revise(translation, "a b c d", "das Haus ist da")
    assert translation.committed_text == "das"


def test_the_letters_of_one_word_bear_out_nothing() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    for text in ("we go h", "we go ho", "we go hom", "we go home"):
        revise(translation, text, "wir gehen heim")
    assert translation.committed_text == ""
    revise(translation, "we go home n", "wir gehen heim nun")
    assert translation.committed_text == "wir gehen heim"


def test_nothing_is_lost_where_the_same_ids_come_to_read_otherwise() -> None:
    is_other = False

    def either(tokens: Any) -> tuple[str, list[int]]:
        text, offsets = token_text(tokens)
        return (text.replace("15", "XV") if is_other else text), offsets

    translation = Translation(KEY, PLAIN, either)
    revise(translation, "we are fifteen", "wir sind 15")
    revise(translation, "we are fifteen now", "wir sind 15 jetzt")
    revise(translation, "we are fifteen now and", "wir sind 15 jetzt und")
    assert translation.committed_text == "wir sind 15 jetzt"
    is_other = True
    revise(translation, "we are fifteen now and go", "wir sind 15 jetzt und gehen")
    assert translation.shown.startswith("wir sind 15 jetzt")
    job = translation.revise(Source("we are fifteen now and go.", 6, is_open=False, is_final=True))
    assert job is not None
    translation.complete(job.number, ids("wir sind 15 jetzt und gehen."))
    assert translation.committed_text == "wir sind 15 jetzt und gehen."


def test_the_final_pass_is_unbiased_and_commits_everything() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    revise(translation, "we go home", "wir gehen heim")
    job = translation.revise(Source("We go home.", 3, is_open=False, is_final=True))
    assert job is not None
    assert (job.bias, job.draft, job.is_final) == (0.0, ids("wir gehen heim"), True)
    translation.complete(job.number, ids("Wir gehen heim."))
    assert (translation.committed_text, translation.is_done) == ("Wir gehen heim.", True)
    assert translation.revise(Source("We go home later.", 4)) is None


def test_an_equal_revision_asks_for_nothing_but_may_commit_more() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    revise(translation, "we go", "wir gehen")
    job = translation.revise(Source("we go home", 0))
    assert job is not None
    translation.complete(job.number, ids("wir gehen heim"))
    assert translation.committed_text == ""  # nothing of the source is stable
    assert translation.revise(Source("We go  home,", 3)) is None
    assert translation.committed_text == "wir gehen"


def test_unstable_source_words_hold_their_share_of_the_translation() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    for text in ("a b c d e", "a b c d e f"):
        job = translation.revise(Source(text, 3))
        assert job is not None
        translation.complete(job.number, ids("A B C D E F"))
    assert translation.committed_text == "A B C"


def test_too_few_words_wait_unless_the_source_is_complete() -> None:
    translation = Translation(KEY, PRESETS["high"], token_text)
    assert translation.revise(Source("we go", 2)) is None
    assert translation.revise(Source("we go home", 3)) is not None
    translation = Translation(KEY, PRESETS["high"], token_text)
    assert translation.revise(Source("Go!", 1, is_open=False, is_final=True)) is not None


def test_a_translation_cannot_be_superseded_for_ever() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    works = [translation.revise(Source("a " * n, n)) for n in range(1, 12)]
    started = [job for job in works if job is not None]
    assert len(started) == MAX_SUPERSEDED + 1
    following = translation.complete(started[-1].number, ids("A B"))
    assert following is not None
    assert following.text == "a " * 11


def test_text_that_is_being_decoded_is_shown_once_it_is_as_long() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    revise(translation, "a b c d", "A B C D")
    assert translation.shown == "A B C"
    job = revise(translation, "a b c d e f")
    assert not translation.progress(job.number, ids("A X"))
    assert not translation.progress(job.number, ids("A X Y"))
    assert translation.progress(job.number, ids("A X Y Z Q"))
    assert translation.shown == "A X Y Z"
    assert not translation.progress(job.number - 1, ids("A X Y Z Q R S"))


def test_deleted_text_takes_the_unstable_tail_with_it() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    revise(translation, "a b c", "A B C")
    assert translation.revise(Source("", 0)) is None
    assert translation.shown == ""
    assert translation.revise(Source("", 0, is_open=False, is_final=True)) is None
    assert translation.is_done


def test_a_failed_final_commits_the_last_hypothesis() -> None:
    translation = Translation(KEY, PLAIN, token_text)
    revise(translation, "a b c", "A B C")
    job = translation.revise(Source("a b c.", 3, is_open=False, is_final=True))
    assert job is not None
    translation.fail(job.number)
    assert (translation.committed_text, translation.is_done) == ("A B C", True)


@pytest.mark.parametrize(
    ("tokens", "start", "expected"),
    [
        ((1, 2, 3), 0, (1, 2, 3)),
        ((1, 2, 2, 2, 2), 0, (1, 2)),
        ((1, 2, 3, 2, 3, 2, 3), 0, (1, 2, 3)),
        ((1, 2, 3, 2, 3, 2, 3), 4, (1, 2, 3, 2, 3, 2, 3)),
        ((1, 2, 3, 2, 3, 2), 0, (1, 2, 3, 2, 3, 2)),
    ],
)
def test_loops_are_cut_down(tokens: tuple[int, ...], start: int, expected: tuple[int, ...]) -> None:
    assert trim_repetition(tokens, start) == expected


OUTPUTS = st.text(alphabet="ab é,.👍🏽\u0301你", max_size=14)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("revise"), st.lists(st.sampled_from("abcd"), max_size=6), st.integers(0, 6)
        ),
        st.tuples(st.just("progress"), OUTPUTS, st.booleans()),
        st.tuples(st.just("complete"), OUTPUTS, st.booleans()),
        st.tuples(st.just("fail"), st.just(""), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS, st.sampled_from(sorted(PRESETS)), OUTPUTS, st.booleans())
def test_committed_text_never_changes_for_any_engine(
    steps: list[tuple[str, str | list[str], int]], preset: str, last: str, keeps_forced: bool
) -> None:
    translation = Translation(KEY, PRESETS[preset], token_text)
    job: Job | None = None

    def output(text: str) -> tuple[int, ...]:
        forced = job.forced if job is not None and keeps_forced else ()
        return (*forced, *ids(text))

    def check(before: str) -> None:
        assert translation.committed_text.startswith(before)
        assert translation.shown.startswith(translation.committed_text)
        assert token_text(translation.committed)[0] == translation.committed_text
        if not PRESETS[preset].shows_unstable:
            assert translation.shown == translation.committed_text

    for kind, value, number in steps:
        before = translation.committed_text
        if kind == "revise":
            job = translation.revise(Source(" ".join(value), number)) or job
        elif job is not None and kind == "progress":
            translation.progress(job.number - number, output(str(value)))
        elif job is not None and kind == "complete":
            following = translation.complete(job.number, output(str(value)), is_whole=bool(number))
            job = following or job
        elif job is not None:
            translation.fail(job.number)
        check(before)
    before = translation.committed_text
    job = translation.revise(Source("a b c", 3, is_open=False, is_final=True))
    if job is not None:
        translation.complete(job.number, output(last))
    check(before)
    assert translation.is_done
