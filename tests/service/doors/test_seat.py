"""A seat in a room: who may take it, and what of a session's events goes where."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.captions.session import Session
from service.captions.settings import ModelInfo
from service.doors.seat import Seat
from service.errors import ProtocolError, RestError
from service.load.limits import Limits
from service.rooms.changes import Change
from service.rooms.hub import Hub, _Entry, new_guesses
from service.rooms.readers import Reader
from service.rooms.room import Room
from service.wire import protocol as p
from tests.service.fakes import new_detokenizer

MODEL = ModelInfo("fake", (p.LanguageInfo("en", "English", ("de", "fr")),))
STATS = p.FinalStats(0, 0, 0.0, 0.0)


class Place:
    """A session with a seat, and the languages that it was asked for."""

    def __init__(self, hub: Hub, name: str = "s") -> None:
        self.asked: list[frozenset[str]] = []
        self.session = Session(name, MODEL, Limits(), new_detokenizer, 0.0)
        self.told: list[p.ServerEvent] = []
        self.seat = Seat(hub, self.session, self.asked.append, self.told.append)

    async def update(self, token: str | None = None, **params: object) -> None:
        event = p.SessionUpdate(p.SessionParams(**params), token)  # type: ignore[arg-type]
        await self.seat.check(event)
        self.session.receive(event, 1.0)
        self.seat.follow()


async def test_a_seat_needs_the_token_of_its_own_room() -> None:
    hub = Hub(10, 100.0)
    (room, token), (other, other_token) = (
        await hub.create("", None, 0.0),
        await hub.create("", None, 0.0),
    )
    place = Place(hub)
    for each in (None, "wrong", other_token):
        with pytest.raises(ProtocolError) as problem:
            await place.update(each, room=room.id)
        assert (problem.value.code, problem.value.param) == ("unauthorized", "session.room")
    assert room.info().speakers == 0
    await place.update(token, room=room.id)
    assert room.info().speakers == 1
    with pytest.raises(ProtocolError) as problem:
        await place.update(room="nowhere")
    assert problem.value.code == "unknown_room"
    await place.update(other_token, room=other.id)  # moves
    assert (room.info().speakers, other.info().speakers) == (0, 1)
    place.seat.leave()
    place.seat.leave()
    assert other.info().speakers == 0


async def test_who_has_a_key_speaks_anywhere_but_in_a_closed_room() -> None:
    hub = Hub(10, 100.0)
    room, _ = await hub.create("", None, 0.0)
    place = Place(hub)
    place.seat.may_speak_anywhere = True
    await place.update(room=room.id)
    assert room.info().speakers == 1
    room.close()
    with pytest.raises(ProtocolError) as problem:
        await place.update(room=room.id)
    assert problem.value.code == "unknown_room"


async def test_readers_and_the_client_get_what_each_asked_for() -> None:
    hub = Hub(10, 100.0)
    room, token = await hub.create("", None, 0.0)
    place = Place(hub)
    await place.update(token, room=room.id, targets=(p.TargetParams("de"),))
    reader = Reader("fr", "captions", False, lambda: None)
    room.read(reader)
    room.take(reader)
    assert place.asked[-1] == {"fr"}
    events: list[tuple[p.ServerEvent, bool]] = [
        (p.SourceDelta("a", "hello", ""), False),
        (p.TranslationDelta("a", "fr", 1, "bon", ""), False),
        (p.TranslationDelta("a", "de", 1, "hal", ""), True),
        (p.SourceFinal("a", "hello"), False),
        (p.TranslationFinal("a", "fr", "bonjour", "hello", STATS), False),
        (p.CaptionCue("a.1", "a", "fr", ("bonjour",), 0, 1), False),
        (p.CaptionCue("a.1", "a", "de", ("hallo",), 0, 1), True),
        (p.SessionNotice("degraded", "busy"), True),
    ]
    for event, is_for_client in events:
        assert place.seat.pass_on(event, 2.0) is is_for_client
    told = [p.parse_server(frame).type for _, frame in room.take(reader)]
    assert told == ["translation.delta", "translation.final"]


class FarHub(Hub):
    """Rooms that cannot be reached at once."""

    failures = 3

    async def room(self, room_id: str) -> Room:
        self.failures -= 1
        if self.failures >= 0:
            raise RestError(503, "rooms cannot be reached")
        return await super().room(room_id)


async def test_who_comes_from_another_replica_waits_for_a_room_that_cannot_be_reached() -> None:
    hub = FarHub(10, 100.0)
    room, token = await hub.create("", None, 0.0)
    hub.failures = 0
    before = Place(hub)
    await before.update(token, room=room.id)
    before.seat.generation = 1
    said = p.SourceFinal("s1", "We go home.", language="en")
    before.seat.pass_on(said, 1.0)
    state = before.seat.dump()
    before.seat.let_go()

    hub.failures = 3
    after = Place(hub)
    after.session.receive(p.SessionUpdate(p.SessionParams(room=room.id)), 2.0)
    await after.seat.load(state, 2.0)
    assert hub.failures < 0
    assert [each.source.text for each in room.segments.values()] == ["We go home."]

    gone = Place(hub)
    gone.session.receive(p.SessionUpdate(p.SessionParams(room="nowhere")), 2.0)
    await gone.seat.load(state, 2.0)  # there is none: not waited for


async def test_what_is_said_anew_is_not_taken_for_what_an_earlier_replica_told_unsaved() -> None:
    """Redis seemed lost to it: the room heard more than was saved, and then it was killed."""
    hub = Hub(10, 100.0)
    room, token = await hub.create("", None, 0.0)
    before = Place(hub)
    await before.update(token, room=room.id, targets=(p.TargetParams("de"),))
    before.seat.generation = 1
    before.seat.pass_on(p.SourceDelta("a", "We go", "", language="en"), 1.0)
    state = before.seat.dump()
    before.seat.release(before.seat.number)
    for words in ("We go ho", "We go home"):
        before.seat.pass_on(p.SourceDelta("a", words, "", language="en"), 1.5)
        before.seat.release(before.seat.number)

    after = Place(hub)
    after.session.receive(p.SessionUpdate(p.SessionParams(room=room.id)), 2.0)
    after.seat.generation = 2
    await after.seat.load(state, 2.0)
    after.seat.pass_on(p.SourceFinal("a", "We go home.", language="en"), 2.0)
    final = p.TranslationFinal("a", "de", "Wir gehen heim.", "We go home.", STATS)
    after.seat.pass_on(final, 2.0)
    after.seat.release(after.seat.number)
    (said,) = room.segments.values()
    assert said.source.text == "We go home."
    assert said.channels["de"].text == "Wir gehen heim."
    assert after.seat.dump()["unheard"] == {}


@dataclass
class Fleet:
    """Replicas with copies of a room, one of which a session is on; and a reader.

    The session's state is how far it is in what it says: each segment is a delta, the end of the
    source and the end of the translation.

    Attributes:
        log: of the room; what is not in there is lost with its replica.
        unwritten, heard: by replica, what is still to go there, and how far its copy is.
        saved: state of the session, and of its seat.
        said, furthest: events of the session, now and before it was thrown back.
        names: translations that the reader was told the end of, as they came.
        last: number of the newest event that the reader has.
    """

    log: list[Change] = field(default_factory=list)
    rooms: dict[str, Room] = field(default_factory=dict)
    unwritten: dict[str, list[Change]] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    saved: tuple[int, dict[str, object]] | None = None
    said: int = 0
    furthest: int = 0
    names: list[str] = field(default_factory=list)
    last: int = 0

    def start(self) -> None:
        """Start a session on a new replica, where an earlier one left it."""
        name = str(len(self.rooms))
        changes: list[Change] = []
        room = Room("r", "", 0.0, origin=name, submit=changes.append)
        self.rooms[name], self.unwritten[name], self.heard[name] = room, changes, 0
        self.hear(name)
        hub = Hub(1, 100.0)
        hub._entries["r"] = _Entry(room, b"", new_guesses())
        self.at = name
        self.place = Place(hub, "x")
        self.place.seat.generation = len(self.rooms)
        self.place.session.receive(p.SessionUpdate(p.SessionParams(room="r")), 0.0)
        if self.saved is None:
            self.place.seat._found = room
            self.place.seat.follow()
        else:
            self.said, state = self.saved
            asyncio.run(self.place.seat.load(state, 0.0))

    def say(self) -> None:
        number, part = divmod(self.said, 3)
        events: list[p.ServerEvent] = [
            p.SourceDelta(f"s{number}", "hello", "", language="en"),
            p.SourceFinal(f"s{number}", "hello", language="en"),
            p.TranslationFinal(f"s{number}", "de", f"hallo {number}", "hello", STATS),
        ]
        self.said += 1
        self.furthest = max(self.furthest, self.said)
        self.place.seat.pass_on(events[part], 0.0)

    def save(self) -> None:
        self.saved = self.said, self.place.seat.dump()
        self.release()

    def release(self) -> None:
        self.place.seat.release(self.place.seat.number)

    def write(self) -> None:
        for changes in self.unwritten.values():
            self.log += changes
            changes.clear()

    def hear(self, name: str) -> None:
        for change in self.log[self.heard[name] :]:
            self.rooms[name].apply(change)
        self.heard[name] = len(self.log)

    def kill(self) -> None:
        self.unwritten[self.at] = []  # and nobody hears of it any more
        self.start()

    def read(self, name: str) -> None:
        """The reader comes to a replica, is told what there is, and loses the line."""
        reader = Reader("de", "captions", False, lambda: None, self.last)
        for number, frame in self.rooms[name].take(reader):
            self.last = number
            event = p.parse_server(frame)
            assert isinstance(event, p.RoomState)
            self.names += [each.text for each in event.segments if each.is_final]


ACTS = ("say", "say", "say", "save", "release", "write", "hear", "read", "kill")


@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9)), max_size=60))
def test_whatever_is_killed_a_reader_is_told_each_end_once_and_in_order(
    acts: list[tuple[str, int]],
) -> None:
    fleet = Fleet()
    fleet.start()
    fleet.save()
    for act, number in acts:
        if act in ("hear", "read"):
            getattr(fleet, act)(str(number % len(fleet.rooms)))
        else:
            getattr(fleet, act)()
    while fleet.said % 3 or fleet.said < fleet.furthest:
        fleet.say()
    fleet.save()
    fleet.write()
    for name in fleet.rooms:
        fleet.hear(name)
        fleet.read(name)
    assert fleet.names == [f"hallo {number}" for number in range(fleet.said // 3)]
