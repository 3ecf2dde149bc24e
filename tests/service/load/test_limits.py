"""What meters updates and work."""

from hypothesis import given
from hypothesis import strategies as st

from service.load.limits import Account, Bucket, Misses


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


@given(
    st.floats(0.01, 1.0),
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 0.5)), max_size=100),
)
def test_what_is_spent_is_paid_for_before_more_is(
    share: float, uses: list[tuple[float, float]]
) -> None:
    """A client that waits until it is ready costs its share, a second ahead, and one use more."""
    now = begin = 5.0
    account = Account(share, now)
    spent = 0.0
    for pause, seconds in uses:
        now = max(now + pause, account.ready_s())
        assert spent <= share * (now - begin + 1) + 1e-6
        account.spend(seconds, now)
        spent += seconds


def test_a_client_that_costs_little_never_waits() -> None:
    account = Account(0.2, 0.0)
    for second in range(100):
        account.spend(0.19, float(second))
        assert account.ready_s() <= second


def test_what_one_client_gets_wrong_is_counted_for_a_while() -> None:
    misses = Misses(2, 3, 60.0)
    for client in ("a", "a", "b"):
        assert not misses.is_over(client, 100.0)
        misses.note(client)
    assert misses.is_over("a", 100.0)
    assert misses.is_over("c", 100.0), "all together have too many"
    misses.take_back("b")
    assert not misses.is_over("b", 159.0)
    assert misses.is_over("a", 159.0)
    assert not misses.is_over("a", 160.0)
