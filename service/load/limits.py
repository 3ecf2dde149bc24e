"""Limits of a session, and meters for its updates and work. Knows numbers; reads no clock."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the service accepts from one session, and what it keeps for it."""

    frame_bytes: int = 64 * 1024  # in one frame; a larger one closes the connection with 1009
    segment_chars: int = 2000  # in one segment; a longer one is cut
    pending_chars: int = 64 * 1024  # committed but not translated; above it no more is read
    updates_per_s: int = 20  # translated; more are coalesced, none is lost
    work_share: float = 0.2  # of the event loop's time; a client that costs more has to wait
    idle_s: float = 60.0  # without any frame from the client
    open_segments: int = 32  # at one time, not yet committed
    targets: int = 8  # languages in one session
    queue_events: int = 512  # waiting for a slow reader
    queue_bytes: int = 1024 * 1024  # waiting for a slow reader, as text
    request_share: float = 0.25  # of a processor's time, of one client over plain HTTP
    requests_of_client: int = 8  # HTTP requests of one client under way at one time
    requests_in_all: int = 64  # HTTP requests of all clients under way at one time
    first_event_s: float = 10.0  # for credentials in a socket's first event
    head_s: float = 10.0  # for the head of a request, from when it is waited for
    body_s: float = 30.0  # for the body of a request
    answer_s: float = 30.0  # for a client to read an answer that does not fit into buffers


class Bucket:
    """Tokens that are replenished at a steady rate; holds one second's worth.

    Args:
        rate: tokens per second.
        now_s: on the clock of the later calls.
    """

    def __init__(self, rate: float, now_s: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._updated = now_s

    def take(self, now_s: float) -> bool:
        """Take one token, if there is one."""
        self._tokens = min(self._rate, self._tokens + (now_s - self._updated) * self._rate)
        self._updated = max(now_s, self._updated)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def ready_s(self) -> float:
        """Return when the next token will be available."""
        return self._updated + max(0.0, 1 - self._tokens) / self._rate


class Account:
    """Time that one client may use: a burst at first, then its share as time passes.

    Charges are measured costs, so cheap and expensive messages need no separate limits.

    Args:
        share: of the time that passes, in (0, 1].
        now_s: on the clock of the later calls.
        burst_s: of how many seconds the share may be had at once.
    """

    def __init__(self, share: float, now_s: float, burst_s: float = 1.0) -> None:
        self._share = share
        self._most_s = self._left_s = share * burst_s
        self._updated_s = now_s

    def spend(self, seconds: float, now_s: float) -> None:
        """Charge what something cost; the balance may become negative."""
        passed_s = max(now_s - self._updated_s, 0.0)
        self._left_s = min(self._most_s, self._left_s + passed_s * self._share) - seconds
        self._updated_s = max(now_s, self._updated_s)

    def ready_s(self) -> float:
        """Return when everything spent will have been paid for."""
        return self._updated_s + max(0.0, -self._left_s) / self._share


class Accounts:
    """An account for each client that has had costs recently.

    Args:
        share, burst_s: of each `Account`.
    """

    def __init__(self, share: float, burst_s: float) -> None:
        self._share = share
        self._burst_s = burst_s
        self._accounts: dict[Hashable, tuple[Account, float]] = {}  # with the time until when
        self._look_s = float("-inf")  # when those not needed were last removed

    def __len__(self) -> int:
        return len(self._accounts)

    def spend(self, client: Hashable, seconds: float, now_s: float) -> None:
        """Charge what something cost to a client."""
        if now_s - self._look_s >= self._burst_s:
            self._look_s = now_s
            self._accounts = {c: kept for c, kept in self._accounts.items() if kept[1] > now_s}
        account, _ = self._accounts.get(client) or (Account(self._share, now_s, self._burst_s), 0)
        account.spend(seconds, now_s)
        # By then its balance is full again, as that of a new account.
        self._accounts[client] = account, max(account.ready_s(), now_s) + self._burst_s

    def ready_s(self, client: Hashable, now_s: float) -> float:
        """Return when everything a client has spent will be paid for; until then it has to wait."""
        kept = self._accounts.get(client)
        return now_s if kept is None else min(kept[0].ready_s(), kept[1])


class Misses:
    """Counts wrong attempts per client, so that names and secrets cannot be tried endlessly.

    Args:
        most_of_one: by one client, before it has to wait. most_in_all: by all together.
        period_s: after this, all are forgotten at once.
    """

    def __init__(self, most_of_one: int, most_in_all: int, period_s: float) -> None:
        self._most_of_one = most_of_one
        self._most_in_all = most_in_all
        self._period_s = period_s
        self._since_s = float("-inf")
        self._counts: Counter[Hashable] = Counter()

    def is_over(self, client: Hashable, now_s: float) -> bool:
        """Whether a client must wait until the period is over before trying again."""
        if now_s - self._since_s >= self._period_s:
            self._counts.clear()
            self._since_s = now_s
        is_client_over = self._counts[client] >= self._most_of_one
        return is_client_over or self._counts.total() >= self._most_in_all

    def note(self, client: Hashable) -> None:
        """Count a wrong attempt."""
        self._counts[client] += 1

    def take_back(self, client: Hashable) -> None:
        """Take one back: the attempt was right."""
        self._counts[client] -= 1
