"""Segments as they are written for readers: what each wants, and once where it cannot change."""

import orjson

from service.rooms.readers import Reader
from service.rooms.said import SOURCE, Said, Told
from service.rooms.written import Written, changed_for
from service.wire.protocol import ReaderForm


def a_segment(*, is_final: bool) -> Said:
    return Said(
        7,
        ("ann", "a"),
        "x",
        "Ann",
        "en",
        1.0,
        2.0,
        channels={
            SOURCE: Told("hel", "lo", is_final=is_final, changed=5),
            "de": Told("Hal", "lo", changed=4),
        },
    )


def a_reader(target: str, form: ReaderForm = "captions", *, has_source: bool = False) -> Reader:
    return Reader(target, form, has_source, lambda: None)


def read(written: Written, said: Said, reader: Reader) -> dict[str, object]:
    return orjson.loads(written.segment(said, reader))


def test_each_is_told_what_it_reads() -> None:
    written, said = Written(), a_segment(is_final=True)
    plain = read(written, said, a_reader("de"))
    assert (plain["segment_id"], plain["text"], plain["unstable"]) == ("7", "Hal", "lo")
    assert plain.get("source") is None
    assert read(written, said, a_reader("de", has_source=True))["source"] == "hello"
    assert not read(written, said, a_reader("de", "append_only")).get("unstable")
    assert read(written, said, a_reader("fr"))["text"] == ""


def test_the_newest_for_a_reader_is_that_of_its_channels() -> None:
    said = a_segment(is_final=True)
    assert changed_for(a_reader("de"), said) == 4
    assert changed_for(a_reader("de", has_source=True), said) == 5
    assert changed_for(a_reader("fr"), said) == 0


def test_only_what_has_its_final_times_is_kept_until_it_changes() -> None:
    written, reader = Written(), a_reader("de")
    for is_final in (False, True):
        said = a_segment(is_final=is_final)
        assert (written.segment(said, reader) is written.segment(said, reader)) == is_final
    before = written.segment(said, reader)
    said.channels["de"].end("Hallo")
    said.channels["de"].changed = 6
    assert read(written, said, reader)["text"] == "Hallo"
    kept = written.segment(said, reader)
    assert kept is not before
    written.forget(said.number)
    assert written.segment(said, reader) is not kept
