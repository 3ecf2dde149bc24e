"""Rooms are found by who was given their name, and hosted by who has their token."""

import pytest

from service.errors import RestError
from service.rooms.hub import GUESSES, GUESSES_S, MAX_NAME_CHARS, Hub
from service.rooms.room import Reader


def status_of(problem: pytest.ExceptionInfo[RestError]) -> int:
    return problem.value.status


def test_names_and_tokens_lead_to_their_room_alone() -> None:
    hub = Hub(10, 100.0)
    (one, token), (other, other_token) = hub.create("One", None, 0.0), hub.create("Two", None, 0.0)
    assert hub.room(one.id) is one
    assert hub.hosted_by(token) is one
    assert hub.hosted_by(other_token) is other
    assert hub.hosted_by(None) is hub.hosted_by("") is hub.hosted_by(one.id) is None
    with pytest.raises(RestError) as problem:
        hub.room("nowhere")
    assert status_of(problem) == 404


def test_a_pass_phrase_keeps_others_out_and_cannot_be_tried_for_ever() -> None:
    hub = Hub(10, 100.0)
    room, _ = hub.create("", "open sesame", 0.0)
    assert hub.enter(room.id, "open sesame", 0.0) is room
    for given, status in ((None, 403), ("", 403), ("open", 403)):
        with pytest.raises(RestError) as problem:
            hub.enter(room.id, given, 1.0)
        assert status_of(problem) == status
    for _ in range(GUESSES - 1):
        with pytest.raises(RestError):
            hub.enter(room.id, "guess", 1.0)
    with pytest.raises(RestError) as problem:
        hub.enter(room.id, "open sesame", 1.0)
    assert status_of(problem) == 429
    assert hub.enter(room.id, "open sesame", 1.0 + GUESSES_S) is room
    hub.set_pass_phrase(room.id, None)
    assert hub.enter(room.id, None, 1.0) is room


def test_places_and_names_are_bounded() -> None:
    hub = Hub(1, 100.0)
    with pytest.raises(RestError) as problem:
        hub.create("n" * (MAX_NAME_CHARS + 1), None, 0.0)
    assert status_of(problem) == 400
    hub.create("n" * MAX_NAME_CHARS, None, 0.0)
    with pytest.raises(RestError) as problem:
        hub.create("", None, 0.0)
    assert status_of(problem) == 429


def test_nobody_enters_a_room_whose_time_is_over() -> None:
    hub = Hub(10, 100.0)
    room, token = hub.create("", None, 0.0)
    assert hub.enter(room.id, None, 99.0) is room
    with pytest.raises(RestError) as problem:
        hub.enter(room.id, None, 100.0)
    assert status_of(problem) == 404
    assert hub.hosted_by(token) is None


def test_a_room_is_forgotten_once_nobody_uses_it_for_long() -> None:
    hub = Hub(1, 100.0)
    room, token = hub.create("", None, 0.0)
    reader = Reader("de", "captions", False, lambda: None)
    room.read(reader)
    hub.expire(1000.0)
    assert hub.room(room.id) is room
    assert hub.num_readers == 1
    room.unread(reader)
    hub.create("", None, 1000.0)  # takes its place
    assert hub.hosted_by(token) is None
    assert room.is_closed
