"""What the persistent kernel counts on; its results are the backend tests' affair."""

import numpy as np
import pytest

from tokenspeed.backends.cuda_persistent import default_ring
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.kernels.persistent import EMPTY

FORMS = ["bf16", "int8", "int4"]
LARGE = SHAPES["llama-3-8b"]


@pytest.mark.parametrize("form", FORMS)
def test_weights_run_ahead_of_the_barriers(form: str) -> None:
    # That it compiles and fits, test_compiled.py holds.
    for width in (8, 16):
        assert default_ring(form, width, LARGE.head_dim).slots >= 8


def test_an_empty_word_is_no_number_and_no_result() -> None:
    """A sum that is no number must not look like one that has not arrived."""
    empty = np.array([EMPTY], np.int32)
    assert np.isnan(empty.view(np.float32)).all()
    made_by_gpus, made_by_cpus = 0x7FFFFFFF, (0x7FC00000, 0xFFC00000)
    assert (empty.view(np.uint32) != np.uint32(made_by_gpus)).all()
    assert not np.isin(empty.view(np.uint32), np.array(made_by_cpus, np.uint32)).any()
