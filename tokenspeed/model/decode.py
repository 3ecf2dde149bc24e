"""Greedy and beam decoding of many prompts at once, in plain torch, for evaluation only.

Throughput matters here and latency does not, so this is not the engine: one padded batch, decoded
to its end. Knows ids; does not know text.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tokenspeed.model.llama import Llama, reach

_SPAN = 16  # the part of the cache that is read grows by so many positions
_USUAL_LENGTH = 48  # tokens of a prompt; fewer prompts are decoded together if they are longer


class Decoded(NamedTuple):
    """A greedy output.

    Attributes:
        tokens: without the end mark.
        margins: of each token, by how much its log probability exceeds the second best's; zeros if
            they were not asked for.
        is_whole: whether the model ended it, rather than the length limit.
    """

    tokens: list[int]
    margins: list[float]
    is_whole: bool


class BatchDecoder:
    """Decodes batches of prompts with one model.

    Args:
        model: in evaluation mode, on its device.
        eos: id that ends an output.
        batch_size: prompts decoded together.
    """

    def __init__(self, model: Llama, eos: int, batch_size: int = 512) -> None:
        self.model, self.eos, self.batch_size = model, eos, batch_size
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def greedy(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the greedy continuation of each prompt, without its end mark.

        An output is cut at twice the prompt's length plus 10 tokens.

        Raises:
            ValueError: a prompt and its output are longer than the model's window.
        """
        return [output.tokens for output in self._all_greedy(prompts, has_margins=False)]

    @torch.inference_mode()
    def greedy_with_margins(self, prompts: Sequence[Sequence[int]]) -> list[Decoded]:
        """Like `greedy`, with how sure the model was of each token."""
        return self._all_greedy(prompts, has_margins=True)

    @torch.inference_mode()
    def beam(self, prompts: Sequence[Sequence[int]], width: int = 4) -> list[list[int]]:
        """Like `greedy`, but the best of `width` beams, by log probability over length."""
        outputs: list[list[int]] = [[] for _ in prompts]
        for rows in self._batches(prompts, self.batch_size // width):
            found = self._beam([prompts[i] for i in rows], width)
            for row, ids in zip(rows, found, strict=True):
                outputs[row] = ids
        return outputs

    @staticmethod
    def _batches(prompts: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
        """Yield the numbers of prompts of like length, the longest first, fewer of long ones."""
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        at = 0
        while at < len(order):
            rows = max(1, min(size, size * _USUAL_LENGTH // len(prompts[order[at]])))
            yield order[at : at + rows]
            at += rows

    def _all_greedy(self, prompts: Sequence[Sequence[int]], *, has_margins: bool) -> list[Decoded]:
        outputs = [Decoded([], [], is_whole=False)] * len(prompts)
        for rows in self._batches(prompts, self.batch_size):
            made = self._greedy([prompts[i] for i in rows], has_margins)
            for row, found in zip(rows, made, strict=True):
                outputs[row] = found
        return outputs

    def _greedy(self, prompts: list[Sequence[int]], has_margins: bool) -> list[Decoded]:
        cache = _Cache(self.model, len(prompts), _max_length(prompts), self.device)
        logits, lengths = self._prefill(cache, prompts)
        limits = torch.tensor([_limit(p) for p in prompts], device=self.device)
        made = torch.full((len(prompts), int(limits.max()) + 2), self.eos, device=self.device)
        margins = torch.zeros(made.shape, device=self.device)
        rows = torch.arange(len(prompts), device=self.device)  # prompts still being continued
        done = torch.zeros(len(prompts), dtype=torch.bool, device=self.device)
        for step in range(made.shape[1]):
            token = logits.argmax(dim=-1)
            done = done | (token == self.eos) | (step + 1 > limits)
            token = token.masked_fill(done, self.eos)
            made[rows, step] = token
            if has_margins:
                best = logits.topk(2).values.float()
                margins[rows, step] = best[:, 0] - best[:, 1]
            # Asking the device which are done means waiting; every fourth step is enough.
            if step % 4 == 3:
                (left,) = (~done).nonzero(as_tuple=True)
                if not len(left):
                    break
                # The few that go on do not need the batch of the many that have ended.
                if len(left) <= len(rows) // 2:
                    cache.reorder(left)
                    rows, done, limits = rows[left], done[left], limits[left]
                    token, lengths = token[left], lengths[left]
            hidden = cache.run(token, torch.minimum(lengths, cache.last))
            logits = self.model.logits(hidden)
            lengths = lengths + 1
        ends = [row.index(self.eos) if self.eos in row else len(row) for row in made.tolist()]
        return [
            Decoded(row[:end], sure[:end], end < _limit(prompt))
            for row, sure, end, prompt in zip(
                made.tolist(), margins.tolist(), ends, prompts, strict=True
            )
        ]

    def _beam(self, prompts: list[Sequence[int]], width: int) -> list[list[int]]:
        rows = len(prompts)
        repeated = [p for p in prompts for _ in range(width)]
        cache = _Cache(self.model, rows * width, _max_length(prompts), self.device)
        logits, lengths = self._prefill(cache, repeated)
        scores = torch.full((rows, width), -torch.inf, device=self.device)
        scores[:, 0] = 0.0  # all beams are equal at first: only one of them may branch
        outputs = torch.full((rows, width, 0), self.eos, dtype=torch.int64, device=self.device)
        ended = torch.zeros(rows, width, dtype=torch.bool, device=self.device)
        counts = torch.zeros(rows, width, device=self.device)
        base = torch.arange(rows, device=self.device)[:, None] * width
        for _ in range(max(_limit(p) for p in prompts)):
            steps = logits.float().log_softmax(dim=-1).view(rows, width, -1)
            stay = torch.full_like(steps, -torch.inf)
            stay[..., self.eos] = 0.0
            steps = torch.where(ended[..., None], stay, steps)
            grown = counts + (~ended).float()
            ranked = ((scores[..., None] + steps) / grown[..., None]).view(rows, -1)
            best = ranked.topk(width, dim=-1).indices
            parent, token = best // steps.shape[-1], best % steps.shape[-1]
            scores = (scores[..., None] + steps).view(rows, -1).gather(1, best)
            counts = grown.gather(1, parent)
            ended = ended.gather(1, parent) | (token == self.eos)
            taken = parent[..., None].expand(-1, -1, outputs.shape[-1])
            outputs = torch.cat((outputs.gather(1, taken), token[..., None]), dim=-1)
            if bool(ended.all()):
                break
            cache.reorder((base + parent).view(-1))
            hidden = cache.run(token.view(-1), torch.minimum(lengths, cache.last))
            logits = self.model.logits(hidden)
            lengths = lengths + 1
        winner = (scores / counts.clamp(min=1)).argmax(dim=-1)
        table = outputs[torch.arange(rows, device=self.device), winner].tolist()
        return [row[: row.index(self.eos)] if self.eos in row else row for row in table]

    def _prefill(self, cache: "_Cache", prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([len(p) for p in prompts], device=self.device)
        longest = int(lengths.max())
        # Padding on the right is written after the prompt, where decoding overwrites it before
        # anything can attend to it.
        padded = torch.full((len(prompts), longest), self.eos, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            padded[row, : len(prompt)] = torch.tensor(prompt)
        positions = torch.arange(longest, device=self.device).repeat(len(prompts))
        hidden = cache.run(padded.to(self.device).view(-1), positions)
        last = hidden.view(len(prompts), longest, -1)[
            torch.arange(len(prompts), device=self.device), lengths - 1
        ]
        return self.model.logits(last), lengths


class _Cache:
    """Keys and values of a padded batch: [rows, kv_heads, length, head_dim] for each layer."""

    def __init__(self, model: Llama, rows: int, length: int, device: torch.device) -> None:
        config = model.config
        if 0 < config.window < length:
            raise ValueError(f"a sequence of {length} positions, the model sees {config.window}")
        length = -(-length // _SPAN) * _SPAN
        shape = (config.num_layers, rows, config.num_kv_heads, length, config.head_dim)
        dtype = next(model.parameters()).dtype
        self.model, self.rows = model, rows
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.last = torch.tensor(length - 1, device=device)
        self.index = torch.arange(length, device=device)
        self.row_index = torch.arange(rows, device=device)
        self.used = 0  # positions that any row may have written

    def run(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Run [rows * new] tokens, row by row, at their positions; return the hidden states."""
        new = len(tokens) // self.rows
        self.used = min(self.used + new, len(self.index))
        span = -(-self.used // _SPAN) * _SPAN
        at = positions.view(self.rows, new)
        mask = self.index[:span] <= at[:, None, :, None]  # [rows, 1, new, span]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            rows = self.row_index[:, None].expand(-1, new)
            self.keys[layer][rows, :, at] = k.view(self.rows, new, *k.shape[1:])
            self.values[layer][rows, :, at] = v.view(self.rows, new, *v.shape[1:])
            # Queries that share keys are rows of one matrix: no keys are repeated for them.
            groups = q.shape[1] // k.shape[1]
            grouped = q.view(self.rows, new, -1, groups, q.shape[2]).permute(0, 2, 3, 1, 4)
            out = reach(
                grouped.flatten(2, 3),
                self.keys[layer][:, :, :span],
                self.values[layer][:, :, :span],
                mask.repeat(1, 1, groups, 1),
                self.model.config.attention_softcap,
            )
            ungrouped = out.view(self.rows, -1, groups, new, q.shape[2])
            return ungrouped.permute(0, 3, 1, 2, 4).reshape(q.shape)

        return self.model.hidden_states(tokens, positions, attend)

    def reorder(self, rows: Tensor) -> None:
        """Let each row go on from the past of a given row; fewer rows make a smaller batch."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.rows, self.row_index = len(rows), self.row_index[: len(rows)]


def _limit(prompt: Sequence[int]) -> int:
    return 2 * len(prompt) + 10


def _max_length(prompts: Sequence[Sequence[int]]) -> int:
    return max(len(p) + _limit(p) + 4 for p in prompts)
