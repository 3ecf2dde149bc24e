"""What a reader of a room knows, as a pure reducer over the events of a `Reader`.

The same frames give the same state as `audience.js` of the JavaScript client.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tokenspeed_client.events import (
    RoomInfo,
    RoomSegment,
    RoomState,
    RoomUpdated,
    SourceDelta,
    SourceFinal,
    TranslationDelta,
    TranslationFinal,
    TranslationRetracted,
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One segment, in the language that is read.

    Attributes:
        number: segments are shown in the order of their numbers.
        text: appended so far; never taken back.
        unstable: the tail that may still change.
        speaker: "" if unknown.
        source: the speaker's own words, "" if they were not sent.
    """

    number: int
    text: str = ""
    unstable: str = ""
    is_final: bool = False
    speaker: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Audience:
    """What a reader of a room has received.

    Attributes:
        room: None before the first event.
        segments: by number.
    """

    room: RoomInfo | None = None
    segments: tuple[Spoken, ...] = ()


NOBODY: Final = Audience()


def apply_room_event(state: Audience, event: object, is_source: bool = False) -> Audience:
    """Return the state after an event; the same object if it says nothing about the room.

    Args:
        is_source: whether the source is read instead of a translation.
    """
    match event:
        case RoomState():
            state = replace(state, room=event.room)
            for told in event.segments:
                state = _apply_state(state, told)
            return state
        case RoomUpdated():
            return replace(state, room=event.room)
        case TranslationDelta():
            return _change(
                state,
                event.segment_id,
                lambda before: replace(
                    before,
                    text=before.text + event.append,
                    unstable=event.unstable,
                    speaker=event.speaker or before.speaker,
                ),
            )
        case TranslationFinal():
            return _change(
                state,
                event.segment_id,
                lambda before: replace(
                    before,
                    text=event.text,
                    unstable="",
                    is_final=True,
                    speaker=event.speaker or before.speaker,
                ),
            )
        case TranslationRetracted():
            return _without(state, int(event.segment_id))
        case SourceDelta() | SourceFinal():
            return _apply_source(state, event, is_source)
    return state


def _apply_source(state: Audience, event: SourceDelta | SourceFinal, is_source: bool) -> Audience:
    is_final = isinstance(event, SourceFinal)
    if isinstance(event, SourceFinal):
        if event.text == "":
            return _without(state, int(event.segment_id))
        stable, unstable = event.text, ""
    else:
        stable, unstable = event.stable, event.unstable

    def changed(before: Spoken) -> Spoken:
        speaker = event.speaker or before.speaker
        if not is_source:
            return replace(before, source=stable + unstable, speaker=speaker)
        is_over = is_final or before.is_final
        return replace(before, text=stable, unstable=unstable, is_final=is_over, speaker=speaker)

    return _change(state, event.segment_id, changed)


def _apply_state(state: Audience, told: RoomSegment) -> Audience:
    if told.is_retracted:
        return _without(state, int(told.segment_id))
    return _change(
        state,
        told.segment_id,
        lambda before: replace(
            before,
            text=told.text,
            unstable=told.unstable,
            is_final=told.is_final,
            speaker=before.speaker if told.speaker is None else told.speaker,
            source=before.source if told.source is None else told.source,
        ),
    )


def _change(state: Audience, segment_id: str, alter: Callable[[Spoken], Spoken]) -> Audience:
    number = int(segment_id)
    segments = list(state.segments)
    # Almost always the last one, or a new one after it.
    index = len(segments)
    while index > 0 and segments[index - 1].number > number:
        index -= 1
    if index > 0 and segments[index - 1].number == number:
        segments[index - 1] = alter(segments[index - 1])
    else:
        segments.insert(index, alter(Spoken(number)))
    return replace(state, segments=tuple(segments))


def _without(state: Audience, number: int) -> Audience:
    kept = tuple(segment for segment in state.segments if segment.number != number)
    return state if len(kept) == len(state.segments) else replace(state, segments=kept)
