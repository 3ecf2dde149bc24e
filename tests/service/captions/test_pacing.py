"""When partials are due, and how far a reader has got."""

from hypothesis import given
from hypothesis import strategies as st

from service.captions.pacing import NOTICE_INTERVAL_S, READING_CHARS_PER_S, Pacing, Reader


def test_a_second_takes_so_many_updates() -> None:
    pacing = Pacing(4, now_s=0.0)
    assert [pacing.admit(0.0) for _ in range(6)] == [True] * 4 + [False] * 2
    ready_s = pacing.ready_s()
    assert 0.0 < ready_s <= 0.25
    assert pacing.admit(ready_s)


def test_a_busy_machine_lengthens_the_pause_between_partials() -> None:
    pacing = Pacing(20, now_s=0.0)
    pacing.interval_s = 0.5
    assert pacing.admit(0.0)
    pacing.partial_started(0.0)
    assert pacing.is_thinned(0.4)
    assert not pacing.admit(0.4)
    assert pacing.ready_s() == 0.5
    assert pacing.admit(0.5)
    pacing.partial_started(0.5)
    pacing.interval_s = 0.0  # busy no more: nobody waits for the end of an old pause
    assert pacing.admit(0.6)


def test_a_client_is_told_why_and_not_too_often() -> None:
    pacing = Pacing(1, now_s=0.0)
    told = pacing.notice(0.0)
    assert told is not None
    assert (told.code, told.message) == ("coalescing", "more than 1 updates in a second")
    assert pacing.notice(NOTICE_INTERVAL_S / 2) is None
    pacing.interval_s = 9.0
    pacing.partial_started(0.0)
    told = pacing.notice(NOTICE_INTERVAL_S)
    assert told is not None
    assert told.code == "degraded"


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 500)), max_size=30))
def test_a_reader_takes_one_thing_after_another(texts: list[tuple[float, int]]) -> None:
    reader, now_s, before_s, chars = Reader(), 0.0, 0.0, 0
    for pause_s, count in texts:
        now_s += pause_s
        reached_s = reader.reaches_s(now_s, count)
        assert reached_s >= max(now_s, before_s)
        before_s, chars = reached_s, chars + count
        assert reached_s <= now_s + chars / READING_CHARS_PER_S + 1e-9
