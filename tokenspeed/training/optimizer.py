"""Muon for matrices; AdamW for vectors and embeddings.

Muon replaces the momentum of a matrix by the nearest orthogonal matrix, so that all directions
learn at the same pace. Source: Jordan et al. 2024; the scale, with which it shares AdamW's
learning rate, is that of arXiv 2502.16982.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.95
_ROUNDS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic; steep at zero, inexact around one
_ADAM_SCALE = 0.2  # root mean square of AdamW's updates, in learning rates


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; parameters of one shape are handled in one batch.

    Args:
        params: matrices.
        lr: as one would choose it for AdamW.
        weight_decay: decoupled.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes.setdefault(weight.shape, []).append(weight)
            for shape, weights in shapes.items():
                self._step(shape, weights, group["lr"], group["weight_decay"])

    def _step(self, shape: torch.Size, weights: list[Tensor], lr: float, decay: float) -> None:
        for weight in weights:
            if "momentum" not in self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[w]["momentum"] for w in weights]
        gradients: list[Tensor] = [w.grad for w in weights if w.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, _MOMENTUM)  # Nesterov
        updates = orthogonalise(torch.stack(list(ahead))).to(weights[0].dtype)
        torch._foreach_mul_(weights, 1 - lr * decay)
        scale = lr * _ADAM_SCALE * max(shape) ** 0.5
        torch._foreach_add_(weights, list(updates.unbind()), alpha=-scale)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Move all singular values towards one by Newton-Schulz iterations.

    Args:
        matrices: [count, rows, columns] floating point.
    Returns:
        The same shape; bfloat16 on a GPU, where rounding does not matter and speed does.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.to(torch.bfloat16 if matrices.is_cuda else torch.float32)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
