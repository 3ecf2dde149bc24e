"""Shares of the machine: who had more than an equal part, and who saves nothing up."""

from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.engine.fairness import ALLOWANCE_S, FairShares


def test_a_client_alone_owes_nothing() -> None:
    shares = FairShares()
    for _ in range(20):
        shares.charge({"a": 0.05}, 1)
    assert shares.debt_s("a") == 0.0
    assert not shares.is_over("a")


def test_who_takes_all_of_it_owes_the_others_part() -> None:
    shares = FairShares()
    for _ in range(10):
        shares.charge({"greedy": 0.1}, 2)
    assert abs(shares.debt_s("greedy") - 0.5) < 1e-9  # a second used, half of it was another's
    assert shares.is_over("greedy")
    assert shares.debt_s("patient") == 0.0


def test_who_asked_for_nothing_has_saved_nothing_up() -> None:
    shares = FairShares()
    for _ in range(100):
        shares.charge({"busy": 0.1}, 1)
    shares.charge({"late": 2 * ALLOWANCE_S + 0.1}, 2)
    assert shares.is_over("late")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=50))
def test_debts_are_never_negative_and_equal_use_leaves_none(steps: list[tuple[str, float]]) -> None:
    shares = FairShares()
    for client, seconds in steps:
        shares.charge({client: seconds}, 3)
        assert all(shares.debt_s(each) >= 0 for each in "abcd")
    even = FairShares()
    for _, seconds in steps:
        even.charge(dict.fromkeys("abc", seconds), 3)
    assert all(even.debt_s(each) < 1e-9 for each in "abc")
