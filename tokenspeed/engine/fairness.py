"""How much of the machine each client has had, against an equal share of it.

Start-time fair queueing: a virtual clock advances by one equal share, and what a client has used
beyond it is the client's debt. An idle client saves up no credit. Knows clients and seconds; does
not know sequences or deadlines.

Source: Goyal, Vin, Cheng 1996, Start-time Fair Queueing.
"""

from collections.abc import Hashable, Mapping
from typing import Final

ALLOWANCE_S: Final = 0.1  # debt that is ignored: about a long sentence's final in three languages
MIN_KEPT: Final = 16  # clients to remember at least before those without debts are dropped


class FairShares:
    """The debts of all clients, in seconds of the machine."""

    def __init__(self) -> None:
        self._clock_s = 0.0
        self._used_s: dict[Hashable, float] = {}  # by client, on the virtual clock
        self._num_kept = MIN_KEPT

    def charge(self, used_s: Mapping[Hashable, float], num_active: int) -> None:
        """Charge clients with what a step cost.

        Args:
            used_s: seconds of the step by client.
            num_active: clients that had work, in this step or waiting.
        """
        begin_s = self._clock_s
        self._clock_s += sum(used_s.values()) / max(num_active, 1)
        for client, seconds in used_s.items():
            self._used_s[client] = max(self._used_s.get(client, begin_s), begin_s) + seconds
        if len(self._used_s) > self._num_kept:
            # The limit doubles with what is left, so that scans of all clients stay rare.
            self._used_s = {c: used for c, used in self._used_s.items() if used > self._clock_s}
            self._num_kept = 2 * len(self._used_s) + MIN_KEPT

    @property
    def clock_s(self) -> float:
        """The virtual clock: the seconds that an equal share has amounted to so far."""
        return self._clock_s

    def debt_s(self, client: Hashable) -> float:
        """Return the seconds that a client has had beyond its share."""
        return max(self._used_s.get(client, 0.0) - self._clock_s, 0.0)

    def is_over(self, client: Hashable) -> bool:
        """Whether a client has had so much that others go first."""
        return self._used_s.get(client, 0.0) - self._clock_s > ALLOWANCE_S
