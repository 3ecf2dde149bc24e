"""Which translations of which segments are wanted."""

from service.captions.job import JobKey
from service.captions.policy import PRESETS
from service.captions.segment import Segment
from service.captions.stream import TargetStream
from service.captions.streams import Streams
from tests.service.fakes import new_detokenizer


def stream(segment_id: str, target: str) -> TargetStream:
    return TargetStream("s", segment_id, "en", target, PRESETS["balanced"], new_detokenizer)


def test_streams_are_found_by_segment_and_target_while_they_are_wanted() -> None:
    streams, segment = Streams(), Segment("a", "a", first_arrival_s=0.0)
    german, french, other = stream("a", "de"), stream("a", "fr"), stream("b", "de")
    for each in (german, french, other):
        streams.add(each)
    assert streams.of(segment) == [german, french]
    assert streams.find(JobKey("s", "a", "fr", 0)) is french
    french.is_parked = True
    assert streams.of(segment) == [german]
    assert streams.find(JobKey("s", "a", "fr", 0)) is None
    assert streams.resume(segment, "fr")
    assert not streams.resume(segment, "es")
    assert streams.of(segment) == [german, french]
    streams.forget(segment)
    assert streams.of(segment) == []
    assert streams.find(JobKey("s", "b", "de", 0)) is other


def test_a_first_pass_is_beside_what_is_wanted() -> None:
    streams, segment = Streams(), Segment("a", "a", first_arrival_s=0.0)
    french = stream("a", "fr")
    preset = PRESETS["balanced"]
    pivot = TargetStream("s", "a", "de", "en", preset, new_detokenizer, is_pivot=True)
    assert streams.pivot_of(segment) is None
    for each in (french, pivot):
        streams.add(each)
    assert streams.of(segment) == [french]
    assert streams.running_of(segment) == [pivot, french]
    assert streams.pivot_of(segment) is pivot
    assert streams.find(JobKey("s", "a", "en", 0)) is None
    assert streams.find(JobKey("s", "a", "en", 0, is_pivot=True)) is pivot
    streams.remove_pivot(segment)
    assert streams.running_of(segment) == [french]
    streams.add(pivot)
    streams.forget(segment)
    assert streams.running_of(segment) == []
