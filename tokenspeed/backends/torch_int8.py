"""The CPU backend's arithmetic in plain torch, for use where no native library was built.

Weights are int8 with a scale for each row, activations int8 with a scale for each block of 64
columns. In the finer form weights have a scale for each block, activations one for each half of a
block, and the inputs of q, k and v twice the bits. Sums are exact; keys and values are float16
where the CPU backend has them so. This is the reference of native/kernels.cpp; everything else is
the reference backend's.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tokenspeed.backends.cpu import (
    BLOCK,
    default_cache_bits,
    int8_blocks,
    int8_weight,
    is_fine,
)
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.weights import EMBEDDING


class BlockLinear(nn.Module):
    """A product with an int8 matrix.

    Args:
        q: [out, in] int8. scale: [out] float32; or [out, blocks], for the finer form.
        bias: [out] float32, added to the product; None: there is none.
        takes_rest: multiply the rounding errors of the activations too, in 1/254 of their steps.
    """

    def __init__(
        self, q: Tensor, scale: Tensor, bias: Tensor | None = None, takes_rest: bool = False
    ) -> None:
        super().__init__()
        self.takes_rest = takes_rest
        rows, self.columns = q.shape
        self.halves = scale.dim()
        padded = pad(q, (0, -self.columns % BLOCK)).view(rows, -1, BLOCK // self.halves)
        self.blocks = padded.permute(1, 2, 0).contiguous()  # [halves or blocks, columns, out]
        self.scale = scale
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ weight.T: [rows, out] float32, from x [rows, in]."""
        # The width is given, not inferred: a step that wants no output has no rows here.
        x = pad(x.float(), (0, -self.columns % BLOCK)).view(-1, *self.blocks.shape[:2])
        peak = x.abs().amax(2, keepdim=True).clamp(min=1e-20)
        steps, scale = x * (127 / peak), peak / 127  # [rows, blocks, columns], [rows, blocks, 1]
        rounded = steps.round()
        out = self._product(rounded, scale)
        if self.takes_rest:
            out += self._product(((steps - rounded) * 254).round(), scale / 254)
        return out if self.bias is None else out + self.bias

    def _product(self, steps: Tensor, scale: Tensor) -> Tensor:
        q = steps.to(torch.int8).transpose(0, 1)  # [blocks, rows, columns]
        out = torch.zeros(len(scale), len(self.scale))
        for block in range(0, len(self.blocks), self.halves):  # the order decides the bits
            part = torch.zeros_like(out)
            for i in range(block, block + self.halves):
                part += torch._int_mm(q[i].contiguous(), self.blocks[i]).float() * scale[:, i]
            out += part if self.halves == 1 else part * self.scale[:, block // 2, None].T
        return out * self.scale if self.halves == 1 else out


def dequantized(q: Tensor, scale: Tensor) -> Tensor:
    """Return what an int8 matrix stands for: [out, in], in the dtype of its scales.

    Args:
        q: [out, in] int8. scale: [out], or [out, blocks].
    """
    if scale.dim() == 1:
        return q.to(scale.dtype) * scale[:, None]
    return q.to(scale.dtype) * scale.repeat_interleave(BLOCK, 1)[:, : q.shape[1]]


class TorchInt8Backend(ReferenceBackend):
    """Runs steps with `tokenspeed.model.llama` on int8 weights.

    Raises:
        CheckpointError: a tensor is missing, unreadable, or holds NaN or infinity.
    """

    name = "torch-int8"

    def __init__(self, checkpoint: Checkpoint, config: EngineConfig) -> None:
        is_half = default_cache_bits(checkpoint.config) == 16
        kept = torch.float16 if is_half else torch.float32
        super().__init__(checkpoint, config, cache_dtype=kept)
        finer = is_fine(checkpoint)
        take, read = int8_blocks if finer else int8_weight, 0
        for name, module in list(self.model.named_modules()):
            if isinstance(module, nn.Linear):
                owner, _, attribute = name.rpartition(".")
                takes_rest = finer and attribute in ("q_proj", "k_proj", "v_proj")
                weight = take(checkpoint, f"{name}.weight")
                linear = BlockLinear(*weight, module.bias, takes_rest)
                setattr(self.model.get_submodule(owner), attribute, linear)
                read += linear.blocks.nbytes + linear.scale.nbytes
        is_tied = self.config.tie_word_embeddings
        q, scale = (take if is_tied else int8_weight)(checkpoint, EMBEDDING)
        table = dequantized(q, scale)
        self.model.model.embed_tokens.weight = nn.Parameter(table, requires_grad=False)
        if is_tied:
            self._head_product: nn.Module = BlockLinear(q, scale)
            read += q.nbytes + scale.nbytes
        else:
            self._head_product = self.model.lm_head
        self.weight_bytes = read

    def _head(self, rows: Tensor) -> Tensor:
        return self.model.capped_logits(self._head_product(rows))
