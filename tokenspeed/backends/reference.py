"""The reference backend: the plain torch model over slots, on any device of torch.

Written for exactness, not for speed. Each product has the same shape whatever the batch: the rows
of a step are computed in tiles of exactly 16, and every row attends over a whole slot under a mask.
So a row's result cannot depend on its neighbours, not in a single bit, and the fast backends are
tested against it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tokenspeed.backends import NO_DRAFT, Step
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.llama import Llama, capped

TILE_ROWS = 16


class ReferenceBackend:
    """Runs steps with `tokenspeed.model.llama`.

    Args:
        checkpoint: an opened model directory.
        config: slots and their length; allocated here, once.
        device: any torch device.
        dtype: of weights and activations.
        cache_dtype: of keys and values; default: dtype. Values too large for it are clamped.
    Raises:
        BackendUnavailable: slots are longer than the model's window.
        CheckpointError: a tensor is missing, unreadable, or holds NaN or infinity.
    """

    name = "reference"
    was_ahead = False
    guessed = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: EngineConfig,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache_dtype: torch.dtype | None = None,
    ) -> None:
        config.check(checkpoint.config)
        self.model = load_llama(checkpoint, device, dtype, config.max_length)
        self.config = checkpoint.config
        self.num_slots = config.num_slots
        self.max_length = config.max_length
        self.max_step_tokens = config.max_step_tokens
        self._device = torch.device(device)
        # One extra slot takes the rows that pad a tile.
        shape = (
            self.config.num_layers,
            config.num_slots + 1,
            self.config.num_kv_heads,
            config.max_length,
            self.config.head_dim,
        )
        self._k_cache = torch.zeros(shape, dtype=cache_dtype or dtype, device=device)
        self._v_cache = torch.zeros_like(self._k_cache)
        self.cache_bytes = 2 * self._k_cache.nbytes
        self.weight_bytes = sum(p.nbytes for p in self.model.parameters())
        if not self.config.tie_word_embeddings:  # a step reads only a few rows of the embedding
            self.weight_bytes -= self.model.model.embed_tokens.weight.nbytes

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step; see `Backend.step`."""
        logits = self._logits(batch)
        return choose(logits, batch.drafts, batch.biases)

    def logits(self, batch: Step) -> NDArray[np.float32]:
        """Run one step; see `Backend.logits`."""
        return self._logits(batch).cpu().numpy()

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        for cache in (self._k_cache, self._v_cache):
            cache[:, target, :, :length] = cache[:, source, :, :length]

    def hold(self, is_held: bool) -> None:
        """No step begins before it is asked for."""

    def close(self) -> None:
        """Nothing to give back but memory."""

    @torch.inference_mode()
    def _logits(self, batch: Step) -> Tensor:
        hidden = [
            self._tile(batch, start) for start in range(0, len(batch.tokens), TILE_ROWS)
        ]  # each [TILE_ROWS, hidden_size]
        wanted = torch.cat(hidden)[torch.from_numpy(batch.outputs).long()]
        return torch.cat(
            [self._head(rows) for rows in torch.split(wanted, TILE_ROWS) if len(rows)]
            or [wanted.new_empty(0, self.config.vocab_size)]
        ).float()

    def _head(self, rows: Tensor) -> Tensor:
        padded = rows.new_zeros(TILE_ROWS, rows.shape[1])
        padded[: len(rows)] = rows
        return self.model.logits(padded)[: len(rows)]

    def _tile(self, batch: Step, start: int) -> Tensor:
        count = min(TILE_ROWS, len(batch.tokens) - start)
        tokens, slots, positions = (
            self._padded(values[start : start + count], fill)
            for values, fill in (
                (batch.tokens, 0),
                (batch.slots, self.num_slots),
                (batch.positions, 0),
            )
        )

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            most = torch.finfo(self._k_cache.dtype).max
            for cache, new in ((self._k_cache, k), (self._v_cache, v)):
                cache[layer, slots, :, positions] = new.clamp(-most, most).to(cache.dtype)
            k_cache, v_cache = self._k_cache[layer], self._v_cache[layer]
            cap = self.config.attention_softcap
            return attend_slots(q, k_cache, v_cache, slots, positions, cap)

        return self.model.hidden_states(tokens, positions, attend)

    def _padded(self, values: NDArray[np.int32], fill: int) -> Tensor:
        tile = torch.full((TILE_ROWS,), fill, dtype=torch.int64)
        tile[: len(values)] = torch.from_numpy(values)
        return tile.to(self._device)


def attend_slots(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    slots: Tensor,
    positions: Tensor,
    softcap: float = 0.0,
) -> Tensor:
    """Let each row attend to its own slot, up to and including its own position.

    Args:
        q: [rows, num_heads, head_dim].
        k_cache, v_cache: [slots, num_kv_heads, max_length, head_dim], dtype of q or a smaller one.
        slots, positions: [rows], integer.
        softcap: of scores; 0 is none.
    Returns:
        [rows, num_heads, head_dim], dtype of q.
    """
    num_kv_heads, max_length, head_dim = k_cache.shape[1:]
    group = q.shape[1] // num_kv_heads
    out = torch.empty_like(q)
    causal = torch.arange(max_length, device=q.device) <= positions[:, None]  # [rows, max_length]
    mask = torch.zeros(causal.shape, device=q.device).masked_fill_(~causal, -torch.inf)
    for slot in sorted(set(slots.tolist())):
        # All rows are computed for every slot, so that the products keep their shape.
        grouped = q.view(len(q), num_kv_heads, group, head_dim).permute(1, 2, 0, 3)
        scores = grouped @ k_cache[slot].to(q.dtype)[:, None].transpose(-1, -2)
        scores = capped(scores.float() * head_dim**-0.5, softcap)
        weights = (scores + mask).softmax(-1).to(q.dtype)
        values = (
            weights @ v_cache[slot].to(q.dtype)[:, None]
        )  # [num_kv_heads, group, rows, head_dim]
        mine = slots == slot
        out[mine] = values.permute(2, 0, 1, 3).reshape(q.shape)[mine]
    return out


def choose(
    logits: Tensor, drafts: NDArray[np.int32], biases: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Pick the next token of each row: the greedy one, or a draft that is close enough.

    Args:
        logits: [rows, vocab_size] float32.
        drafts: [rows], a token or NO_DRAFT. biases: [rows] in [0, 1).
    Returns:
        [rows] int32.
    """
    best = logits.argmax(-1)
    if not len(drafts):
        return best.cpu().numpy().astype(np.int32)
    draft = torch.from_numpy(drafts).long().to(logits.device)
    bias = torch.from_numpy(biases).to(logits.device)
    probabilities = logits.softmax(-1)
    gap = probabilities.gather(1, best[:, None]) - probabilities.gather(
        1, draft.clamp(min=0)[:, None]
    )
    accepted = (draft != NO_DRAFT) & (bias > 0) & (gap[:, 0] <= bias / (1 - bias))
    return torch.where(accepted, draft, best).cpu().numpy().astype(np.int32)


class _Uninitialised(TorchFunctionMode):
    """Skips drawing initial weights, since those of a checkpoint replace them.

    Drawing them on "meta" would import torch's compiler: 1.4 s at start, and 155 MB.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        arguments = kwargs or {}
        if func in (nn.init.normal_, nn.init.kaiming_uniform_):
            return arguments["tensor"]
        return func(*args, **arguments)


def load_llama(
    checkpoint: Checkpoint, device: str, dtype: torch.dtype, length: int | None = None
) -> Llama:
    """Build the model and fill it tensor by tensor, so that no second copy of the weights exists.

    Args:
        length: positions of a sequence; None: as many as the model's config allows.
    Raises:
        CheckpointError: a tensor is missing, unreadable, or holds NaN or infinity.
    """
    with torch.device("meta"), _Uninitialised():
        model = Llama(checkpoint.config)
    for name, _ in list(model.named_parameters()):
        tensor = checkpoint.weight(name, dtype).to(device)
        owner, _, attribute = name.rpartition(".")
        parameter = torch.nn.Parameter(tensor, requires_grad=False)
        setattr(model.get_submodule(owner), attribute, parameter)
    model.set_rotation(length or checkpoint.config.max_position_embeddings, device)
    return model.eval()
