"""When Python's garbage collector looks for cycles of objects.

Nearly every object is freed as soon as nothing refers to it. Cycles have to be looked for, while
nothing else can run, and each session has 250 objects to look through. So objects that last are
never looked through, young ones a few at a time, and all of them only while nobody is there. Knows
numbers of objects; does not know whose they are.
"""

import gc
from typing import Final

# New objects before the youngest generation is collected; such collections before the middle one
# is; collections of that before the oldest is.
THRESHOLDS: Final = (2_000, 5, 500)

_is_settled = False


def settle() -> None:
    """Exempt the objects that exist now: looking through them took 0.1 s."""
    global _is_settled
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    _is_settled = True


def tidy() -> None:
    """Collect all generations, if the oldest may have news; call it while nobody is held up.

    Does nothing before `settle`, as the objects that last would be looked through as well.
    """
    # Not gc.get_freeze_count(), which counts them one by one: 20 ms.
    if _is_settled and gc.get_count()[2]:
        gc.collect()
