"""The CPU backend's arithmetic in plain torch: what serves where no native library was built.

Weights int8 with one scale a row, activations int8 with one scale for each block of 64 columns,
sums exact: as in native/kernels.cpp, whose reference this is. Everything between the products is
the reference backend's.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tokenspeed.backends.cpu import BLOCK, int8_weight
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.weights import EMBEDDING


class BlockLinear(nn.Module):
    """A product with an int8 matrix.

    Args:
        q: [out, in] int8. scale: [out] float32.
        bias: [out] float32, added to the product; None: there is none.
    """

    def __init__(self, q: Tensor, scale: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        rows, self.columns = q.shape
        blocks = pad(q, (0, -self.columns % BLOCK)).view(rows, -1, BLOCK)
        self.blocks = blocks.permute(1, 2, 0).contiguous()  # [blocks, BLOCK, out]
        self.scale = scale
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ weight.T: [rows, out] float32, from x [rows, in]."""
        x = pad(x.float(), (0, -self.columns % BLOCK)).view(len(x), -1, BLOCK)
        peak = x.abs().amax(2, keepdim=True).clamp(min=1e-20)
        q = (x * (127 / peak)).round().to(torch.int8).transpose(0, 1)  # [blocks, rows, BLOCK]
        scale = peak / 127  # [rows, blocks, 1]
        out = torch.zeros(len(x), len(self.scale))
        for i, block in enumerate(self.blocks):  # in this order: it is the result's
            out += torch._int_mm(q[i].contiguous(), block).float() * scale[:, i]
        out *= self.scale
        return out if self.bias is None else out + self.bias


class TorchInt8Backend(ReferenceBackend):
    """Runs steps with `tokenspeed.model.llama` on int8 weights.

    Raises:
        CheckpointError: a tensor is missing, unreadable, or holds NaN or infinity.
    """

    name = "torch-int8"

    def __init__(self, checkpoint: Checkpoint, config: EngineConfig) -> None:
        super().__init__(checkpoint, config)
        read = 0
        for name, module in list(self.model.named_modules()):
            if isinstance(module, nn.Linear):
                owner, _, attribute = name.rpartition(".")
                linear = BlockLinear(*int8_weight(checkpoint, f"{name}.weight"), module.bias)
                setattr(self.model.get_submodule(owner), attribute, linear)
                read += linear.blocks.nbytes + linear.scale.nbytes
        q, scale = int8_weight(checkpoint, EMBEDDING)
        table = nn.Parameter(q.float() * scale[:, None], requires_grad=False)
        self.model.model.embed_tokens.weight = table
        if self.config.tie_word_embeddings:
            self._head_product: nn.Module = BlockLinear(q, scale)
            read += q.nbytes + scale.nbytes
        else:
            self._head_product = self.model.lm_head
        self.weight_bytes = read

    def _head(self, rows: Tensor) -> Tensor:
        return self.model.capped_logits(self._head_product(rows))
