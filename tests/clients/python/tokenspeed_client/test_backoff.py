"""Waiting before another try."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tokenspeed_client.backoff import FIRST_DELAY_S, MAX_DELAY_S, next_delay_s


def drawn(draw: float) -> Callable[[], float]:
    return lambda: draw


@given(st.floats(0, 1, exclude_max=True))
def test_the_first_wait_is_short(draw: float) -> None:
    assert FIRST_DELAY_S / 2 <= next_delay_s(0.0, lambda: draw) <= FIRST_DELAY_S


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=30, max_size=40))
def test_waits_grow_and_have_an_end(draws: list[float]) -> None:
    delay_s, before_s = 0.0, 0.0
    for draw in draws:
        before_s, delay_s = delay_s, next_delay_s(delay_s, drawn(draw))
        assert delay_s <= MAX_DELAY_S
        assert delay_s > before_s or delay_s >= 0.75 * MAX_DELAY_S
    assert delay_s >= 0.75 * MAX_DELAY_S
