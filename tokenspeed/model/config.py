"""What a model is (`ModelConfig`) and how much of it to run (`EngineConfig`).

A model is its sizes and a few switches, whatever its family; `families` reads them out of a
config.json. Knows no files, weights or devices.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.rope import Rope

DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "default"  # the shipped one


@dataclass(frozen=True)
class Stored:
    """How a checkpoint's tensors differ from the table in `weights`: undone when they are read.

    Attributes:
        names: our name of a layer's part, and the file's, where they differ.
        is_fused: q, k and v are stored as one matrix, and so are gate and up.
        norm_offset: added to the weights of norms.
        residual_scale: multiplies what is added to the residual.
        logit_scale: multiplies the logits.
        ignored: words in the names of tensors that do not belong to the text model.
    """

    names: tuple[tuple[str, str], ...] = ()
    is_fused: bool = False
    norm_offset: float = 0.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder-only transformer of LLaMA's kind, and its switches.

    With every switch off it is LLaMA: RMSNorm before each branch, rotation, grouped KV heads,
    SwiGLU. What can be folded into weights, or into cosines and sines, needs no switch.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float = 1e-5
    ropes: tuple[Rope, ...] = (Rope(),)
    layer_ropes: tuple[int, ...] = ()  # which of `ropes` each layer takes; (): all the first
    max_position_embeddings: int = 2048
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_ids: tuple[int, ...] = (2,)
    window: int = 0  # the fewest positions that a layer sees, its own included; 0: all
    attention_scale: float = 0.0  # of scores; 0: head_dim ** -0.5

    # Switches.
    biases: tuple[str, ...] = ()  # keys of weights.FUSED: matrices that add one
    qk_norm: Literal["", "head", "width"] = ""  # RMSNorm of q and k: of each head, or of all
    qk_norm_rotated: bool = False  # after the rotation, not before it
    activation: Literal["silu", "gelu_tanh"] = "silu"
    norms: Literal["before", "after", "both"] = "before"  # where a branch has its RMSNorm
    attention_softcap: float = 0.0  # cap * tanh(score / cap); 0: none
    logit_softcap: float = 0.0
    embedding_scale: float = 1.0

    stored: Stored = Stored()

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}, expected a multiple of "
                f"num_kv_heads ({self.num_kv_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}, expected an even number")
        if self.layer_ropes and len(self.layer_ropes) != self.num_layers:
            raise ValueError(
                f"{len(self.layer_ropes)} layers are described, expected {self.num_layers}"
            )

    @property
    def rope(self) -> Rope:
        """The rotation of most layers."""
        return self.ropes[0]

    @property
    def score_scale(self) -> float:
        """What scores are multiplied by before softmax."""
        return self.attention_scale or self.head_dim**-0.5

    @property
    def switches(self) -> tuple[str, ...]:
        """The names of what is switched on; none: LLaMA."""
        named = {f.name: f.default for f in fields(self)}
        return tuple(name for name in _SWITCHES if getattr(self, name) != named[name])

    def rope_of(self, layer: int) -> int:
        """Return which of `ropes` a layer takes."""
        return self.layer_ropes[layer] if self.layer_ropes else 0


_SWITCHES = (
    "biases",
    "qk_norm",
    "activation",
    "norms",
    "attention_softcap",
    "logit_softcap",
    "embedding_scale",
)


@dataclass(frozen=True)
class EngineConfig:
    """How much the engine sets aside and how wide its steps may be."""

    num_slots: int = 16  # sequences whose keys and values are kept at the same time
    max_length: int = 512  # positions of one slot, prompt and output together
    max_step_tokens: int = 256  # rows of one step; longer prompts are computed in chunks
    max_step_ms: float = 60.0  # a step gets only as many rows as fit this time, by earlier steps
    num_threads: int = 0  # of the CPU backend; 0: the cores that the process may use

    def check(self, model: ModelConfig) -> None:
        """Refuse slots longer than a model's window: no backend limits attention to a window.

        Raises:
            BackendUnavailable: they are longer than what one of its layers sees.
        """
        if 0 < model.window < self.max_length:
            raise BackendUnavailable(
                f"slots have {self.max_length} positions, but layers of this model see "
                f"{model.window} at most; sliding windows are not supported: use shorter slots"
            )
