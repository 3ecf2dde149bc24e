"""A caption update on a small model: the draft is verified, reused, and changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tokenspeed.backends import NO_DRAFT, Step
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.engines.update import GROWN, HOLD, KNOWN, SOURCE, TOTAL, update_ms
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


def test_an_update_verifies_what_holds_and_decodes_the_rest(tiny_model: Path) -> None:
    config = EngineConfig(num_slots=2, max_length=128, max_step_tokens=64)
    said = {-1}
    backend = ReferenceBackend(open_checkpoint(tiny_model), config)
    found = update_ms(backend, repeats=1, said=said)
    assert len(said) > 1
    assert found["guessed"] == 0
    assert found["update_ms_mean"] == found["update_ms_p50"]
    assert found["accepted"] >= HOLD
    assert found["reused"] == SOURCE
    assert found["steps"] <= 1 + TOTAL - HOLD
    assert 0 < found["update_ms_p50"] <= found["update_ms_max"]
    assert GROWN < KNOWN - HOLD + 1 < TOTAL


class Forgetful(ReferenceBackend):
    """Changes the last token of a step that verifies a draft."""

    def step(self, batch: Step) -> NDArray[np.int32]:
        chosen = super().step(batch)
        if (batch.drafts != NO_DRAFT).any():
            chosen[-1] = (chosen[-1] + 1) % self.config.vocab_size
        return chosen


def test_an_update_that_differs_is_shown(tiny_model: Path) -> None:
    config = EngineConfig(num_slots=2, max_length=128, max_step_tokens=16)
    backend = Forgetful(open_checkpoint(tiny_model), config)
    with pytest.raises(AssertionError, match=r"as an update \(.*\), decoded again"):
        update_ms(backend, repeats=1)
