"""No slot is owned twice, and what a lease promises is what the slots held."""

from os.path import commonprefix

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tokenspeed.engine.kv_cache import MIN_FORK_TOKENS, KVCache, Lease, common_prefix

TOKENS = st.lists(st.integers(0, 1), min_size=1, max_size=24)
KEYS = st.sampled_from([None, "a", "b", "c"])


class CacheMachine(RuleBasedStateMachine):
    """Random owners take, fill and give back slots; a shadow of the contents is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = KVCache(num_slots=3, max_length=32)
        self.contents: list[list[int]] = [[], [], []]
        self.owned: set[int] = set()

    @rule(tokens=TOKENS, key=KEYS)
    def acquire(self, tokens: list[int], key: str | None) -> None:
        lease = self.cache.acquire(tokens, key)
        if lease is None:
            assert len(self.owned) == 3
            return
        assert lease.slot not in self.owned
        source = lease.slot if lease.fork_from is None else lease.fork_from
        assert self.contents[source][: lease.reused] == tokens[: lease.reused]
        self.contents[lease.slot] = tokens[: lease.reused]
        self.owned.add(lease.slot)

    @rule(tokens=TOKENS)
    def grow(self, tokens: list[int]) -> None:
        for slot in self.owned:
            self.contents[slot] = (self.contents[slot] + tokens)[:32]
            self.cache.hold(slot, [*self.contents[slot], 7], len(self.contents[slot]))

    @rule()
    def release(self) -> None:
        if self.owned:
            self.cache.release(self.owned.pop())

    @invariant()
    def freed_and_used_make_all(self) -> None:
        assert self.cache.num_free + len(self.owned) == 3
        assert [s.tokens[: s.length] for s in self.cache.slots] == self.contents


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def filled(cache: KVCache, tokens: list[int], key: str) -> int:
    lease = cache.acquire(tokens, key)
    assert lease is not None
    cache.hold(lease.slot, tokens, len(tokens))
    cache.release(lease.slot)
    return lease.slot


def test_a_key_finds_its_own_slot_to_the_token() -> None:
    cache = KVCache(4, 64)
    mine = filled(cache, [1, 2, 3, 4], "me")
    filled(cache, [1, 2, 9, 9], "other")
    assert cache.acquire([1, 2, 3, 7, 8], "me") == Lease(mine, reused=3)


def test_a_long_beginning_of_another_slot_is_forked() -> None:
    cache = KVCache(4, 64)
    source = list(range(MIN_FORK_TOKENS + 2))
    theirs = filled(cache, source, "german")
    lease = cache.acquire([*source, 99], "french")
    assert lease is not None
    assert (lease.fork_from, lease.reused) == (theirs, len(source))
    assert lease.slot != theirs


def test_the_slot_used_longest_ago_is_evicted() -> None:
    cache = KVCache(2, 64)
    oldest = filled(cache, [1], "a")
    filled(cache, [2], "b")
    lease = cache.acquire([3], "c")
    assert lease == Lease(oldest, reused=0)


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_equal_beginnings_are_counted(same: list[int], a: list[int], b: list[int]) -> None:
    a, b = 5 * same + a, 5 * same + b
    assert common_prefix(a, b) == len(commonprefix((a, b)))
