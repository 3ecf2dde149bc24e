"""When Python looks for objects that refer to each other and that nobody else refers to.

Nearly all goes at once when nobody refers to it any more. The rest is looked for while nothing
else can run, and each session has 250 objects to look through. So what lasts is never looked
through, young objects few at a time, and all of them while nobody is there. Knows numbers of
objects; does not know whose they are.
"""

import gc
from typing import Final

# New objects before a look at them; such looks before one at those that outlived one look; looks
# at these before one at all.
THRESHOLDS: Final = (2_000, 5, 500)

_is_settled = False


def settle() -> None:
    """Take what there is now for lasting: a look through it took 0.1 s."""
    global _is_settled
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    _is_settled = True


def tidy() -> None:
    """Look through all objects, if some have outlived a look; nobody is held up now.

    Does nothing where what lasts was not told, and would be looked through as well.
    """
    # Not gc.get_freeze_count(), which counts them one by one: 20 ms.
    if _is_settled and gc.get_count()[2]:
        gc.collect()
