"""How many HTTP requests are under way, in total and per client.

Knows numbers and names of clients; does not know HTTP.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class RequestGate:
    """Counts requests under way.

    Args:
        max_of_client: at one time, of one client.
        max_in_all: at one time.

    Attributes:
        is_closed: whether none may begin any more, as the service goes away.
    """

    def __init__(self, max_of_client: int, max_in_all: int) -> None:
        self._max_of_client = max_of_client
        self._max_in_all = max_in_all
        self._under_way: Counter[Hashable] = Counter()
        self.is_closed = False

    def is_open(self, client: Hashable) -> bool:
        """Whether one more request of a client may begin."""
        is_client_free = self._under_way[client] < self._max_of_client
        return is_client_free and self._under_way.total() < self._max_in_all

    @property
    def num_under_way(self) -> int:
        """How many requests are under way."""
        return self._under_way.total()

    @contextmanager
    def passing(self, client: Hashable) -> Iterator[None]:
        """Count a request for as long as it is under way."""
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]
