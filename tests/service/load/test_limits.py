"""The bucket that meters updates."""

from hypothesis import given
from hypothesis import strategies as st

from service.load.limits import Bucket


@given(st.integers(1, 50), st.lists(st.floats(0, 0.5), max_size=200))
def test_no_more_than_the_rate_and_one_second_ahead(rate: int, pauses: list[float]) -> None:
    now = 5.0
    bucket = Bucket(rate, now)
    taken = 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
    assert taken <= rate + (now - 5.0) * rate + 1e-6


def test_a_token_can_be_taken_when_it_is_said_to_be_ready() -> None:
    bucket = Bucket(4, 0.0)
    while bucket.take(0.0):
        pass
    assert bucket.ready_s() == 0.25
    assert not bucket.take(0.2)
    assert bucket.take(bucket.ready_s() + 1e-9)
