"""The order of a step's kernels, recorded on a model without values."""

from dataclasses import replace

from tokenspeed.backends.cuda_memory import step_widths
from tokenspeed.backends.cuda_step import recorded_step
from tokenspeed.backends.cuda_weights import random_weights
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.kernels.launch import Launch
from tokenspeed.model.config import EngineConfig


def test_each_width_runs_every_layer_once() -> None:
    model = replace(SHAPES["default-38m"], num_layers=2)
    config = EngineConfig(num_slots=2, max_length=64, max_step_tokens=96)
    launches = recorded_step(random_weights(model, "int8", "meta"), config, Launch())
    layer = ["qkv", "attention", "projection", "gate_up", "projection"]
    step = ["embedding", *layer, *layer, "lm_head", "select"]
    names = [launch.kernel.fn.__name__.removesuffix("_kernel") for launch in launches]
    assert names == [*step * len(step_widths(96)), "follow_draft"]
