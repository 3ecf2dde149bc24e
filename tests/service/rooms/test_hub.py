"""Rooms are found by who was given their name, and hosted by who has their token."""

import pytest

from service.errors import RestError
from service.rooms.hub import GUESSES, GUESSES_IN_ALL, GUESSES_S, MAX_NAME_CHARS, Hub
from service.rooms.readers import Reader


def status_of(problem: pytest.ExceptionInfo[RestError]) -> int:
    return problem.value.status


async def test_names_and_tokens_lead_to_their_room_alone() -> None:
    hub = Hub(10, 100.0)
    (one, token), (other, other_token) = (
        await hub.create("One", None, 0.0),
        await hub.create("Two", None, 0.0),
    )
    assert await hub.room(one.id) is one
    assert await hub.hosted_by(token) == one.id
    assert await hub.hosted_by(other_token) == other.id
    for nothing in (None, "", one.id):
        assert await hub.hosted_by(nothing) is None
    with pytest.raises(RestError) as problem:
        await hub.room("nowhere")
    assert status_of(problem) == 404


async def test_a_pass_phrase_keeps_others_out_and_cannot_be_tried_for_ever() -> None:
    hub = Hub(10, 100.0)
    room, _ = await hub.create("", "open sesame", 0.0)
    assert await hub.enter(room.id, "open sesame", 0.0) is room
    for given, status in ((None, 403), ("", 403), ("open", 403)):
        with pytest.raises(RestError) as problem:
            await hub.enter(room.id, given, 1.0)
        assert status_of(problem) == status
    for _ in range(GUESSES - 1):
        with pytest.raises(RestError):
            await hub.enter(room.id, "guess", 1.0)
    with pytest.raises(RestError) as problem:
        await hub.enter(room.id, "open sesame", 1.0)
    assert status_of(problem) == 429
    assert await hub.enter(room.id, "open sesame", 1.0 + GUESSES_S) is room
    await hub.set_pass_phrase(room, None)
    assert await hub.enter(room.id, None, 1.0) is room


async def test_who_guesses_keeps_nobody_else_out_until_very_many_do() -> None:
    hub = Hub(10, 100.0)
    room, _ = await hub.create("", "open sesame", 0.0)
    for i in range(GUESSES_IN_ALL):
        assert await hub.enter(room.id, "open sesame", 1.0, "10.0.1.1") is room
        with pytest.raises(RestError) as problem:
            await hub.enter(room.id, "guess", 1.0, f"10.0.0.{i // GUESSES}")
        assert status_of(problem) == 403
    with pytest.raises(RestError) as problem:
        await hub.enter(room.id, "open sesame", 1.0, "10.0.1.1")
    assert status_of(problem) == 429


async def test_places_and_names_are_bounded() -> None:
    hub = Hub(1, 100.0)
    with pytest.raises(RestError) as problem:
        await hub.create("n" * (MAX_NAME_CHARS + 1), None, 0.0)
    assert status_of(problem) == 400
    await hub.create("n" * MAX_NAME_CHARS, None, 0.0)
    with pytest.raises(RestError) as problem:
        await hub.create("", None, 0.0)
    assert status_of(problem) == 429


async def test_nobody_enters_a_room_whose_time_is_over() -> None:
    hub = Hub(10, 100.0)
    room, token = await hub.create("", None, 0.0)
    assert await hub.enter(room.id, None, 99.0) is room
    with pytest.raises(RestError) as problem:
        await hub.enter(room.id, None, 100.0)
    assert status_of(problem) == 404
    assert await hub.hosted_by(token) is None


async def test_a_room_is_forgotten_once_nobody_uses_it_for_long() -> None:
    hub = Hub(1, 100.0)
    room, token = await hub.create("", None, 0.0)
    reader = Reader("de", "captions", False, lambda: None)
    room.read(reader)
    hub.expire(1000.0)
    assert await hub.room(room.id) is room
    assert hub.num_readers == 1
    room.unread(reader)
    await hub.create("", None, 1000.0)  # takes its place
    assert await hub.hosted_by(token) is None
    assert room.is_closed
