"""The queue to the socket: bounded, numbered, and its deltas merged."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from service.wire import protocol as p
from service.wire.outbox import Outbox
from tests.service.asyncapi import check_frame


def test_deltas_of_a_slow_reader_coalesce() -> None:
    outbox = Outbox(max_events=2, max_bytes=10**6, now_s=100.0)
    outbox.push(p.TranslationDelta("a", "de", 1, "x", "yz"))
    outbox.push(p.TranslationDelta("b", "de", 1, "k", ""))
    timing = p.Timing(1, 1, 1, 0, 0, 0)
    outbox.push(p.TranslationDelta("a", "de", 2, "y", "q", timing), 100.0)
    outbox.push(p.TranslationDelta("a", "de", 3, "", "w"), 100.2)
    assert (len(outbox), outbox.coalesced, outbox.is_over) == (2, 2, False)
    outbox.push(p.SessionNotice("degraded", "busy"))
    assert outbox.is_over
    event, frame = outbox.pop(100.25) or (None, "")
    assert event == p.TranslationDelta(
        "a", "de", 3, "xy", "w", replace(timing, total_ms=250.0), seq=1, t_ms=250.0
    )
    check_frame(frame)


def test_a_snapshot_needs_the_finals_but_no_delta_that_waits() -> None:
    outbox = Outbox(max_events=10, max_bytes=10**6, now_s=0.0)
    stats = p.FinalStats(updates=1, erased=0, first_ms=1, final_ms=1)
    finals = [p.TranslationFinal(name, "de", "X", "x", stats) for name in "abc"]
    for final in finals:
        outbox.push(final)
        outbox.pop(0.0)
    outbox.push(p.TranslationDelta("d", "de", 1, "x", ""))
    outbox.push(p.SessionNotice("degraded", "busy"))
    assert [p.parse_server(frame) for frame in outbox.finals(1)] == [
        replace(final, seq=1) for final in finals[1:]
    ]
    outbox.drop_deltas()
    event, _ = outbox.pop(0.0) or (None, "")
    assert isinstance(event, p.SessionNotice)
    assert (len(outbox), outbox.is_over) == (0, False)


DELTAS = st.builds(
    p.TranslationDelta,
    st.sampled_from("ab"),
    st.sampled_from(["de", "fr"]),
    st.integers(0, 9),
    st.text("xyz ", max_size=3),
    st.text("xyz ", max_size=3),
)


@given(st.lists(DELTAS | st.none(), max_size=40))
def test_nothing_appended_is_lost_and_the_newest_tail_wins(
    steps: list[p.TranslationDelta | None],
) -> None:
    outbox = Outbox(max_events=100, max_bytes=10**6, now_s=0.0)
    sent: dict[tuple[str, str], tuple[str, str]] = {}
    received: dict[tuple[str, str], tuple[str, str]] = {}
    seqs = []

    def apply(state: dict[tuple[str, str], tuple[str, str]], event: p.TranslationDelta) -> None:
        key = (event.segment_id, event.target)
        state[key] = (state.get(key, ("", ""))[0] + event.append, event.unstable)

    def read() -> bool:
        popped = outbox.pop(1.0)
        if popped is None:
            return False
        event = p.parse_server(popped[1])
        assert isinstance(event, p.TranslationDelta)
        assert event == popped[0]
        apply(received, event)
        seqs.append(event.seq)
        return True

    for event in steps:
        if event is None:
            read()
        else:
            outbox.push(event)
            apply(sent, event)
    while read():
        pass
    assert received == sent
    assert seqs == list(range(1, len(seqs) + 1))
