"""How much of the machine each client has had, against an equal share of it.

Start-time fair queueing: a virtual clock runs at the pace of an equal share, so what a client has
used beyond it is its debt. A client that asked for nothing saves nothing up. Knows clients and
seconds; does not know sequences or deadlines.

Source: Goyal, Vin, Cheng 1996, Start-time Fair Queueing.
"""

from collections.abc import Hashable, Mapping
from typing import Final

ALLOWANCE_S: Final = 0.1  # of debt that changes nothing: a long sentence's final in three languages
MIN_KEPT: Final = 16  # clients of whom something is kept, until those without debts are dropped


class FairShares:
    """The debts of all clients, in seconds of the machine."""

    def __init__(self) -> None:
        self._clock_s = 0.0
        self._used_s: dict[Hashable, float] = {}  # by client, on the virtual clock
        self._num_kept = MIN_KEPT

    def charge(self, used_s: Mapping[Hashable, float], num_active: int) -> None:
        """Take in what a step cost.

        Args:
            used_s: seconds of the step by client.
            num_active: clients that had work for it.
        """
        begin_s = self._clock_s
        self._clock_s += sum(used_s.values()) / max(num_active, 1)
        for client, seconds in used_s.items():
            self._used_s[client] = max(self._used_s.get(client, begin_s), begin_s) + seconds
        if len(self._used_s) > self._num_kept:
            # All are looked at once for as many that were added, not at each step.
            self._used_s = {c: used for c, used in self._used_s.items() if used > self._clock_s}
            self._num_kept = 2 * len(self._used_s) + MIN_KEPT

    @property
    def clock_s(self) -> float:
        """The virtual clock: what an equal share of the machine has come to."""
        return self._clock_s

    def debt_s(self, client: Hashable) -> float:
        """Return what a client had beyond its share."""
        return max(self._used_s.get(client, 0.0) - self._clock_s, 0.0)

    def is_over(self, client: Hashable) -> bool:
        """Whether a client had so much that others go first."""
        return self.debt_s(client) > ALLOWANCE_S
