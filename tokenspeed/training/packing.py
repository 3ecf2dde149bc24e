"""Packed batches: many examples one after another in a flat stream of a fixed size.

Every batch has the same shapes, so that a step is compiled once: `tokens` positions, `documents`
borders, `targets` predictions; the rest is padding, which does not count in the loss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

IGNORED = -100  # label that does not count in the loss


@dataclass(frozen=True)
class Shapes:
    """The fixed sizes of a batch."""

    tokens: int
    targets: int  # predictions
    documents: int  # examples, and pieces of padding
    max_length: int  # of one document

    @staticmethod
    def for_tokens(tokens: int, max_length: int) -> "Shapes":
        """Derive sizes that fit short sentences, with 24 positions or more per example."""
        padding = -(-tokens // max_length)
        return Shapes(tokens, tokens // 2, tokens // 24 + padding, max_length)


@dataclass(frozen=True)
class Sequenced:
    """The ids of an example: prompt, then target with its end."""

    ids: tuple[int, ...]
    num_prompt: int  # the first predicted id is ids[num_prompt]


@dataclass
class Batch:
    """One flat stream.

    Attributes:
        tokens, positions: [tokens] int32; positions restart in every example.
        borders: [documents + 1] int32, cumulative; empty documents at the end.
        rows: [targets] int32; where in the stream a prediction is made.
        labels: [targets] int64; the id predicted there, IGNORED in padding.
        num_tokens, num_targets, num_examples: what is not padding.
    """

    tokens: Tensor
    positions: Tensor
    borders: Tensor
    rows: Tensor
    labels: Tensor
    num_tokens: int
    num_targets: int
    num_examples: int

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, without waiting where the memory is pinned."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("tokens", "positions", "borders", "rows", "labels")
        }
        return Batch(
            **moved,
            num_tokens=self.num_tokens,
            num_targets=self.num_targets,
            num_examples=self.num_examples,
        )

    def pin_memory(self) -> "Batch":
        """Move to page-locked memory; called by the data loader."""
        for name in ("tokens", "positions", "borders", "rows", "labels"):
            setattr(self, name, getattr(self, name).pin_memory())
        return self


def pack(examples: Iterable[Sequenced], shapes: Shapes, padding_id: int) -> Batch:
    """Lay examples out in one stream, in order; those that no longer fit are left out.

    Args:
        examples: longer ones than `shapes.max_length` are left out.
        shapes: the sizes of the batch.
        padding_id: a valid id; which one does not matter.
    """
    tokens = np.full(shapes.tokens, padding_id, np.int32)
    positions = np.zeros(shapes.tokens, np.int32)
    # Padding predicts from distinct rows: its zero gradients, all written to one row, would wait.
    rows = np.arange(shapes.targets, dtype=np.int32)
    labels = np.full(shapes.targets, IGNORED, np.int64)
    borders, at, num_targets = [0], 0, 0
    reserved = -(-shapes.tokens // shapes.max_length)  # documents that the padding may need
    for example in examples:
        length, predicted = len(example.ids), len(example.ids) - example.num_prompt
        fits = at + length <= shapes.tokens and num_targets + predicted <= shapes.targets
        if length > shapes.max_length or not fits:
            continue
        if len(borders) > shapes.documents - reserved:
            break
        tokens[at : at + length] = example.ids
        positions[at : at + length] = np.arange(length)
        span = slice(num_targets, num_targets + predicted)
        rows[span] = np.arange(at + example.num_prompt - 1, at + length - 1)
        labels[span] = example.ids[example.num_prompt :]
        at, num_targets = at + length, num_targets + predicted
        borders.append(at)
    num_examples = len(borders) - 1
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        torch.from_numpy(_close(borders, shapes)),
        torch.from_numpy(rows),
        torch.from_numpy(labels),
        num_tokens=at,
        num_targets=num_targets,
        num_examples=num_examples,
    )


def _close(borders: Sequence[int], shapes: Shapes) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Cover the padding with documents of at most max_length, then add empty documents."""
    closed = list(borders)
    while closed[-1] < shapes.tokens:
        closed.append(min(closed[-1] + shapes.max_length, shapes.tokens))
    closed += [shapes.tokens] * (shapes.documents + 1 - len(closed))
    return np.asarray(closed, np.int32)
