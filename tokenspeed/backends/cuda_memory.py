"""What the steps of one GPU backend read and write: fields, cache, workspace and scratch.

Everything is allocated here, once. A step's rows are written to pinned memory and copied to the
device in one piece; its tokens are read from pinned memory. Knows where things lie and how large
they are; does not know in which order kernels run.
"""

from copy import copy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tokenspeed.backends import ANY_TOKEN, NO_DRAFT, Step
from tokenspeed.backends.cuda_weights import MtpWeights, Weights
from tokenspeed.kernels.attention import attention_scratch
from tokenspeed.kernels.draft import Drafted
from tokenspeed.kernels.embedding import Begin
from tokenspeed.kernels.exchange import Member, alone
from tokenspeed.kernels.lm_head import (
    COUNT_STRIDE,
    MAX_STOPS,
    NO_TOKEN,
    Ahead,
    NextStep,
    head_scratch,
)
from tokenspeed.kernels.mtp import Pairs
from tokenspeed.kernels.split_k import SplitScratch, split_needs, split_scratch
from tokenspeed.kernels.tuned import (
    head_block_n,
    matrix_parts,
    shares_parts,
    step_tile,
)
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.llama import rotation_tables

MAX_NARROW_ROWS = 64  # in steps up to this width each row attends in programs of its own
# 16 bytes apart, as each is passed as an aligned pointer.
_ROWS, _OUTPUTS, _TILES, _VOID, _BEFORE, _TURN, _VERIFIES, _ENDS, _PREVIOUS = range(0, 36, 4)


class RowFields(NamedTuple):
    """The description of a step's rows; each field is a row of one int32 buffer.

    Attributes:
        tokens, slots, positions: of each row.
        outputs, drafts, biases: of each wanted row; biases are float32.
        parity: which half of the results each wanted row goes to.
        tile_starts, tile_counts: runs of rows of one slot that attend together.
        stop_previous, stop_tokens: MAX_STOPS pairs, see `Step.stops`; then as many behind a draft.
        counts: rows, outputs, tiles, whether the step is void, the numbers of the step before and
            of this one, and what `Drafted` has of a draft, each at its place.
    """

    tokens: Any
    slots: Any
    positions: Any
    outputs: Any
    drafts: Any
    biases: Any
    parity: Any
    tile_starts: Any
    tile_counts: Any
    stop_previous: Any
    stop_tokens: Any
    counts: Any


class HostWords(NamedTuple):
    """Pinned memory as arrays: an element of a tensor takes microseconds to read or write."""

    chosen: NDArray[np.int32]
    ended: NDArray[np.int32]
    hold: NDArray[np.int32]


class StepMemory:
    """All memory of a backend but the weights.

    Args:
        weights: of the model, on the device of the memory; may be on "meta".
        config: slots, their length and the widest step.
        member: None: a GPU that runs the whole model alone.
    Attributes:
        fields: on the device, [max_step_tokens] each, padded.
        num_rows, num_outputs, num_tiles: [1] int32 on the device. turn: the same, the number of the
            step, from 1 on.
        begin, ahead: what the first and the last kernel of a step agree on; see there.
        draft: what goes on behind a step that verifies one reads and changes.
        launched: int32 on the device, counts steps of each width; see `Ahead`.
        member: the place among GPUs that share the model.
        chosen: [2, max_step_tokens] int32, ended: [2], pinned; written by `select`.
        hold: [1] int32, pinned; read by `select`.
        host: the same three as the host reads and writes them.
        cache: [2, layers, slots, kv_heads, max_length, head_dim], k and v; the MTP layer's is last.
        cos, sin: [ropes, max_length, head_dim / 2] float32.
        hidden: [rows, hidden_size] float32. scaled: the same in the dtype of rows.
        sums: [norms, rows] int64, sums of squares of the hidden states before each norm.
        q, values: [rows, heads * head_dim]. inner: [rows, intermediate_size].
        raw: [rows, heads + kv_heads, head_dim] float32, q and k before their norm. branch:
            [rows, hidden_size] float32, a branch's output before its norm. Either has no rows
            where the model has no such norm.
        mtp: what the MTP layer has besides; None: there is none.
    """

    def __init__(
        self, weights: Weights, config: EngineConfig, member: Member | None = None
    ) -> None:
        model, device = weights.config, str(weights.embedding.device)
        self.model, self.device = model, device
        self.member = member or alone(device)
        self.max_step_tokens = config.max_step_tokens
        # Fields are views into one buffer, each aligned for vector loads.
        padded = padded_rows(config)
        pinned = weights.embedding.is_cuda
        shape = (len(RowFields._fields), max(padded, 2 * MAX_STOPS))
        host = torch.zeros(shape, dtype=torch.int32, pin_memory=pinned)
        self._host = host
        self._host_fields = RowFields(*host.numpy())
        self._buffer = torch.zeros_like(host, device=device)
        fields = RowFields(*self._buffer)
        self.fields = fields._replace(biases=fields.biases.view(torch.float32))
        self.num_rows, self.num_outputs, self.num_tiles, void, before, self.turn, *of_draft = (
            fields.counts[i : i + 1] for i in range(_ROWS, _PREVIOUS + 1, COUNT_STRIDE)
        )
        self.chosen = torch.zeros(2, padded, dtype=torch.int32, pin_memory=pinned)
        self.ended = torch.zeros(2, dtype=torch.int32, pin_memory=pinned)
        self.hold = torch.zeros(1, dtype=torch.int32, pin_memory=pinned)
        host_tensors = (self.chosen, self.ended, self.hold)
        self.host = HostWords(*(tensor.numpy() for tensor in host_tensors))
        counts = 32 * COUNT_STRIDE
        self.launched = torch.ones(counts, dtype=torch.int32, device=device)  # empty words say 0
        self.begin = Begin(self.num_rows, self.num_outputs, self.num_tiles, void, before, self.turn)
        stops = (fields.stop_previous[:MAX_STOPS], fields.stop_tokens[:MAX_STOPS])
        host_words = (self.hold, void, self.ended)
        self.ahead = Ahead(*stops, *host_words, self.launched, self.turn, before)

        dtype = weights.embedding.dtype
        slots = (config.num_slots, model.num_kv_heads, config.max_length, model.head_dim)
        layers = model.num_layers + (weights.mtp is not None)
        self.cache = torch.zeros(2, layers, *slots, dtype=dtype, device=device)
        tables = rotation_tables(model, config.max_length)
        self.cos, self.sin = (table.to(device) for table in tables)
        width = model.num_heads * model.head_dim
        norms = 2 * model.num_layers + 1
        self.hidden = torch.zeros(padded, model.hidden_size, device=device)
        self.scaled = torch.zeros(padded, model.hidden_size, dtype=dtype, device=device)
        self.sums = torch.zeros(norms, padded, dtype=torch.int64, device=device)
        self.q = torch.zeros(padded, width, dtype=dtype, device=device)
        self.values = torch.zeros(padded, width, dtype=dtype, device=device)
        self.inner = torch.zeros(padded, model.intermediate_size, dtype=dtype, device=device)
        heads = (model.num_heads + model.num_kv_heads, model.head_dim)
        self.raw = torch.zeros(padded if model.qk_norm else 0, *heads, device=device)
        normed_rows = padded if model.norms != "before" else 0
        self.branch = torch.zeros(normed_rows, model.hidden_size, device=device)
        self.attention_scratch = attention_scratch(
            min(padded, MAX_NARROW_ROWS),
            model.num_heads,
            model.num_kv_heads,
            model.head_dim,
            config.max_length,
            device,
        )
        block_n = head_block_n(weights.head.n, weights.head.k)
        self.head_scratch = head_scratch(padded, weights.head.n, block_n, device)
        self.split_scratch = _split_scratch(weights, step_widths(config.max_step_tokens), device)
        self.verifies, *of_stops = of_draft
        self.mtp = None if weights.mtp is None else MtpMemory(self, weights.mtp)
        chosen = fields.tokens if self.mtp is None else self.mtp.chosen.tokens
        self.draft = Drafted(
            *(*self.fields[:7], chosen),
            *(self.num_rows, self.num_outputs, self.num_tiles, self.verifies),
            *(fields.stop_previous, fields.stop_tokens, *of_stops, void),
        )

    @property
    def workspace_bytes(self) -> int:
        """Bytes on the device besides weights and cache."""
        tensors = (self.cos, self.sin, self.hidden, self.scaled, self.sums, self.q, self.values)
        scratch = (self.attention_scratch, self.head_scratch, self.split_scratch)
        inner = (self.inner, self.raw, self.branch)
        parts = (*tensors, *inner, self._buffer, *scratch, self.member.inbox)
        return sum(part.nbytes for part in parts) + (0 if self.mtp is None else self.mtp.nbytes)

    def upload(self, batch: Step, parity: int, turn: int = 1) -> None:
        """Write a step's rows to pinned memory and copy them to the device.

        Args:
            parity: which half of the results the step's tokens go to.
            turn: the number of the step, the same on all GPUs that share it.
        """
        self.write(batch, parity, turn)
        self.send(self)

    def send(self, written: "StepMemory") -> None:
        """Copy a written step, this memory's or another GPU's, to the device."""
        self._buffer.copy_(written._host, non_blocking=True)

    def clear(self) -> None:
        """Zero the rows on the device, so that a step has none."""
        self._buffer.zero_()

    def write(self, batch: Step, parity: int, turn: int) -> None:
        """Write a step's rows to pinned memory; see `upload`."""
        rows, outputs, host = len(batch.tokens), len(batch.outputs), self._host_fields
        host.tokens[:rows] = batch.tokens
        host.slots[:rows] = batch.slots
        host.positions[:rows] = batch.positions
        host.outputs[:outputs] = batch.outputs
        host.drafts[:outputs] = batch.drafts
        host.biases.view(np.float32)[:outputs] = batch.biases
        host.parity[:] = parity
        tiles, width = rows, step_width(rows, self.max_step_tokens)
        if width > MAX_NARROW_ROWS:
            starts, counts = split_tiles(batch.slots, tile_tokens(self.model, width))
            tiles = len(starts)
            host.tile_starts[:tiles] = starts
            host.tile_counts[:tiles] = counts
        stops = np.zeros((0, 2), np.int32) if batch.stops is None else batch.stops[:MAX_STOPS]
        host.stop_previous[:] = ANY_TOKEN
        host.stop_tokens[:] = NO_TOKEN.value
        verifies = batch.num_ends is not None
        at = slice(MAX_STOPS * verifies, MAX_STOPS * verifies + len(stops))
        host.stop_previous[at], host.stop_tokens[at] = stops.T
        host.counts[[_ROWS, _OUTPUTS, _TILES]] = rows, outputs, tiles
        host.counts[[_VOID, _BEFORE]] = 0, turn - 1
        host.counts[_VERIFIES] = verifies
        if verifies and outputs:
            host.counts[[_ENDS, _PREVIOUS]] = batch.num_ends, batch.tokens[batch.outputs[0]]

    def read(self, parity: int, count: int) -> NDArray[np.int32]:
        """Return the first `count` tokens of one half of the results."""
        return self.host.chosen[parity, :count].copy()

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        self.cache[:, :, target, :, :length] = self.cache[:, :, source, :, :length]


class MtpMemory:
    """What the MTP layer reads and writes, beside the memory that it shares with the steps.

    Attributes:
        step: that memory, but with the layer's own hidden states, sums, cache and exchanges.
        joined: [rows, 2 * hidden_size], the layer's input.
        guessed: [2, max_step_tokens] int32, pinned; written by the second choice of a step. As the
            first one turns the halves over, these are in the other half. They are places in
            `MtpWeights.names`.
        chosen: where the first choice leaves its tokens, each at its row. guesses: the second one.
        names: of the places, on the host.
        pairs: what the last kernel of a step reads and changes.
        head_scratch: of the layer's head.
        no_drafts, no_biases, alone: what the second choice reads and leaves for nobody.
    """

    def __init__(self, memory: StepMemory, weights: MtpWeights) -> None:
        device, rows = memory.device, len(memory.scaled)
        step = self.step = copy(memory)
        step.model, step.cache = weights.config, memory.cache[:, -1:]
        step.hidden, step.scaled = torch.zeros_like(memory.hidden), torch.zeros_like(memory.scaled)
        step.sums = torch.zeros(3, rows, dtype=torch.int64, device=device)
        step.member = memory.member._replace(numbers=memory.member.numbers[-2:])
        joined = 2 * memory.model.hidden_size
        self.joined = torch.zeros(rows, joined, dtype=memory.scaled.dtype, device=device)
        self.guessed = torch.zeros_like(memory.chosen, pin_memory=memory.chosen.is_pinned())
        self._places: NDArray[np.int32] = self.guessed.numpy()
        lines = torch.zeros(8, max(rows, MAX_STOPS), dtype=torch.int32, device=device)
        chosen, positions, no_drafts, no_biases, guesses, counts, stops, words = lines
        no_drafts.fill_(NO_DRAFT)
        fields = memory.fields
        self.chosen = NextStep(fields.tokens, chosen, positions, fields.parity)
        self.guesses = NextStep(fields.tokens, guesses, positions, fields.parity)
        self.pairs = Pairs(
            *(memory.num_rows, memory.num_outputs, memory.verifies),
            *(fields.tokens, fields.positions, fields.drafts),
            *(fields.parity, chosen, guesses, weights.names.to(device)),
        )
        block_n = head_block_n(weights.head.n, weights.head.k)
        self.names: NDArray[np.int32] = weights.names.numpy()
        self.head_scratch = head_scratch(rows, weights.head.n, block_n, device)
        self.no_drafts, self.no_biases = no_drafts, no_biases.view(torch.float32)
        singles = (words[i : i + 1] for i in range(0, 20, COUNT_STRIDE))
        hold, void, turn, before, ended = singles
        self.alone = Ahead(stops, stops, hold, void, ended, counts, turn, before)

    def read(self, parity: int, count: int) -> NDArray[np.int32]:
        """Return the first `count` guesses of the step with this half of the results."""
        return self.names[self._places[1 - parity, :count]]

    @property
    def nbytes(self) -> int:
        """Bytes on the device besides the shared memory."""
        step = self.step
        parts = (step.hidden, step.scaled, step.sums, self.joined, self.head_scratch)
        return sum(part.nbytes for part in parts)


def _split_scratch(weights: Weights, widths: list[int], device: str) -> SplitScratch:
    """Allocate what steps need for matrices that are cut along K; all of them share it."""
    layer, elements, counters = weights.layers[0], 0, 0
    matrices = [("qkv", layer.qkv), ("out", layer.out), ("gate_up", layer.gate_up)]
    matrices.append(("down", layer.down))
    if weights.mtp is not None:
        matrices.append(("out", weights.mtp.join))
    for kernel, matrix in matrices:
        for rows in widths:
            if shares_parts(rows):
                (height, tile), parts = (
                    step_tile(kernel, matrix, rows),
                    matrix_parts(kernel, matrix),
                )
                needs = split_needs(rows, matrix.n, height, tile, parts)
                elements, counters = max(elements, needs[0]), max(counters, needs[1])
    return split_scratch(elements, counters, device)


def padded_rows(config: EngineConfig) -> int:
    """Return the number of rows of each buffer."""
    return -(-max(config.max_step_tokens, 16) // 16) * 16


def step_widths(max_step_tokens: int) -> list[int]:
    """Return the widths that steps run at: powers of two, and the widest step."""
    widths = [2**i for i in range(max_step_tokens.bit_length())]
    return [w for w in widths if w < max_step_tokens] + [max_step_tokens]


@cache
def step_width(rows: int, max_step_tokens: int) -> int:
    """Return the width that a step of so many rows runs at.

    Raises:
        ValueError: it has more rows than a step may have.
    """
    if rows > max_step_tokens:
        raise ValueError(f"step has {rows} rows, expected at most {max_step_tokens}")
    return min(max(1, 1 << (rows - 1).bit_length()), max_step_tokens)


def tile_tokens(model: ModelConfig, width: int) -> int:
    """Return how many rows of a slot attend together: a dot of 32 rows, or one in short steps."""
    group = model.num_heads // model.num_kv_heads
    return 1 if width <= MAX_NARROW_ROWS else max(2, 32 // group)


def split_tiles(
    slots: NDArray[np.int32], tile_tokens: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut rows into runs of one slot of at most tile_tokens: their starts and counts."""
    bounds = np.flatnonzero(np.diff(slots, prepend=-1))  # first row of each run
    ends = np.append(bounds[1:], len(slots))
    pairs = zip(bounds, ends, strict=True)
    starts = np.concatenate([np.arange(a, b, tile_tokens) for a, b in pairs])
    return starts, np.diff(np.append(starts, len(slots)))
