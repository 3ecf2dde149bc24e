"""What is kept until the server has answered it."""

import pytest

from tokenspeed_client import events as e
from tokenspeed_client.pending import MAX_FINALS, Pending, SourceText

STATS = e.FinalStats(1, 0, 1.0, 1.0)


def final(segment_id: str, source: str, target: str = "de") -> e.TranslationFinal:
    return e.TranslationFinal(segment_id, target, source.upper(), source, STATS)


def committed(pending: Pending, *names: str, targets: tuple[str, ...] = ("de",)) -> None:
    for name in names:
        pending.commit(name, f"text of {name}", targets, None)


def names(messages: list[e.ClientEvent]) -> list[str]:
    return [getattr(message, "segment_id", "") for message in messages]


def test_several_segments_may_be_open() -> None:
    pending = Pending()
    pending.update("ann", SourceText("Hel", "lo", 1.0, 2.0, "Ann"))
    pending.update("ben", SourceText("Good"))
    first, second = pending.updates()
    assert first == e.SourceUpdate(1, "Hel", "lo", "ann", 1.0, 2.0, "Ann", event_id="update-1")
    assert names([second]) == ["ben"]
    assert not pending.has_update
    assert list(pending.open_ids) == ["ann", "ben"]
    commit = pending.commit("ann", None, ("de",), None)
    assert commit == e.SourceCommit("ann", 2, "Hello", "Ann", event_id="commit-3")
    assert list(pending.open_ids) == ["ben"]


def test_nothing_known_cannot_be_committed() -> None:
    with pytest.raises(ValueError, match="segment 's' has no text"):
        Pending().commit("s", None, ("de",), None)


def test_a_commit_is_kept_until_each_target_has_its_final() -> None:
    pending = Pending()
    committed(pending, "1", targets=("de", "fr"))
    assert pending.take(final("1", "text of 1")) is not None
    assert pending.num_commits == 1
    assert pending.take(final("1", "text of 1")) is None  # it has come before
    pending.take(final("1", "text of 1", "fr"))
    assert pending.num_commits == 0


def test_a_text_that_a_server_cut_waits_for_all_parts() -> None:
    pending = Pending()
    committed(pending, "1")
    for part, text in (("1~2", " of "), ("1", "text"), ("1~3", "1")):
        assert pending.num_commits == 1
        pending.take(final(part, text))
    assert pending.num_commits == 0


def test_languages_that_are_dropped_are_not_waited_for() -> None:
    pending = Pending()
    committed(pending, "1", targets=("de", "fr"))
    pending.keep_targets(("fr",))
    pending.take(final("1", "text of 1", "fr"))
    assert pending.num_commits == 0


def test_what_no_server_knows_need_not_be_withdrawn() -> None:
    pending = Pending()
    pending.update("1", SourceText("never sent"))
    assert pending.cancel("1") is None
    assert pending.cancel("nothing at all") is None
    pending.update("2", SourceText("sent"))
    pending.updates()
    assert pending.cancel("2") == e.SourceCancel("2", event_id="cancel-2")


def test_a_withdrawn_segment_gives_no_news_until_the_server_knows() -> None:
    pending = Pending()
    committed(pending, "1")
    cancel = pending.cancel("1")
    assert pending.take(final("1", "x")) is None
    gone, other = e.SnapshotSegment("1", "de", "x"), e.SnapshotSegment("2", "de", "")
    assert pending.take(e.SessionSnapshot((gone, other))) == e.SessionSnapshot((other,))
    assert pending.everything() == [cancel]
    retracted = e.TranslationRetracted("1", "de")
    assert pending.take(retracted) is retracted
    assert pending.everything() == []


def test_a_new_session_is_told_nothing_of_what_was_withdrawn() -> None:
    pending = Pending()
    committed(pending, "1", "2")
    pending.cancel("1")
    pending.begin_session()
    assert names(pending.everything()) == ["2"]


def refusal(event_id: str | None, retryable: bool) -> e.Error:
    return e.Error(e.ErrorInfo("limit", "overloaded", "m", None, event_id, retryable))


def test_a_refused_text_is_kept_and_a_useless_one_forgotten() -> None:
    pending = Pending()
    committed(pending, "1", "2")
    pending.update("3", SourceText("open"))
    pending.updates()
    pending.take(refusal("commit-1", retryable=False))
    pending.take(refusal("commit-2", retryable=True))
    pending.take(refusal("update-3", retryable=True))
    assert pending.has_refused
    assert names(pending.refused()) == ["2", "3"]
    assert not pending.has_refused
    assert pending.take(refusal(None, retryable=True)) is not None
    assert not pending.has_refused


def test_a_withdrawal_that_is_refused_is_done() -> None:
    pending = Pending()
    committed(pending, "1")
    cancel = pending.cancel("1")
    assert cancel is not None
    assert pending.take(refusal(cancel.event_id, retryable=False)) is None
    assert pending.everything() == []


def test_only_so_many_finals_are_remembered() -> None:
    pending = Pending()
    for number in range(MAX_FINALS + 1):
        pending.take(final(str(number), "x"))
    assert pending.take(final("0", "x")) is not None
    assert pending.take(final("2", "x")) is None
