"""The training step of an MTP layer, beside a model that stays as it is.

One pass of the model over packed sequences gives the states of all positions. The layer guesses
each token of an output, its end mark included, from the state two tokens before it and the token
in between. Knows batches; does not know texts, time or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tokenspeed.model.llama import Llama
from tokenspeed.model.mtp import Mtp
from tokenspeed.training.attention import Reach, find_reach, packed_attention
from tokenspeed.training.loop import rate_share
from tokenspeed.training.mtp_data import batches, mtp_shapes
from tokenspeed.training.packing import IGNORED, Batch, Sequenced

_RATE = 0.04  # highest learning rate, times the root of the hidden size
_WARMUP_STEPS, _FINAL_SHARE = 30, 0.02
_CLIP_NORM = 1.0
_WEIGHT_DECAY = 0.01
_LOGITS = 1 << 28  # computed at one time; 1 GiB in float32, and as much again for their gradient


@dataclass(frozen=True)
class Score:
    """How often guesses were right on text that was held out.

    Of each output all but the first token count, which no engine guesses: the step that reads the
    prompt computes it.

    Attributes:
        guesses, right: of all tokens, end marks included.
        ends, right_ends: of end marks.
    """

    guesses: int = 0
    right: int = 0
    ends: int = 0
    right_ends: int = 0

    @property
    def share(self) -> float:
        """The share of guesses that were right."""
        return self.right / max(1, self.guesses)

    @property
    def end_share(self) -> float:
        """The share of end marks that were guessed."""
        return self.right_ends / max(1, self.ends)

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.guesses + other.guesses,
            self.right + other.right,
            self.ends + other.ends,
            self.right_ends + other.right_ends,
        )

    def __str__(self) -> str:
        return f"{self.share:.1%} of guesses right, {self.end_share:.1%} of end marks"


class MtpTrainer:
    """Trains the layer of one model.

    Args:
        llama: the model, on its device; it is not changed, and no copy of it is made.
        ends: ids that end an output.
        tokens: of a batch.
        seed: of what is random in the initial weights.
    """

    def __init__(self, llama: Llama, ends: frozenset[int], tokens: int, seed: int = 1) -> None:
        self.llama, self.ends, self.shapes = llama, ends, mtp_shapes(tokens)
        self.device = llama.model.norm.weight.device
        is_cuda = self.device.type == "cuda"
        self.layer = begun(llama, seed)
        self.optimizer = torch.optim.AdamW(
            self.layer.parameters(), betas=(0.9, 0.98), weight_decay=_WEIGHT_DECAY, fused=is_cuda
        )
        self.rate = _RATE * llama.config.hidden_size**-0.5
        self.num_steps = 0
        self._states, self._guesses = frozen_states, guesses
        if is_cuda:
            self._states = torch.compile(frozen_states, dynamic=False)
            self._guesses = torch.compile(guesses, dynamic=False)
        self._head_rows = self.shapes.targets
        while self._head_rows > 1 and self._head_rows * llama.config.vocab_size > _LOGITS:
            self._head_rows = -(-self._head_rows // 2)

    def step(self, batch: Batch, share: float) -> Tensor:
        """Learn from one batch; return its mean loss, on the device.

        Args:
            share: of the schedule that is over.
        """
        self.layer.train()
        b = batch.to(self.device)
        with self._autocast():
            made = self._guess(b)
        # Logits of a large vocabulary would not fit all at once, and they are needed part by part.
        leaf = made.detach().requires_grad_()
        total = torch.zeros((), device=self.device)
        parts, labels_of = (torch.split(x, self._head_rows) for x in (leaf, b.labels))
        for part, labels in zip(parts, labels_of, strict=True):
            with self._autocast():
                loss = summed_loss(self.llama, part, labels) / max(1, batch.num_targets)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        made.backward(leaf.grad)  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.layer.parameters(), _CLIP_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * rate_share(self.num_steps, share, _WARMUP_STEPS, _FINAL_SHARE)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.num_steps += 1
        return total

    @torch.no_grad()
    def judge(self, examples: Sequence[Sequenced], guessed: Sequence[int] | None = None) -> Score:
        """Return how often the layer guesses the outputs of examples.

        Args:
            guessed: tokens that can be guessed, ascending; None: all.
        """
        self.layer.eval()
        score = Score()
        names = None if guessed is None else torch.tensor(guessed, device=self.device)
        ends = torch.tensor(sorted(self.ends), device=self.device)
        for batch in batches(examples, self.shapes, np.random.default_rng(0)):
            b = batch.to(self.device)
            with self._autocast():
                made = self._guess(b)
                parts = torch.split(made, self._head_rows)
                found = [_best(self.llama.logits(part), names) for part in parts]
            right = torch.cat(found) == b.labels
            document = torch.searchsorted(b.borders[1:].contiguous(), b.rows, right=True)
            is_asked = b.labels != IGNORED
            is_asked[1:] &= document[1:] == document[:-1]
            is_asked[0] = False
            is_end = is_asked & torch.isin(b.labels, ends)
            counts = (is_asked, is_asked & right, is_end, is_end & right)
            score += Score(*(int(count.sum()) for count in counts))
        return score

    def _guess(self, b: Batch) -> Tensor:
        """Return what the head maps to guesses of the labels, [targets, hidden_size]."""
        reach = find_reach(b.borders, self.shapes.tokens)
        with torch.no_grad():
            states = self._states(self.llama, b.tokens, b.positions, reach)
            embedded = self.llama.model.embed_tokens(b.tokens.roll(-1))
        # `rows` predict the token after them, and the layer does one before. Padding may begin
        # with row -1, the last one.
        return self._guesses(self.layer, states, embedded, b.positions, reach, b.rows - 1)

    def _autocast(self) -> torch.autocast:
        is_cuda = self.device.type == "cuda"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_cuda)


def _best(logits: Tensor, names: Tensor | None) -> Tensor:
    """Return the most likely token of each row; names: [tokens], of these alone."""
    return logits.argmax(-1) if names is None else names[logits[:, names].argmax(-1)]


def frozen_states(llama: Llama, tokens: Tensor, positions: Tensor, reach: Reach) -> Tensor:
    """Return the states of a packed stream before the model's last norm, [tokens, hidden_size]."""
    attend = packed_attention(reach, llama.config.attention_softcap)
    return llama.model.states(tokens, positions, attend)


def guesses(
    layer: Mtp, states: Tensor, embedded: Tensor, positions: Tensor, reach: Reach, rows: Tensor
) -> Tensor:
    """Return what the layer makes of some rows of a packed stream, [rows, hidden_size]."""
    return layer(states, embedded, positions, packed_attention(reach))[rows]


def summed_loss(llama: Llama, made: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of guesses, summed, in float32.

    Args:
        made: [rows, hidden_size]. labels: [rows] int64; IGNORED does not count.
    """
    logits = llama.logits(made).float()
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")


def begun(llama: Llama, seed: int) -> Mtp:
    """Return a layer to begin with, in float32 on the model's device.

    It is the last layer of the model once more, as far as that has the same parts, on its states
    as they are, and has the model's last norm: so it begins with what the model has just said.
    """
    config, device = llama.config, llama.model.norm.weight.device
    layer = Mtp(config).to(device)  # angles, which the device of a context does not reach, too
    generator = torch.Generator(device).manual_seed(seed)
    last = dict(llama.model.layers[-1].named_parameters())
    with torch.no_grad():
        for name, parameter in layer.layer.named_parameters():
            found = last.get(name)
            if found is not None and found.shape == parameter.shape:
                parameter.copy_(found)
            elif parameter.dim() == 2:
                parameter.normal_(std=parameter.shape[1] ** -0.5, generator=generator)
        layer.norm.weight.copy_(llama.model.norm.weight)
        size = config.hidden_size
        layer.eh_proj.weight[:, :size].normal_(std=0.1 * size**-0.5, generator=generator)
        layer.eh_proj.weight[:, size:] = torch.eye(size, device=device)
    return layer
