"""What a transcript says of displays and times, against one written down by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.captions.documents import Line, Update, word_by_word
from service.bench.captions.transcript import (
    EngineUsage,
    Received,
    Sent,
    Transcript,
    client_event,
    segment_logs,
    segment_name,
    session_params,
    update_times,
)
from service.wire.protocol import (
    FinalStats,
    SourceCommit,
    SourceUpdate,
    Timing,
    TranslationDelta,
    TranslationFinal,
)

LINE = Line("we go home now", "wir gehen jetzt heim")
TIMING = Timing(0, 1, 1, 1, accepted=0, decoded=1)
FIRST_S = 10.0  # on the client's clock


def sent(count: int = 5) -> list[Sent]:
    """A revision each second: one for each word, then the commit."""
    updates = word_by_word([LINE], words_per_minute=60, pause_ms=0)
    assert len(updates) == 5
    return [Sent(FIRST_S + i, update) for i, update in enumerate(updates[:count])]


def delta(at: float, rev: int, append: str, unstable: str, *, is_end: bool = True) -> Received:
    event = TranslationDelta(
        segment_id=segment_name(0),
        target="de",
        source_rev=rev,
        append=append,
        unstable=unstable,
        timing=TIMING if is_end else None,
    )
    return Received(at, event)


def final(at: float, text: str, line: int = 0) -> Received:
    stats = FinalStats(updates=1, erased=0, first_ms=1, final_ms=1)
    event = TranslationFinal(
        segment_id=segment_name(line), target="de", text=text, source_text=LINE.source, stats=stats
    )
    return Received(at, event)


def test_displays_are_what_was_committed_and_what_may_change() -> None:
    updates = sent()
    revs = [item.update.rev for item in updates]
    heard = [
        delta(11.1, revs[1], "wir ", "geh"),
        delta(12.3, revs[2], "gehen", "", is_end=False),
        delta(12.4, revs[2], "", " Haus"),
        final(14.5, "wir gehen heim"),
        final(14.9, "another line", line=1),
    ]
    (log,) = segment_logs(Transcript([LINE], updates, heard))
    assert [d.text for d in log.displays] == [
        "wir geh",
        "wir gehen",
        "wir gehen Haus",
        "wir gehen heim",
    ]
    assert [d.committed for d in log.displays] == [4, 9, 9, 14]
    assert [d.source_words for d in log.displays] == [2, 3, 3, 4]
    # The clock of a log begins with the first word, which its update ends.
    begin_s = FIRST_S - updates[0].update.source_ms / 1e3
    assert [d.elapsed_ms for d in log.displays] == pytest.approx(
        [(item.at - begin_s) * 1e3 for item in heard[:4]]
    )
    assert log.prediction == "wir gehen heim"


def test_times_are_to_the_own_answer_or_to_a_newer_one() -> None:
    updates = sent()
    revs = [item.update.rev for item in updates]
    heard = [
        delta(11.2, revs[1], "wir ", ""),
        delta(13.5, revs[3], "gehen ", "heim", is_end=False),
        delta(13.6, revs[3], "", "heim"),
        final(14.4, "wir gehen heim"),
    ]
    times = update_times(Transcript([LINE], updates, heard), 2, has_partials=True)
    assert times.answered == pytest.approx([200, 600])
    assert times.coalesced == pytest.approx([1600])  # the third, by the fourth's answer
    assert times.skipped == 1  # one word is too short for two
    assert times.finals == pytest.approx([400])
    assert times.partials == times.answered + times.coalesced
    only_final = update_times(Transcript([LINE], updates, heard[-1:]), 2, has_partials=False)
    assert (only_final.partials, only_final.skipped) == ([], 4)


def test_a_line_without_a_final_is_an_error() -> None:
    transcript = Transcript([LINE], sent(), [delta(11, 1, "wir", "")])
    with pytest.raises(ValueError, match="no final came for 'we go home now'"):
        segment_logs(transcript)
    with pytest.raises(ValueError, match="no final came"):
        update_times(transcript, 2, has_partials=True)


def test_updates_go_over_the_wire_as_they_are() -> None:
    *partials, commit = (item.update for item in sent())
    for update in partials:
        event = client_event(update)
        assert isinstance(event, SourceUpdate)
        assert (event.stable + event.unstable, event.rev) == (update.text, update.rev)
        assert event.segment_id == segment_name(update.line)
    last = client_event(commit)
    assert isinstance(last, SourceCommit)
    assert (last.text, last.segment_id) == (LINE.source, segment_name(0))
    asked = session_params("en", "de", has_partials=False)
    assert (asked.partials, asked.timing, asked.mode) == (False, True, "captions")


counts = st.builds(EngineUsage, *[st.integers(0, 1000)] * 5)


@given(counts, counts)
def test_what_an_engine_did_between_two_looks(before: EngineUsage, more: EngineUsage) -> None:
    names = EngineUsage.__slots__
    after = EngineUsage(*(getattr(before, n) + getattr(more, n) for n in names))
    assert after - before == more


def test_an_update_has_words_and_a_text() -> None:
    assert isinstance(sent()[0].update, Update)
