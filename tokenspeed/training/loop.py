"""The training loop: schedule, step, moving average, checkpoints.

Weights, moments and the average are float32; on a GPU a bfloat16 copy computes, and its gradients
flow into the float32 weights. Knows batches and steps; does not know text.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.llama import Llama
from tokenspeed.model.weights import TO_RESIDUAL
from tokenspeed.training.attention import Reach, find_reach, packed_attention
from tokenspeed.training.config import Recipe
from tokenspeed.training.optimizer import Muon
from tokenspeed.training.packing import IGNORED, Batch
from tokenspeed.training.progress import Log
from tokenspeed.training.state import has_state, load_state, save_state
from tokenspeed.training.stream import Stream

_WARM_STEPS = 10  # compilation and the first kernels, left out of the measured speed
_PREFETCH = 6  # batches that each worker keeps ready


@dataclass
class Progress:
    """Where a run stands; saved with it."""

    step: int = 0
    elapsed_s: float = 0.0


class Trainer:
    """One run of a recipe.

    Args:
        recipe: shape and schedule.
        stream: makes the training batches.
        valid: batches whose loss is reported.
        directory: of the checkpoints and the log.
        device: "cuda" or "cpu".
    """

    def __init__(
        self, recipe: Recipe, stream: Stream, valid: list[Batch], directory: Path, device: str
    ) -> None:
        self.recipe, self.stream, self.valid = recipe, stream, valid
        self.directory, self.device = directory, torch.device(device)
        is_cuda = self.device.type == "cuda"
        torch.manual_seed(recipe.seed)
        self.model = Llama(recipe.model)
        initialise(self.model)
        self.weights = {n: p.detach().clone().to(self.device) for n, p in self._named()}
        self.average = {n: w.clone() for n, w in self.weights.items()}
        self.model.to(self.device, torch.bfloat16 if is_cuda else torch.float32)
        # Angles need float32 even where the weights do not; `to` has rounded them.
        self.model.set_rotation(recipe.model.max_position_embeddings, self.device)
        self.optimizers = make_optimizers(self.weights, recipe, fused=is_cuda)
        self.loss = torch.compile(summed_loss, dynamic=False) if is_cuda else summed_loss
        self.log = Log(directory, recipe, self.weights, self.device)
        self.progress = Progress()

    def begin_with(self, checkpoint: Checkpoint) -> None:
        """Take a trained model's weights; a run that is resumed replaces them by its own.

        Raises:
            CheckpointError: a tensor is missing.
            ValueError: the model has another shape.
        """
        for name, weight in self.weights.items():
            found = checkpoint.weight(name, torch.float32)
            if found.shape != weight.shape:
                raise ValueError(
                    f"{name} is {list(found.shape)} in {checkpoint.directory}, "
                    f"expected {list(weight.shape)}"
                )
            weight.data.copy_(found)
            self.average[name].copy_(found)

    def run(self) -> Progress:
        """Train to the end of the schedule, from the last checkpoint if there is one."""
        if has_state(self.directory / "state"):
            self._load()
        self._copy_to_model()
        started = time.perf_counter() - self.progress.elapsed_s
        bar = tqdm(total=self.recipe.max_steps, initial=self.progress.step, mininterval=10)
        for batch in self._batches():
            share = self._share()
            if share >= 1:
                break
            loss = self.step(batch, learning_rate(self.recipe, self.progress.step, share))
            self.progress.step += 1
            self.progress.elapsed_s = time.perf_counter() - started
            self._report(batch, loss, bar)
        bar.close()
        self._validate()
        self.save()
        self.log.finish(self.progress.step, self.progress.elapsed_s)
        return self.progress

    def step(self, batch: Batch, rate: float) -> Tensor:
        """Learn from one batch; return its mean loss, on the device."""
        recipe = self.recipe
        self.model.train()
        on_device = batch.to(self.device)
        loss = self.loss(
            self.model,
            on_device.tokens,
            on_device.positions,
            self._reach(on_device),
            on_device.rows,
            on_device.labels,
            recipe.dropout,
            recipe.label_smoothing,
        ) / max(1, batch.num_targets)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in self._named():
            assert parameter.grad is not None
            self.weights[name].grad = parameter.grad.float()
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), recipe.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        self._copy_to_model()
        # Early averages forget fast, or the random beginning would stay in them.
        decay = min(recipe.average_decay, (1 + self.progress.step) / (10 + self.progress.step))
        torch._foreach_lerp_(
            list(self.average.values()), [w.detach() for w in self.weights.values()], 1 - decay
        )
        return loss.detach()

    def save(self) -> None:
        """Write the state that `run` resumes from."""
        tensors = {f"weights.{n}": w.detach() for n, w in self.weights.items()}
        tensors |= {f"average.{n}": w for n, w in self.average.items()}
        for name, weight in self.weights.items():
            for optimizer in self.optimizers:
                state = optimizer.state.get(weight, {})
                tensors |= {f"{key}.{name}": value for key, value in state.items()}
        meta: dict[str, Any] = {"step": self.progress.step, "elapsed_s": self.progress.elapsed_s}
        meta["torch_rng"] = torch.get_rng_state().tolist()
        save_state(self.directory / "state", tensors, meta)

    @torch.no_grad()
    def valid_loss(self) -> float:
        """Return nats per target token of the validation batches under the average's weights."""
        for name, parameter in self._named():
            parameter.copy_(self.average[name])
        self.model.eval()
        total, count = 0.0, 0
        for batch in self.valid:
            b = batch.to(self.device)
            total += float(
                self.loss(
                    self.model, b.tokens, b.positions, self._reach(b), b.rows, b.labels, 0.0, 0.0
                )
            )
            count += batch.num_targets
        self._copy_to_model()
        return total / max(1, count)

    def _load(self) -> None:
        tensors, meta = load_state(self.directory / "state", self.device)
        for name, weight in self.weights.items():
            weight.data.copy_(tensors[f"weights.{name}"])
            self.average[name].copy_(tensors[f"average.{name}"])
            owner = next(o for o in self.optimizers if _owns(o, weight))
            owner.state[weight] = {
                key: tensors[f"{key}.{name}"]
                for key in ("step", "exp_avg", "exp_avg_sq", "momentum")
                if f"{key}.{name}" in tensors
            }
        torch.set_rng_state(torch.tensor(meta["torch_rng"], dtype=torch.uint8))
        self.progress = Progress(meta["step"], meta["elapsed_s"])
        self.log.resume(self.progress.step)

    def _batches(self) -> Iterator[Batch]:
        """Yield batches from the current step on, without end."""
        workers = self.recipe.num_workers
        loader: DataLoader[Any] = DataLoader(
            self.stream,
            batch_size=None,
            sampler=_From(self.progress.step),
            num_workers=workers,
            collate_fn=None,  # the stream makes whole batches
            pin_memory=self.device.type == "cuda",
            prefetch_factor=_PREFETCH if workers else None,
            multiprocessing_context="fork" if workers else None,
        )
        yield from loader

    def _share(self) -> float:
        """Return how much of the schedule is over, by steps or by the clock."""
        share = self.progress.step / self.recipe.max_steps
        if self.recipe.max_seconds:
            share = max(share, self.progress.elapsed_s / self.recipe.max_seconds)
        return share

    def _report(self, batch: Batch, loss: Tensor, bar: "tqdm[Any]") -> None:
        step, recipe = self.progress.step, self.recipe
        bar.update()
        self.log.count(batch, warm=step > _WARM_STEPS)
        if step % recipe.log_every == 0:
            text = self.log.train(step, float(loss), self.progress.elapsed_s)
            bar.set_postfix_str(text, refresh=False)
        if step % recipe.valid_every == 0:
            self._validate()
        if step % recipe.save_every == 0:
            self.save()

    def _validate(self) -> None:
        if self.valid:
            self.log.valid(self.progress.step, self.valid_loss(), self.progress.elapsed_s)

    @torch.no_grad()
    def _copy_to_model(self) -> None:
        named = dict(self._named())
        torch._foreach_copy_(list(named.values()), [self.weights[n] for n in named])

    def _reach(self, batch: Batch) -> Reach:
        return find_reach(batch.borders, self.stream.shapes.tokens)

    def _named(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return self.model.named_parameters()


class _From:
    """Numbers from a start on, as a sampler."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        number = self.start
        while True:
            yield number
            number += 1


def summed_loss(
    model: Llama,
    tokens: Tensor,
    positions: Tensor,
    reach: Reach,
    rows: Tensor,
    labels: Tensor,
    dropout: float,
    label_smoothing: float,
) -> Tensor:
    """Return the cross entropy of a packed batch, summed over its predictions.

    Args:
        tokens, positions, rows, labels: as in `Batch`, on the model's device.
        reach: of the tokens.
    """
    hidden = model.hidden_states(tokens, positions, packed_attention(reach), dropout)
    logits = model.logits(hidden[rows])  # [targets, vocab_size]: only where something is predicted
    return F.cross_entropy(
        logits.float(),
        labels,
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
        reduction="sum",
    )


def _owns(optimizer: torch.optim.Optimizer, weight: Tensor) -> bool:
    return any(weight is w for group in optimizer.param_groups for w in group["params"])


def initialise(model: Llama) -> None:
    """Draw matrices from a normal distribution; those that write to the residual get less."""
    layers = model.config.num_layers
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        std = 0.02 if "embed" in name else parameter.shape[1] ** -0.5
        if name.removesuffix(".weight").endswith(TO_RESIDUAL):
            std /= math.sqrt(2 * layers)
        torch.nn.init.normal_(parameter, std=std)


def make_optimizers(
    weights: dict[str, Tensor], recipe: Recipe, *, fused: bool
) -> list[torch.optim.Optimizer]:
    """Return AdamW alone, or Muon for the layers' matrices beside it."""
    for weight in weights.values():
        weight.requires_grad_()
    matrices = [w for n, w in weights.items() if w.dim() == 2 and "embed" not in n]
    others = [w for n, w in weights.items() if w.dim() != 2 or "embed" in n]
    adam_groups = [{"params": others, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = []
    if recipe.optimizer == "muon":
        optimizers.append(Muon(matrices, recipe.learning_rate, recipe.weight_decay))
    else:
        adam_groups.append({"params": matrices, "weight_decay": recipe.weight_decay})
    rate = recipe.learning_rate
    optimizers.append(torch.optim.AdamW(adam_groups, lr=rate, betas=(0.9, 0.98), fused=fused))
    return optimizers


def learning_rate(recipe: Recipe, step: int, share: float) -> float:
    """Return the rate of a step: linear warm-up, then a cosine over the share that is over."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    low = recipe.final_share
    return recipe.learning_rate * warm * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * share)))
