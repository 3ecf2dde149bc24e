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


def settle() -> None:
    """Take what there is now for lasting: a look through it took 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def tidy() -> None:
    """Look through all objects, if some have outlived a look; nobody is held up now.

    Does nothing where what lasts was not told, and would be looked through as well.
    """
    if gc.get_freeze_count() and gc.get_count()[2]:
        gc.collect()
