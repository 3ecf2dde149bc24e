"""What meters updates and work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.load.limits import Account, Accounts, Bucket, Misses


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


def test_each_client_has_an_account_until_all_is_paid_for() -> None:
    accounts = Accounts(0.25, burst_s=20.0)
    assert accounts.ready_s("a", 7.0) == 7.0
    for _ in range(5):
        accounts.spend("a", 1.0, 10.0)
    assert accounts.ready_s("a", 10.0) <= 10.0  # all at once
    accounts.spend("a", 1.0, 10.0)
    assert accounts.ready_s("a", 10.0) == pytest.approx(14.0)
    assert accounts.ready_s("b", 10.0) == 10.0
    accounts.spend("b", 0.01, 34.1)
    assert len(accounts) == 1  # a's is as good as new
    accounts.spend("a", 5.0, 34.1)
    assert accounts.ready_s("a", 34.1) <= 34.1


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.floats(0, 3), st.integers(0, 3)), min_size=1, max_size=60
    )
)
def test_nobody_spends_more_than_a_burst_and_a_share(
    spent: list[tuple[float, float, int]],
) -> None:
    accounts = Accounts(0.25, burst_s=4.0)
    now_s, total = 0.0, dict.fromkeys(range(4), 0.0)
    for pause_s, cost_s, client in spent:
        now_s += pause_s
        if accounts.ready_s(client, now_s) <= now_s:
            assert total[client] <= 1.0 + 0.25 * now_s + 1e-6
            accounts.spend(client, cost_s, now_s)
            total[client] += cost_s
