"""The training loop: schedule, step, moving average, checkpoints.

Weights, moments and the average are float32; on a GPU, a bfloat16 copy computes, and its gradients
are applied to the float32 weights. Knows batches and steps; does not know text.
"""

import math
import time
from collections.abc import Iterator, Sequence
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
from tokenspeed.model.weights import EMBEDDING, TO_RESIDUAL
from tokenspeed.training.attention import Reach, find_reach, packed_attention
from tokenspeed.training.config import Recipe
from tokenspeed.training.optimizer import Muon
from tokenspeed.training.packing import IGNORED, Batch
from tokenspeed.training.progress import Log
from tokenspeed.training.replicas import Replicas
from tokenspeed.training.state import has_state, load_state, save_state
from tokenspeed.training.stream import Stream

_WARM_STEPS = 10  # with compilation and the first kernels; left out of the measured speed
_PREFETCH = 6  # batches that each worker keeps ready


@dataclass
class Progress:
    """How far a run is; saved with it."""

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
        replicas: processes that train together; each takes every `count`-th batch of the stream.
    """

    def __init__(
        self,
        recipe: Recipe,
        stream: Stream,
        valid: list[Batch],
        directory: Path,
        device: str,
        replicas: Replicas = Replicas(),  # noqa: B008 - it is frozen
    ) -> None:
        self.replicas = replicas
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
        self.log = Log(directory, recipe, self.weights, self.device, replicas.count)
        self.progress = Progress()

    def begin_with(self, checkpoint: Checkpoint, spellings: Sequence[Sequence[int]] = ()) -> None:
        """Begin with the weights of a trained model; a resumed run replaces them by its own.

        A smaller model grows, and computes the same as before.

        Args:
            spellings: for each piece that its vocabulary lacks, the ids that spelled it.
        Raises:
            CheckpointError: a tensor is missing.
            ValueError: the model has a shape that does not grow into this one.
        """
        for name, weight in self.weights.items():
            found = checkpoint.weight(name, torch.float32).to(self.device)
            if found.shape != weight.shape:
                try:
                    found = grown(name, found, weight.detach(), spellings)
                except ValueError as exc:
                    raise ValueError(f"{checkpoint.directory}: {exc}") from exc
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
            if self.replicas.is_first:
                self._report(batch, loss, bar)
        bar.close()
        if self.replicas.is_first:
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
        self.replicas.average([w.grad for w in self.weights.values() if w.grad is not None])
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), recipe.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        self._copy_to_model()
        # The average forgets fast at first, or the random initial weights would stay in it.
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
            sampler=_From(
                self.progress.step * self.replicas.count + self.replicas.rank, self.replicas.count
            ),
            num_workers=workers,
            collate_fn=None,  # the stream makes whole batches
            pin_memory=self.device.type == "cuda",
            prefetch_factor=_PREFETCH if workers else None,
            multiprocessing_context="fork" if workers else None,
        )
        yield from loader

    def _share(self) -> float:
        """Return which share of the schedule is over, by steps or by time."""
        share = self.progress.step / self.recipe.max_steps
        if self.recipe.max_seconds:
            share = max(share, self.progress.elapsed_s / self.recipe.max_seconds)
        return self.replicas.agree(share)

    def _report(self, batch: Batch, loss: Tensor, bar: "tqdm[Any]") -> None:
        step, recipe = self.progress.step, self.recipe
        bar.update()
        self.log.count(batch, warm=step > _WARM_STEPS)
        if step % recipe.log_every == 0:
            text = self.log.train(step, float(loss), self.progress.elapsed_s)
            bar.set_postfix_str(text, refresh=False)
        if recipe.valid_every and step % recipe.valid_every == 0:
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
    """Every n-th number from a start on, as a sampler."""

    def __init__(self, start: int, every: int) -> None:
        self.start, self.every = start, every

    def __iter__(self) -> Iterator[int]:
        number = self.start
        while True:
            yield number
            number += self.every


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


def grown(
    name: str, found: Tensor, wider: Tensor, spellings: Sequence[Sequence[int]] = ()
) -> Tensor:
    """Return a trained matrix with more rows or columns, so that its model computes the same.

    New channels of a feed-forward network have random input weights, and output weights of zero
    (Chen et al. 2016, https://arxiv.org/abs/1511.05641, without noise); a new piece of the
    vocabulary begins as the mean of those that spelled it.

    Args:
        found: [rows, columns]. wider: the matrix of the new model, with random weights.
        spellings: of each new piece, ids of the old ones.
    Raises:
        ValueError: this matrix cannot grow into that shape.
    """
    rows, columns = found.shape if found.dim() == 2 else (0, 0)
    more_rows, more_columns = wider.shape[0] - rows, wider.shape[-1] - columns
    made = wider.clone()
    part = name.removesuffix(".weight").rpartition(".")[2]
    if part in ("gate_proj", "up_proj") and more_rows >= 0 and more_columns == 0:
        made[:rows] = found
    elif part == "down_proj" and more_rows == 0 and more_columns >= 0:
        made[:, :columns] = found
        made[:, columns:] = 0.0
    elif name == EMBEDDING and more_columns == 0 and 0 <= more_rows <= len(spellings):
        known = len(made) - len(spellings)  # the model may have had rows without a piece
        made[:known] = found[:known]
        for row, ids in enumerate(spellings, start=known):
            made[row] = found[list(ids)].mean(dim=0)
    else:
        raise ValueError(f"{name} is {list(found.shape)}, expected {list(wider.shape)}")
    return made


def initialise(model: Llama) -> None:
    """Draw matrices from normal distributions, narrower for those that add to the residual."""
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
    """Return AdamW, or Muon for the layers' matrices and AdamW for the rest."""
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
    """Return the rate of a step, by the schedule of a recipe."""
    warm, low = recipe.warmup_steps, recipe.final_share
    return recipe.learning_rate * rate_share(step, share, warm, low)


def rate_share(step: int, share: float, warmup_steps: int, final_share: float) -> float:
    """Return the part of the highest rate: linear warm-up, then a cosine.

    Args:
        share: of the schedule that is over.
        final_share: what is left at its end.
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    return warm * (final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * share)))
