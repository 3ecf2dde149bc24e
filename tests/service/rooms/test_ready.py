"""What a newcomer is told is joined once, and again only where it has changed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from service.rooms.ready import BLOCK, Ready
from service.wire import protocol as p

STATE = p.RoomState(p.RoomInfo("r", "", 0, 0, is_closed=False), "de", ())


def told(ready: Ready) -> list[int]:
    parts = p.RoomState(STATE.room, "de", tuple(ready.join()))
    found: list[int] = json.loads(p.serialise(parts))["segments"]
    return found


_NUMBERS = st.integers(0, 3 * BLOCK)


@given(st.lists(st.tuples(st.sampled_from(["add", "drop", "join"]), _NUMBERS), max_size=40))
def test_it_holds_the_newest_of_each_number_in_order(acts: list[tuple[str, int]]) -> None:
    ready, kept = Ready(0), dict[int, int]()
    for said, (act, number) in enumerate(acts):
        if act == "add":
            ready.add(number, str(said).encode())
            kept[number] = said
        elif act == "drop":
            ready.drop_before(number)
            kept = {each: text for each, text in kept.items() if each >= number}
        else:
            assert told(ready) == [kept[each] for each in sorted(kept)]
    assert told(ready) == [kept[each] for each in sorted(kept)]


def test_only_blocks_that_changed_are_joined_again() -> None:
    ready = Ready(0)
    for number in range(4 * BLOCK):
        ready.add(number, b"1")
    joined = list(ready.join())
    ready.add(BLOCK, b"2")
    again = list(ready.join())
    assert [one is other for one, other in zip(joined, again, strict=True)] == [
        True, False, True, True
    ]  # fmt: skip
