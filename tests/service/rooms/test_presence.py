"""Who is in a room: the same on every replica, and never further back than it was."""

from service.rooms.changes import Joined
from service.rooms.presence import MAX_HEARD, Presence
from service.rooms.said import SOURCE


def copy_of(presence: Presence) -> Presence:
    anew = Presence()
    anew.load(presence.dump())
    anew.set_reads("", {})
    return anew


def test_a_session_does_not_go_back_to_an_earlier_replica() -> None:
    presence = Presence()
    presence.join(Joined("x", "one", "ann", 1))
    moved = Joined("x", "two", "ann", 2)
    assert not presence.is_older(moved)
    assert not presence.join(moved)  # it is the same session
    assert presence.is_older(Joined("x", "one", "ann", 1))
    assert presence.is_at("x", "two")
    assert not presence.is_at("x", "one")
    assert not presence.leave("x", "one")
    assert presence.leave("x", "two")
    assert presence.num_speakers == 0


def test_the_newest_session_speaks_in_the_place_of_an_earlier_one() -> None:
    presence = Presence()
    assert not presence.join(Joined("x", "one", "ann"))
    assert presence.join(Joined("y", "two", "ann"))
    assert presence.newest("ann") == "y"
    assert not presence.is_newest("x", "ann")
    assert presence.is_newest("y", "ann")
    assert presence.is_newest("x", "of its own names")


def test_what_is_on_a_lost_replica_is_over() -> None:
    presence = Presence()
    presence.join(Joined("x", "one", "ann"))
    presence.join(Joined("y", "two", "bob"))
    presence.claims = {"de": "one", "fr": "two"}
    assert presence.set_reads("one", {"de": 2, SOURCE: 1})
    assert presence.audience == {"de"}
    assert presence.readers_by_target == {"de": 2, SOURCE: 1}
    assert presence.replicas == {"one", "two"}
    anew = copy_of(presence)
    for each in (presence, anew):
        assert each.lose("one")
        assert not each.lose("one")
        assert each.claims == {"fr": "two"}
        assert each.set_reads("one", {})
        assert not each.set_reads("one", {})
        assert not each.audience
        assert each.replicas == {"two"}
        assert each.num_speakers == 1


def test_events_that_come_again_are_known_also_by_who_comes_later() -> None:
    presence = Presence()
    presence.join(Joined("x", "one", "ann", 1))
    presence.hear("x", 3)
    presence.join(Joined("x", "two", "ann", 2))
    for each in (presence, copy_of(presence)):
        assert [each.has_heard("x", number) for number in (0, 1, 3, 4)] == [
            False,
            True,
            True,
            False,
        ]
        assert each.is_older(Joined("x", "one", "ann", 1))


def test_only_so_many_sessions_are_remembered_by_what_was_heard_of_them() -> None:
    presence = Presence()
    for number in range(MAX_HEARD + 10):
        presence.join(Joined(f"s{number}", "", f"s{number}", 1))
    heard = list(presence.dump()["heard"])
    assert heard == [f"s{number}" for number in range(10, MAX_HEARD + 10)]
