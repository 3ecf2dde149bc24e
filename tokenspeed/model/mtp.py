"""The layer of multi-token prediction (MTP): a guess at the token after the next one.

A small model beside a large one. From the hidden state that predicted a token, and that token, one
more transformer layer predicts the token after it, through the model's own embedding and head. An
engine verifies such a guess in the step that computes the token, so it changes no output: it spares
steps. The layer has positions and a cache of its own, and is a plain LLaMA layer whatever the
model's family is. It lies beside the model, in a file of its own, which may say that only some
tokens, the most frequent ones, are guessed: the head of a large vocabulary is most of the work.

Knows names, shapes and the file; does not know how guesses are used.
Sources: DeepSeek-V3, arXiv 2412.19437, section 2.2, whose names it takes; EAGLE, arXiv 2401.15077.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tokenspeed.errors import CheckpointError
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.llama import Attend, Layer, RMSNorm, rotation
from tokenspeed.model.weights import layer_shapes, weight_shapes

MTP_FILE = "mtp.safetensors"  # in the directory of a model
GUESSED = "guessed_tokens"  # optional: a tensor of the file
TOKEN_NORM, HIDDEN_NORM, JOIN, OUT_NORM = "enorm", "hnorm", "eh_proj", "norm"  # parts of the layer
# Of a model that gains. With 38 million a GPU's host takes longer between two steps than a step
# does, and guesses add to its work (measured: 0.23 to 0.30 ms a token); with 8 billion it gains.
MIN_GUESSED_WEIGHTS = 1 << 28
_LAYER, _FIRST_LAYER = "layer.", "model.layers.0."  # before the parts that every layer has
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def gains_by_guesses(model: ModelConfig) -> bool:
    """Return whether a model is so large that a layer beside it pays."""
    return sum(map(math.prod, weight_shapes(model).values())) >= MIN_GUESSED_WEIGHTS


def mtp_config(model: ModelConfig) -> ModelConfig:
    """Return the shape of the layer: a model of one plain layer, of the sizes of `model`."""
    return replace(
        model,
        num_layers=1,
        ropes=model.ropes[:1],
        layer_ropes=(),
        attention_scale=0.0,
        biases=(),
        qk_norm="",
        qk_norm_rotated=False,
        activation="silu",
        norms="before",
        attention_softcap=0.0,
        logit_softcap=0.0,
        embedding_scale=1.0,
    )


def mtp_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and the shape of each tensor of the layer of a model."""
    hidden = (model.hidden_size,)
    shapes: dict[str, tuple[int, ...]] = {
        TOKEN_NORM: hidden,
        HIDDEN_NORM: hidden,
        JOIN: (model.hidden_size, 2 * model.hidden_size),
    }
    parts = layer_shapes(mtp_config(model)).items()
    shapes |= {_LAYER + part: shape for part, shape in parts}
    shapes[OUT_NORM] = hidden
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def mtp_name(name: str) -> str:
    """Return the name in the file of what `weights` names as a tensor of a model's first layer."""
    return name.replace(_FIRST_LAYER, _LAYER)


class Mtp(nn.Module):
    """The layer in plain torch. Parameters have the names of `mtp_shapes`."""

    inv_freq: Tensor
    rope_factor: Tensor

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        config = mtp_config(model)
        size, eps = config.hidden_size, config.rms_norm_eps
        self.enorm, self.hnorm = RMSNorm(size, eps), RMSNorm(size, eps)
        self.eh_proj = nn.Linear(2 * size, size, bias=False)
        self.layer = Layer(config, 0)
        self.norm = RMSNorm(size, eps)
        frequencies, factor = rotation(config, config.max_position_embeddings)
        self.register_buffer("inv_freq", frequencies[0], persistent=False)
        self.register_buffer("rope_factor", factor[0], persistent=False)

    def forward(
        self,
        states: Tensor,
        embedded: Tensor,
        positions: Tensor,
        attend: Attend,
        dropout: float = 0.0,
    ) -> Tensor:
        """Return what the model's head maps to the logits of the token after the next one.

        Args:
            states: [tokens, hidden_size], of the model, behind its last layer and before its last
                norm.
            embedded: [tokens, hidden_size], rows of the model's embedding: of the token that
                follows each of them.
            positions: [tokens], of the states.
            attend: how tokens attend to earlier ones; the layer is number 0.
            dropout: as in `Llama`.
        Returns:
            [tokens, hidden_size], normed.
        """
        x = self.eh_proj(torch.cat((self.enorm(embedded), self.hnorm(states)), -1))
        angles = positions[:, None].float() * self.inv_freq
        cos, sin = angles.cos() * self.rope_factor, angles.sin() * self.rope_factor
        return self.norm(self.layer(x, cos[:, None], sin[:, None], attend, dropout))


def read_mtp(directory: Path, model: ModelConfig) -> dict[str, Tensor] | None:
    """Return the tensors of the layer that lies beside a model, by their names in the file.

    Returns:
        Floats of `mtp_shapes`, and GUESSED where not every token is guessed: [tokens] integers,
        ascending. None: there is no such file.
    Raises:
        CheckpointError: the file is damaged, does not fit the model, or holds NaN or infinity.
    """
    path = directory / MTP_FILE
    if not path.exists():
        return None
    shapes, tensors = mtp_shapes(model), dict[str, Tensor]()
    try:
        with safe_open(path, framework="pt") as file:
            found = set(file.keys())
            if unknown := sorted(found - set(shapes) - {GUESSED}):
                raise CheckpointError(
                    path, "is unknown: no MTP layer has such a tensor", unknown[0]
                )
            for name, shape in shapes.items():
                if name not in found:
                    raise CheckpointError(path, "is missing", name)
                tensors[name] = file.get_tensor(name)
                _check(path, name, tensors[name], shape)
            if GUESSED in found:
                tensors[GUESSED] = file.get_tensor(GUESSED)
                _check_guessed(path, tensors[GUESSED], model.vocab_size)
    except (SafetensorError, OSError) as exc:
        raise CheckpointError(path, f"cannot be read: {exc}") from exc
    return tensors


def _check(path: Path, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        problem = f"has shape {tuple(tensor.shape)}, expected {shape}: it is another model's"
        raise CheckpointError(path, problem, name)
    if tensor.dtype not in _FLOATS:
        raise CheckpointError(path, f"has dtype {tensor.dtype}, expected floating point", name)
    if not torch.isfinite(tensor).all():
        raise CheckpointError(path, "holds NaN or infinity", name)


def _check_guessed(path: Path, tokens: Tensor, vocab_size: int) -> None:
    is_list = tokens.dim() == 1 and len(tokens) > 0 and tokens.dtype in (torch.int32, torch.int64)
    if not is_list or tokens[0] < 0 or tokens[-1] >= vocab_size or (tokens.diff() <= 0).any():
        problem = f"is no ascending list of tokens below {vocab_size}"
        raise CheckpointError(path, problem, GUESSED)


def write_mtp(
    path: Path,
    layer: Mtp,
    dtype: torch.dtype = torch.bfloat16,
    guessed: Sequence[int] | None = None,
) -> None:
    """Write the layer to a file.

    Args:
        guessed: tokens that can be guessed, ascending; None: all.
    Raises:
        OSError: the file cannot be written.
    """
    tensors = {name: t.detach().to("cpu", dtype) for name, t in layer.state_dict().items()}
    if guessed is not None:
        tensors[GUESSED] = torch.tensor(guessed, dtype=torch.int64)
    try:
        save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    except SafetensorError as exc:
        raise OSError(f"{path} cannot be written: {exc}") from exc
