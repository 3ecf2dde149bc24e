"""Sessions that speak in a room here come, are told, and go."""

from dataclasses import dataclass, field

from service.rooms.changes import Joined
from service.rooms.speakers import Speakers
from service.wire import protocol as p
from service.wire.protocol import ServerEvent


@dataclass(eq=False)
class Session:
    targets: frozenset[str] = frozenset()
    told: list[ServerEvent] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)

    def set_audience(self, targets: frozenset[str]) -> None:
        self.targets = targets

    def tell(self, event: ServerEvent) -> None:
        self.told.append(event)


def test_all_are_told_and_each_hears_of_its_own() -> None:
    speakers, ann, bob = Speakers(), Session(), Session()
    assert not speakers
    speakers.add("x", ann, "ann", 2, ann.heard.append)
    speakers.add("y", bob, "bob", 0, bob.heard.append)
    speakers.set_audience(frozenset({"de"}))
    notice = p.SessionNotice("room_cut_off", "the room is cut off")
    speakers.tell(notice)
    for each in (ann, bob):
        assert each.targets == {"de"}
        assert each.told == [notice]
    speakers.heard("x", 7)
    speakers.heard("of another replica", 8)
    assert (ann.heard, bob.heard) == ([7], [])
    assert speakers.source_of("y") == "bob"
    assert speakers.joined("here") == [
        Joined("x", "here", "ann", 2), Joined("y", "here", "bob", 0)
    ]  # fmt: skip


def test_who_came_back_is_not_removed_by_the_line_that_it_lost() -> None:
    speakers, before, after = Speakers(), Session(), Session()
    speakers.add("x", before, "ann", 0, before.heard.append)
    speakers.add("x", after, "ann", 0, after.heard.append)
    assert not speakers.remove("x", before)
    assert "x" in speakers
    assert speakers.remove("x", after)
    assert not speakers.remove("x", after)
    speakers.add("x", after, "ann", 0, after.heard.append)
    speakers.clear()
    assert not speakers
