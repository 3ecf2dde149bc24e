"""Processes that train together: what they exchange, and that their weights stay equal."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.forked import context
from tests.tokenspeed.training.test_loop import EXAMPLES, RECIPE, SHAPES
from tokenspeed.training.loop import Trainer
from tokenspeed.training.packing import Batch, pack
from tokenspeed.training.replicas import Replicas
from tokenspeed.training.stream import Stream


class Numbered(Stream):
    """Batches that differ by their number, without a corpus."""

    def __init__(self) -> None:
        self.recipe, self.shapes = RECIPE, SHAPES

    def __getitem__(self, number: int) -> Batch:
        return pack(EXAMPLES[number % 2 :], SHAPES, 2)


def test_alone_nothing_is_exchanged() -> None:
    replicas = Replicas.join()
    assert replicas == Replicas(0, 1)
    assert replicas.is_first
    tensor = torch.tensor([1.0, 2.0])
    replicas.average([tensor])
    replicas.wait()
    assert tensor.tolist() == [1.0, 2.0]
    assert replicas.agree(3.0) == 3.0


def together(rank: int, port: int, out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": 2,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "GLOO_SOCKET_IFNAME": "lo",
        }.items():
            patch.setenv(name, str(value))
        replicas = Replicas.join()
        tensors = [torch.tensor([float(rank), 1.0]), torch.tensor([[4.0 * rank]])]
        replicas.average(tensors)
        agreed = replicas.agree(rank + 5.0)
        recipe = replace(RECIPE, max_steps=3, valid_every=0, save_every=100)
        trainer = Trainer(recipe, Numbered(), [], out / f"run-{rank}", "cpu", replicas)
        trainer.run()
        weights = {name: weight.detach() for name, weight in trainer.weights.items()}
        torch.save((tensors, agreed, weights), out / f"{rank}.pt")
        replicas.wait()


def test_two_learn_from_the_mean_of_their_batches_and_stay_equal(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not forked from this process, which may have threads of torch.
    processes = [context().Process(target=together, args=(r, port, tmp_path)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for tensors, agreed, weights in found:
        assert [t.tolist() for t in tensors] == [[0.5, 1.0], [[2.0]]]
        assert agreed == 5.0
        assert all(torch.equal(weights[name], found[0][2][name]) for name in weights)
    assert (tmp_path / "run-0" / "state").exists()
    assert not (tmp_path / "run-1" / "state").exists()

    # One process that is given both batches in each step has the same weights.
    class Both(Replicas):
        def average(self, tensors: object) -> None:
            del tensors
            for name, parameter in trainer.model.named_parameters():
                mine = trainer.weights[name].grad
                assert mine is not None
                parameter.grad = None
                mine.add_(others[name]).div_(2)

    recipe = replace(RECIPE, max_steps=3, valid_every=0, save_every=100)
    trainer = Trainer(recipe, Numbered(), [], tmp_path / "one", "cpu", Both())
    others: dict[str, torch.Tensor] = {}
    for step in range(3):
        others = gradients(trainer, Numbered()[2 * step + 1])
        trainer.step(Numbered()[2 * step], rate_of(recipe_step=step))
        trainer.progress.step += 1
    for name, weight in trainer.weights.items():
        assert torch.allclose(weight.detach(), found[0][2][name], atol=1e-6), name


def rate_of(recipe_step: int) -> float:
    from tokenspeed.training.loop import learning_rate

    recipe = replace(RECIPE, max_steps=3)
    return learning_rate(recipe, recipe_step, recipe_step / 3)


def gradients(trainer: Trainer, batch: Batch) -> dict[str, torch.Tensor]:
    """Return the gradients of a batch at the weights that a trainer has."""
    trainer.model.train()
    recipe = trainer.recipe
    loss = trainer.loss(
        trainer.model,
        batch.tokens,
        batch.positions,
        trainer._reach(batch),
        batch.rows,
        batch.labels,
        recipe.dropout,
        recipe.label_smoothing,
    )
    mean = loss / batch.num_targets
    mean.backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, parameter in trainer.model.named_parameters():
        assert parameter.grad is not None
        found[name], parameter.grad = parameter.grad.clone(), None
    return found
