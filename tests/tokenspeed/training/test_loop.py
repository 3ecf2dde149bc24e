"""The schedule, the first weights, the optimizers, the loss, and one step of the trainer."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.model.llama import Llama
from tokenspeed.training.attention import find_reach
from tokenspeed.training.cli import CONFIGS
from tokenspeed.training.config import Recipe, load_recipe
from tokenspeed.training.loop import (
    Trainer,
    initialise,
    learning_rate,
    make_optimizers,
    summed_loss,
)
from tokenspeed.training.packing import Batch, Sequenced, Shapes, pack
from tokenspeed.training.stream import Stream

RECIPE = load_recipe(CONFIGS / "tiny.toml")
RECIPE = replace(RECIPE, model=replace(RECIPE.model, vocab_size=64))
SHAPES = Shapes.for_tokens(96, 32)
EXAMPLES = [Sequenced((1, 5, 6, 7, 8, 2), 3), Sequenced((1, 9, 10, 2), 2)]


class OneBatch(Stream):
    """The same batch for ever, without a corpus."""

    def __init__(self) -> None:
        self.recipe, self.shapes = RECIPE, SHAPES

    def __getitem__(self, number: int) -> Batch:
        return pack(EXAMPLES, SHAPES, 2)


@given(st.integers(0, 500), st.floats(0, 1), st.integers(1, 100))
def test_the_rate_rises_then_falls_to_its_last_share(step: int, share: float, warm: int) -> None:
    recipe = replace(RECIPE, warmup_steps=warm, learning_rate=0.5, final_share=0.1)
    rate = learning_rate(recipe, step, share)
    assert 0 < rate <= 0.5
    assert rate <= learning_rate(recipe, step + 1, share)
    assert rate >= learning_rate(recipe, step, min(1.0, share + 0.1)) - 1e-12
    assert learning_rate(recipe, warm, 0.0) == pytest.approx(0.5)
    assert learning_rate(recipe, warm, 1.0) == pytest.approx(0.05)
    assert learning_rate(recipe, 0, 0.0) == pytest.approx(0.5 / warm)


def test_matrices_that_write_to_the_residual_begin_smaller() -> None:
    torch.manual_seed(0)
    model = Llama(RECIPE.model)
    initialise(model)
    spread = {name: float(p.detach().std()) for name, p in model.named_parameters() if p.dim() == 2}
    into = RECIPE.model.hidden_size**-0.5
    for name, found in spread.items():
        if "embed" in name:
            wanted = 0.02
        elif "o_proj" in name:
            wanted = into / math.sqrt(2 * RECIPE.model.num_layers)
        elif "down_proj" in name:
            inner = RECIPE.model.intermediate_size**-0.5
            wanted = inner / math.sqrt(2 * RECIPE.model.num_layers)
        else:
            wanted = into
        assert found == pytest.approx(wanted, rel=0.1), name


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_each_weight_has_one_optimizer_and_only_matrices_decay(optimizer: str) -> None:
    model = Llama(RECIPE.model)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    made = make_optimizers(weights, replace(RECIPE, optimizer=optimizer), fused=False)
    groups = [group for one in made for group in one.param_groups]
    owned = [weight for group in groups for weight in group["params"]]
    assert len(owned) == len({id(weight) for weight in owned}) == len(weights)
    for group in groups:
        for weight in group["params"]:
            (name,) = [n for n, w in weights.items() if w is weight]
            is_matrix = weight.dim() == 2 and "embed" not in name
            assert bool(group["weight_decay"]) == is_matrix, name
    assert len(made) == (2 if optimizer == "muon" else 1)


def test_the_loss_of_a_batch_is_that_of_its_examples_alone() -> None:
    torch.manual_seed(1)
    model = Llama(RECIPE.model).eval()
    initialise(model)

    def loss(examples: list[Sequenced]) -> float:
        b = pack(examples, SHAPES, 2)
        reach = find_reach(b.borders, SHAPES.tokens)
        with torch.no_grad():
            found = summed_loss(model, b.tokens, b.positions, reach, b.rows, b.labels, 0.0, 0.0)
        return float(found)

    together = loss(EXAMPLES)
    assert together == pytest.approx(sum(loss([one]) for one in EXAMPLES), rel=1e-4)
    # Random weights know nothing: about the entropy of the vocabulary for each prediction.
    assert together / 5 == pytest.approx(math.log(64), rel=0.5)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    def make(recipe: Recipe = RECIPE) -> Trainer:
        return Trainer(recipe, OneBatch(), [OneBatch()[0]], tmp_path, "cpu")

    return make


def test_steps_learn_and_the_average_follows(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer()
    before = {n: w.detach().clone() for n, w in trainer.weights.items()}
    first = float(trainer.step(trainer.stream[0], 1e-2))
    assert any(not torch.equal(before[n], w.detach()) for n, w in trainer.weights.items())
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, trainer.weights[name])
        moved = trainer.average[name] - before[name]
        whole = trainer.weights[name].detach() - before[name]
        assert torch.allclose(moved, 0.9 * whole, atol=1e-6)  # the first average forgets fast
    for trainer.progress.step in range(1, 20):
        last = float(trainer.step(trainer.stream[0], 1e-2))
    assert last < 0.5 * first
    assert trainer.valid_loss() < first


def test_a_run_ends_by_the_clock_too(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(replace(RECIPE, max_steps=10**6, max_seconds=1e-6))
    progress = trainer.run()
    assert progress.step == 1
    assert (trainer.directory / "state").exists()
