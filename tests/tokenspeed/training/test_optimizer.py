"""Muon: updates are orthogonal, a batch of matrices gives what each gives alone, and it learns."""

import pytest
import torch

from tokenspeed.training.optimizer import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_singular_values_move_towards_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 7
    found = orthogonalise(matrices)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3
    assert values.max() < 1.3
    # The directions stay: only the lengths change.
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert ((found - left @ right).norm(dim=(1, 2)) < 0.6 * min(shape[1:]) ** 0.5).all()


def test_matrices_of_one_shape_are_updated_as_if_alone() -> None:
    def run(count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        weights = [torch.randn(6, 4, generator=generator) for _ in range(3)][:count]
        for weight in weights:
            weight.requires_grad_()
            weight.grad = weight.detach().sin()
        Muon(weights, lr=0.1, weight_decay=0.01).step()
        return weights[0].detach()

    assert torch.allclose(run(1), run(3), atol=1e-6)


def test_it_finds_the_minimum_of_a_square() -> None:
    generator = torch.Generator().manual_seed(2)
    wanted = torch.randn(8, 8, generator=generator)
    weight = torch.zeros(8, 8, requires_grad=True)
    optimizer = Muon([weight], lr=0.1, weight_decay=0.0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (weight - wanted).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_what_has_no_gradient_stays() -> None:
    weight = torch.ones(2, 2, requires_grad=True)
    Muon([weight], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))
