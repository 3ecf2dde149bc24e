"""When Python's garbage collector looks for cycles of objects.

Nearly every object is freed as soon as nothing refers to it. Cycles have to be looked for, while
nothing else can run, and each session has 250 objects to look through. So objects that last are
never looked through, young ones a few at a time, and all of them only while nobody is there. Knows
numbers of objects; does not know whose they are.

Sessions are no cycles, but of each socket a few objects remain. So where somebody is always there,
all of them are looked through now and then all the same.
"""

import gc
import time
from typing import Final

# New objects before the youngest generation is collected; such collections before the middle one
# is, which takes 1 us an object; collections of that before the oldest is.
THRESHOLDS: Final = (1_000, 2, 1_000)

IDLE_S: Final = 5.0  # after this long without anybody, all are looked through
PAUSE_S: Final = 30.0  # between full collections while somebody is there
SHARE: Final = 1 / 5_000  # of the time that they may take

_is_settled = False
_due_s = 0.0
_last_busy_s = -IDLE_S  # when somebody was there


def settle() -> None:
    """Exempt the objects that exist now: looking through them took 0.1 s."""
    global _is_settled
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    _is_settled = True


def tidy(now_s: float, *, is_idle: bool) -> None:
    """Collect all generations, if the oldest may have news and nobody is held up for long.

    Does nothing before `settle`, as the objects that last would be looked through as well.

    Args:
        now_s: seconds of a clock that only goes on.
        is_idle: whether nobody is there, which may just be so between two of a crowd. While
            somebody is, a collection comes once in `PAUSE_S`, or later if the last one took long.
    """
    global _due_s, _last_busy_s
    if not is_idle:
        _last_busy_s = now_s
    is_due = now_s >= (_last_busy_s + IDLE_S if is_idle else _due_s)
    # Not gc.get_freeze_count(), which counts them one by one: 20 ms.
    if not _is_settled or not gc.get_count()[2] or not is_due:
        return
    before_s = time.thread_time()
    gc.collect()
    _due_s = now_s + max(PAUSE_S, (time.thread_time() - before_s) / SHARE)
