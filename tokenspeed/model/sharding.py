"""Which part of each tensor a rank of a tensor-parallel group has.

Attention is cut by heads, the MLP by channels, the LM head by tokens: q, k, v, gate, up and head by
rows, the projections back to the hidden size by columns, so that their outputs summed over the
ranks are those of the whole. Embedding and norms are on every rank. Knows names and shapes; does
not know files or devices.
Source: Shoeybi et al. 2019, Megatron-LM.
"""

from dataclasses import dataclass, replace

from tokenspeed.model.config import ModelConfig
from tokenspeed.model.weights import FUSED, HEAD, TO_RESIDUAL

_BY_ROWS = FUSED["qkv"] + FUSED["gate_up"]


@dataclass(frozen=True)
class Shard:
    """One rank's part of a model.

    Attributes:
        rank: from 0 on. ranks: how many share the model.
    """

    rank: int = 0
    ranks: int = 1

    def config(self, whole: ModelConfig) -> ModelConfig:
        """Return the shape of a rank: its heads and channels, the whole vocabulary.

        Raises:
            ValueError: names what cannot be cut into that many parts.
        """
        if self.ranks == 1:
            return whole
        if whole.switches:
            raise ValueError(
                f"several GPUs cannot share a model with {', '.join(whole.switches)}; use one"
            )
        names = ("num_heads", "num_kv_heads", "intermediate_size")
        for name in names:
            if (count := getattr(whole, name)) % self.ranks:
                raise ValueError(
                    f"{name} is {count}, which {self.ranks} GPUs cannot share evenly; "
                    f"expected a number of GPUs that divides it"
                )
        return replace(whole, **{name: getattr(whole, name) // self.ranks for name in names})

    def tokens(self, vocab_size: int) -> slice:
        """Return the rows of the LM head that a rank has; the last one may have fewer."""
        most = -(-vocab_size // self.ranks)
        return slice(min(self.rank * most, vocab_size), min((self.rank + 1) * most, vocab_size))

    def part(self, name: str, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Return what to take of a stored tensor, one slice a dimension.

        Args:
            name: as in `model.weights`; `_scale` and `_packed` may follow.
            shape: as it is stored, whole. A second dimension of 1 is a scale for all columns.
        Raises:
            ValueError: it cannot be cut into that many parts.
        """
        everything = tuple(slice(0, size) for size in shape)
        base = name.removesuffix("_scale").removesuffix("_packed")
        if self.ranks == 1:
            return everything
        if base == HEAD:
            return (self.tokens(shape[0]), *everything[1:])
        layer = base.removesuffix(".weight")
        if layer.endswith(_BY_ROWS):
            return (self._even(name, shape[0]), *everything[1:])
        if layer.endswith(TO_RESIDUAL) and len(shape) == 2 and shape[1] > 1:
            return everything[0], self._even(name, shape[1])
        return everything

    def _even(self, name: str, size: int) -> slice:
        if size % self.ranks:
            raise ValueError(f"{name}: {size} cannot be cut into {self.ranks} equal parts")
        size //= self.ranks
        return slice(self.rank * size, (self.rank + 1) * size)


WHOLE = Shard()
