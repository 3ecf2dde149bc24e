"""What was said, in numbers: the same after it was handed on, and never told twice."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rooms import record as record_module
from service.rooms.record import Record
from service.rooms.said import SOURCE, Said
from service.wire import protocol as p
from tokenspeed.text.steps import at_once

STATS = p.FinalStats(0, 0, 0.0, 0.0)


def say(record: Record, name: str, text: str, *, is_final: bool = False) -> Said:
    event = (
        p.SourceFinal(name, text, language="en")
        if is_final
        else p.SourceDelta(name, text, "", language="en")
    )
    said = record.continued(("ann", name), "x", event, "x")
    record.drop_oldest()
    record.note(said, SOURCE, event)
    return said


def final(name: str, text: str) -> p.TranslationFinal:
    return p.TranslationFinal(name, "de", text, "source", STATS)


def test_events_get_numbers_and_the_rooms_own_names() -> None:
    record = Record()
    record.t_ms = 40.0
    said = say(record, "a", "hello", is_final=True)
    told = record.note(said, "de", final("a", "hallo"))
    assert isinstance(told, p.TranslationFinal)
    assert (told.segment_id, told.seq, told.t_ms, told.start_ms) == ("1", 2, 40.0, 40.0)
    assert (record.number, record.over) == (2, 1)
    assert record.find("ann", "a") is said
    assert record.find("bob", "a") is None


def test_nothing_is_told_of_what_has_ended() -> None:
    record = Record()
    said = say(record, "a", "hello", is_final=True)
    assert record.note(said, SOURCE, p.SourceDelta("a", "hello you", "")) is None
    assert (record.number, said.source.text) == (1, "hello")


def test_a_later_session_goes_on_with_a_segment_unless_one_spoke_after_it() -> None:
    record = Record()
    said = say(record, "a", "hel")
    record.note(said, "de", p.TranslationDelta("a", "de", 1, "hal", ""))
    event = p.SourceDelta("a", "hello", "")
    assert record.continued(("ann", "a"), "old", event, "x").session_id == "x"
    assert record.continued(("ann", "a"), "y", event, "y") is said
    assert (said.session_id, said.moved, said.channels["de"].behind) == ("y", record.number + 1, "")


def test_what_lacks_a_language_is_found_newest_first_until_all_has_it() -> None:
    record = Record()
    first, second = (say(record, name, "hello", is_final=True) for name in "ab")
    say(record, "c", "not yet over")
    assert at_once(record.lacking("de")) == [second, first]
    assert at_once(record.lacking("en")) == []  # said in it
    record.note(first, "de", final("a", "hallo"))
    assert at_once(record.lacking("de")) == [second]
    record.note(second, "de", final("b", "hallo"))
    third = say(record, "c", "now", is_final=True)
    assert record.may_lack("de")
    assert at_once(record.lacking("de")) == [third]


def test_the_oldest_is_dropped_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "MAX_SEGMENTS", 2)
    record = Record()
    for name in "abc":
        say(record, name, name)
    assert list(record.segments) == [2, 3]
    assert record.find("ann", "a") is None
    assert [said.number for said in record.changed_after(0)] == [3, 2]
    assert record.drop_oldest() is None


def contents(record: Record) -> tuple[Any, ...]:
    changed = [said.number for said in record.changed_after(0)]
    return (
        record.segments,
        record.number,
        record.t_ms,
        record.over,
        changed,
        at_once(record.lacking("de")),
    )


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.booleans())))
def test_a_copy_is_the_same_and_goes_on_as_the_first(
    steps: list[tuple[str, bool, bool]],
) -> None:
    record, copy, since, known = Record(), Record(), 0, dict[int, Any]()
    for name, is_final, is_copied in steps:
        before = record.number
        said = say(record, name, name, is_final=is_final)
        if is_final:
            record.note(said, "de", final(name, name.upper()))
        changed = {each.number for each in record.changed_after(before)}
        assert changed == ({said.number} if record.number > before else set())
        if is_copied:
            head, segments = record.dump(since)
            known |= segments
            since = record.number
            copy.load(head, known.items())
            assert contents(copy) == contents(record)
