"""The gate for requests over plain HTTP."""

from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from service.load.gate import RequestGate


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5), st.integers(1, 8))
def test_no_more_are_under_way_than_allowed_and_all_places_come_back(
    clients: list[str], max_of_client: int, max_in_all: int
) -> None:
    gate = RequestGate(max_of_client, max_in_all)
    under_way: list[str] = []
    with ExitStack() as stack:
        for client in clients:
            is_free = under_way.count(client) < max_of_client and len(under_way) < max_in_all
            assert gate.is_open(client) == is_free
            if is_free:
                stack.enter_context(gate.passing(client))
                under_way.append(client)
    assert all(gate.is_open(client) for client in "abc")
