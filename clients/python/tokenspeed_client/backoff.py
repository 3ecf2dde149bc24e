"""How long to wait before trying again. Pure; the caller holds the clock."""

from collections.abc import Callable
from typing import Final

FIRST_DELAY_S: Final = 0.15
MAX_DELAY_S: Final = 10.0


def next_delay_s(previous_s: float, random: Callable[[], float]) -> float:
    """Return how long to wait: 0.15 s at first, then 1.5 to 2 times as long, 10 s at most.

    Args:
        previous_s: 0 before the first try.
        random: returns a number in [0, 1). It spreads out clients that lost a server together.
    """
    if previous_s == 0.0:
        return FIRST_DELAY_S * (0.5 + 0.5 * random())
    delay_s = max(previous_s, FIRST_DELAY_S) * (1.5 + 0.5 * random())
    return delay_s if delay_s < MAX_DELAY_S else MAX_DELAY_S * (0.75 + 0.25 * random())
