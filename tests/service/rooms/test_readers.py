"""Readers of a room here: counted once each, woken, and told what they have missed."""

from collections import Counter

from service.rooms.frames import Frame
from service.rooms.readers import Reader, Readers
from service.rooms.said import SOURCE
from service.wire import protocol as p

EVENT = p.SourceFinal("1", "hello")


class Woken:
    """Readers, and how often each was woken."""

    def __init__(self, max_lag: int = 8) -> None:
        self.readers = Readers(max_lag)
        self.times: Counter[str] = Counter()

    def add(self, name: str, target: str, *, has_source: bool = False) -> Reader:
        reader = Reader(target, "captions", has_source, lambda: self.times.update([name]))
        self.readers.add(reader)
        return reader


def numbers(readers: Readers, reader: Reader, since: int) -> list[int] | None:
    missed = readers.missed(reader, since)
    return None if missed is None else [frame.number for frame in missed]


def test_each_counts_once_whatever_is_read_beside_it() -> None:
    woken = Woken()
    readers = woken.readers
    assert not readers
    both = woken.add("both", "de", has_source=True)
    woken.add("plain", "de")
    source = woken.add("source", SOURCE)
    assert readers.count() == {"de": 2, SOURCE: 1}
    assert readers.targets == ["de"]
    readers.wake_all()
    assert woken.times == {"both": 1, "plain": 1, "source": 1}
    readers.remove(both)
    readers.remove(source)
    assert readers.count() == {"de": 1}


def test_a_language_lingers_until_all_who_may_come_back_are_forgotten() -> None:
    woken = Woken()
    readers = woken.readers
    for name in ("first", "second"):
        readers.remove(woken.add(name, "de"), lingers=True)
    assert (readers.count(), readers.wanted()) == ({}, {"de": 0})
    readers.forget("de")
    assert readers.has_lingering
    readers.forget("de")
    assert not readers.has_lingering
    assert readers.wanted() == {}


def test_frames_of_two_channels_come_in_their_order_until_they_are_gone() -> None:
    woken = Woken(max_lag=2)
    readers = woken.readers
    both = woken.add("both", "de", has_source=True)
    plain = woken.add("plain", "de")
    for number, channel in enumerate(("de", SOURCE, "de", SOURCE), start=1):
        readers.send(channel, Frame(number, EVENT))
    assert woken.times == {"both": 4, "plain": 2}
    assert numbers(readers, both, 0) == [1, 2, 3, 4]
    readers.send("de", Frame(5, EVENT))
    assert numbers(readers, both, 0) is None  # the first is gone
    assert numbers(readers, both, 1) == [2, 3, 4, 5]
    readers.send_all(Frame(6, EVENT))
    assert numbers(readers, plain, 4) == [5, 6]


def test_who_starts_over_is_new_and_lacks_all_that_was_before() -> None:
    woken = Woken()
    readers = woken.readers
    reader = woken.add("reader", "de")
    readers.send("de", Frame(1, EVENT))
    reader.is_new, reader.seen = False, 1
    readers.start_over(9)
    assert (reader.is_new, reader.seen, woken.times["reader"]) == (True, 0, 2)
    assert numbers(readers, reader, 8) is None
    assert numbers(readers, reader, 9) == []


def test_a_notice_is_for_everybody() -> None:
    woken = Woken()
    both, source = woken.add("both", "de", has_source=True), woken.add("source", SOURCE)
    notice = p.SessionNotice("room_cut_off", "the room is cut off")
    woken.readers.notify(notice)
    assert both.notices == source.notices == [notice]
    assert woken.times == {"both": 1, "source": 1}
