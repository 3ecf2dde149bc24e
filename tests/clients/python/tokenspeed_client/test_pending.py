"""What is kept until the server has answered it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.reducers import JavaScript, javascript
from tokenspeed_client import events as e
from tokenspeed_client.pending import MAX_FINALS, Pending, SourceText
from tokenspeed_client.wire import parse, serialise

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


def test_the_newest_finished_ones_can_be_said_again_until_the_room_changes() -> None:
    pending = Pending()
    committed(pending, *map(str, range(40)))
    for number in range(39):
        pending.take(final(str(number), f"text of {number}"))
    assert names(pending.said()) == [str(number) for number in range(7, 39)]
    assert names(pending.everything()) == ["39"]
    pending.begin_room()
    assert pending.said() == []


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


# ---- the same as the JavaScript client's ----

SEGMENTS = st.sampled_from(["a", "b", "a~2"])
TEXTS = st.sampled_from(["", "ja", "ja und nein"])
OPTIONAL = st.none() | st.sampled_from(["Ann", "Ben"])
TARGETS = st.lists(st.sampled_from(["de", "fr"]), max_size=2, unique=True)
EVENT_IDS = st.builds(
    "{}-{}".format, st.sampled_from(["update", "commit", "cancel", "ping"]), st.integers(1, 9)
)
EVENTS = st.one_of(
    st.builds(
        lambda name, target, text: {
            "type": "translation.final", "segment_id": name, "target": target, "text": "JA",
            "source_text": text, "stats": {"updates": 1, "erased": 0, "first_ms": 1, "final_ms": 1},
        },
        SEGMENTS, st.sampled_from(["de", "fr"]), TEXTS,
    ),
    st.builds(
        lambda name: {
            "type": "translation.delta", "segment_id": name, "target": "de", "source_rev": 1,
            "append": "J", "unstable": "",
        },
        SEGMENTS,
    ),
    st.builds(
        lambda name: {"type": "translation.retracted", "segment_id": name, "target": "de"},
        SEGMENTS,
    ),
    st.builds(lambda name: {"type": "pong", "id": name}, EVENT_IDS),
    st.builds(
        lambda name, is_retryable: {
            "type": "error",
            "error": {
                "type": "server", "code": "overloaded", "message": "no", "event_id": name,
                "retryable": is_retryable,
            },
        },
        EVENT_IDS, st.booleans(),
    ),
)  # fmt: skip
CALLS = st.lists(
    st.one_of(
        st.tuples(
            st.just("update"),
            st.builds(
                lambda name, stable, tail, speaker: {
                    "segmentId": name, "stable": stable, "unstable": tail,
                    **({"speaker": speaker} if speaker else {}),
                },
                SEGMENTS, TEXTS, TEXTS, OPTIONAL,
            ),
        ),
        st.tuples(st.just("commit"), SEGMENTS, st.none() | TEXTS, TARGETS, OPTIONAL),
        st.tuples(st.just("cancel"), SEGMENTS),
        st.tuples(st.just("take"), EVENTS),
        st.tuples(st.just("keepTargets"), TARGETS),
        st.tuples(st.sampled_from(
            ["updates", "ping", "beginLine", "beginSession", "everything", "refused", "openAgain",
             "openIds", "hasRefused", "said", "beginRoom"],
        )),
    ),
    max_size=25,
)  # fmt: skip


def python_pending(calls: Sequence[Any]) -> list[Any]:
    """What each call returned, with the names of JavaScript."""
    pending = Pending()
    return [_written(_call(pending, name, *given)) for name, *given in calls]


def _call(pending: Pending, name: str, *given: Any) -> Any:
    match name:
        case "update":
            (said,) = given
            text = SourceText(said["stable"], said["unstable"], speaker=said.get("speaker"))
            return pending.update(said["segmentId"], text)
        case "commit":
            try:
                return pending.commit(*given)
            except ValueError:
                return "TypeError"
        case "take":
            return pending.take(parse(json.dumps(given[0]))) is not None
        case "hasRefused" | "openIds":
            return getattr(pending, _snake(name))
        case _:
            return getattr(pending, _snake(name))(*given)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _written(value: Any) -> Any:
    if isinstance(value, e.ClientEvent):
        return json.loads(serialise(value))
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    return value


@pytest.fixture(scope="module")
def node() -> Iterator[JavaScript]:
    with javascript() as found:
        yield found


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(CALLS)
def test_the_clients_say_the_same_again(node: JavaScript, calls: list[Any]) -> None:
    assert node.pending(calls) == python_pending(calls)
