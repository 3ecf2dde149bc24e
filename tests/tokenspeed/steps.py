"""Steps as tests of models make them."""

import numpy as np
from numpy.typing import NDArray

from tokenspeed.backends import NO_DRAFT, Step


def whole_sequence(tokens: NDArray[np.int32], slot: int = 0, start: int = 0) -> Step:
    """A step over consecutive tokens of one slot that answers every row."""
    count = len(tokens)
    return Step(
        tokens=tokens,
        slots=np.full(count, slot, np.int32),
        positions=np.arange(start, start + count, dtype=np.int32),
        outputs=np.arange(count, dtype=np.int32),
        drafts=np.full(count, NO_DRAFT, np.int32),
        biases=np.zeros(count, np.float32),
    )
