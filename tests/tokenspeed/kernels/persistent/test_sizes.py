"""What the persistent kernel counts on."""

import numpy as np

from tokenspeed.kernels.persistent.sizes import COLUMNS, DOWN, EMPTY, PHASES, STAGE_BYTES, TILE

BITS = {"bf16": 16, "int8": 8, "int4": 4}


def test_a_stage_of_every_form_has_as_many_bytes() -> None:
    assert {form: TILE * columns * BITS[form] // 8 for form, columns in COLUMNS.items()} == (
        dict.fromkeys(COLUMNS, STAGE_BYTES)
    )


def test_the_last_phase_has_the_last_counter_of_a_layer() -> None:
    assert DOWN == PHASES - 1


def test_an_empty_word_is_no_number_and_no_result() -> None:
    """A sum that is no number must not look like one that has not arrived."""
    empty = np.array([EMPTY], np.int32)
    assert np.isnan(empty.view(np.float32)).all()
    made_by_gpus, made_by_cpus = 0x7FFFFFFF, (0x7FC00000, 0xFFC00000)
    assert (empty.view(np.uint32) != np.uint32(made_by_gpus)).all()
    assert not np.isin(empty.view(np.uint32), np.array(made_by_cpus, np.uint32)).any()
