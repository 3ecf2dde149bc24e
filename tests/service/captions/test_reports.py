"""Segments and streams in the words of the protocol."""

from service.captions.policy import PRESETS, Source
from service.captions.reports import delta_of, final_of
from service.captions.segment import Segment
from service.captions.stream import TargetStream
from service.wire.protocol import Timing, TranslationDelta
from tests.service.fakes import ids, new_detokenizer

TIMING = Timing(1.0, 2.0, 3.0, 4.0, 5, 6)


def test_a_delta_is_told_once_and_the_end_of_an_update_with_its_timing() -> None:
    segment = Segment("a", "a", first_arrival_s=1.0, rev=3)
    stream = TargetStream("s", "a", "en", "de", PRESETS["low"], new_detokenizer)
    (job,), _ = stream.revise([Source("we go home", 3)], 3, 1.0)
    stream.complete(job, ids("wir gehen heim"), is_whole=True)
    expected = TranslationDelta("a", "de", 3, "", "wir gehen heim")
    assert delta_of(segment, stream, job, None, 1.5) == expected
    assert delta_of(segment, stream, None, None, 1.6) is None
    told = delta_of(segment, stream, job, TIMING, 1.7)
    assert told is not None
    assert (told.append, told.unstable, told.timing) == ("", "wir gehen heim", TIMING)


def test_a_final_says_how_the_segment_went() -> None:
    segment = Segment("a", "a", first_arrival_s=1.0, rev=1, stable="we go", start_ms=7.0)
    segment.committed_s = 2.0
    stream = TargetStream("s", "a", "en", "de", PRESETS["low"], new_detokenizer)
    (job,), _ = stream.revise([Source("we go", 2, is_open=False, is_final=True)], 1, 2.0)
    stream.complete(job, ids("wir gehen"), is_whole=True)
    final = final_of(segment, stream, None, 2.25)
    assert (final.text, final.source_text, final.start_ms) == ("wir gehen", "we go", 7.0)
    assert (final.stats.first_ms, final.stats.final_ms, final.stats.erased) == (1250.0, 250.0, 0)
