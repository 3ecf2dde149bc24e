"""Where a step's rows lie: widths, tiles of one slot, and what an upload writes."""

import numpy as np
import pytest

from tests.conftest import MakeModel
from tests.tokenspeed.backends.test_cuda import rows
from tests.tokenspeed.kernels.support import DEVICE
from tokenspeed.backends.cuda_memory import StepMemory, split_tiles, step_width, step_widths
from tokenspeed.backends.cuda_weights import load_weights
from tokenspeed.kernels import tuned
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

CONFIG = EngineConfig(num_slots=3, max_length=32, max_step_tokens=72)


@pytest.fixture(scope="module")
def memory(make_model: MakeModel) -> StepMemory:
    return StepMemory(load_weights(open_checkpoint(make_model()), "bf16", DEVICE), CONFIG)


def test_tiles_hold_rows_of_one_slot() -> None:
    slots = np.array([4, 4, 4, 0, 7, 7, 7, 7, 7], np.int32)
    starts, counts = split_tiles(slots, 2)
    assert starts.tolist() == [0, 2, 3, 4, 6, 8]
    assert counts.tolist() == [2, 1, 1, 2, 2, 1]


def test_every_step_has_a_width_that_fits_it() -> None:
    for most in (1, 16, 72, 256):
        widths = step_widths(most)
        assert widths == sorted(set(widths))
        assert widths[-1] == most
        for count in range(1, most + 1):
            assert step_width(count, most) == min(w for w in widths if w >= count)
    with pytest.raises(ValueError, match="step has 73 rows, expected at most 72"):
        step_width(73, 72)


def test_an_upload_brings_the_whole_step(memory: StepMemory) -> None:
    memory.upload(rows((2, 5, [7, 8, 9]), (0, 0, [4]), outputs=[2, 3]), 1)
    fields = memory.fields
    assert fields.tokens[:4].tolist() == [7, 8, 9, 4]
    assert fields.slots[:4].tolist() == [2, 2, 2, 0]
    assert fields.positions[:4].tolist() == [5, 6, 7, 0]
    assert fields.outputs[:2].tolist() == [2, 3]
    assert fields.drafts[:2].tolist() == [-1, -1]
    assert fields.biases[:2].tolist() == [0.0, 0.0]
    assert (memory.num_rows.item(), memory.num_outputs.item()) == (4, 2)
    assert (fields.parity == 1).all()


def test_a_wide_upload_brings_tiles(memory: StepMemory) -> None:
    memory.upload(rows((1, 0, list(range(68))), (2, 0, [1, 2, 3])), 0)
    tiles = int(memory.num_tiles.item())
    starts = memory.fields.tile_starts[:tiles].cpu().numpy()
    counts = memory.fields.tile_counts[:tiles].cpu().numpy()
    assert counts.sum() == 71
    assert np.array_equal(np.cumsum(counts[:-1]), starts[1:])
    assert 68 in starts


def test_parts_have_room_in_short_steps_alone(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_weights(open_checkpoint(make_model()), "bf16", DEVICE)
    down = weights.layers[0].down
    monkeypatch.setitem(tuned.SPLIT_K, ("down", "bf16", down.n, down.k), 2)
    short, long = (
        StepMemory(weights, EngineConfig(1, 256, rows)).split_scratch for rows in (64, 256)
    )
    assert len(short.parts) == len(long.parts) >= 2 * 64 * down.n


def test_the_results_of_two_steps_lie_apart(memory: StepMemory) -> None:
    memory.chosen[0, :3] = 5
    memory.chosen[1, :3] = 6
    assert memory.read(0, 2).tolist() == [5, 5]
    assert memory.read(1, 3).tolist() == [6, 6, 6]


def test_a_slot_is_copied_as_far_as_asked(memory: StepMemory) -> None:
    memory.cache.zero_()
    memory.cache[:, :, 0] = 1
    memory.copy_slot(0, 2, 7)
    assert (memory.cache[:, :, 2, :, :7] == 1).all()
    assert (memory.cache[:, :, 2, :, 7:] == 0).all()
