"""The table of a model's tensors: names, shapes, order, and which of them engines run as one.

Names are Hugging Face's; a matrix is [out, in]. Whoever reads, writes, draws or checks weights asks
here. Knows no files, no stored forms and no devices.
"""

from tokenspeed.model.config import ModelConfig

EMBEDDING = "model.embed_tokens.weight"
NORM = "model.norm.weight"  # behind the last layer
HEAD = "lm_head.weight"  # absent where the head is the embedding

# Parts of a layer.
INPUT_NORM = "input_layernorm"
POST_NORM = "post_attention_layernorm"

# The matrices of a layer. Those of one entry read the same input: engines run them as one matrix,
# their rows one after the other in this order.
FUSED: dict[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
TO_RESIDUAL = FUSED["out"] + FUSED["down"]  # their output is added to the residual


def layer_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each part of a layer, in the order of a step."""
    hidden, inner = config.hidden_size, config.intermediate_size
    width, kv_width = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return {
        INPUT_NORM: (hidden,),
        "self_attn.q_proj": (width, hidden),
        "self_attn.k_proj": (kv_width, hidden),
        "self_attn.v_proj": (kv_width, hidden),
        "self_attn.o_proj": (hidden, width),
        POST_NORM: (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of each tensor of a model, in the order of a step."""
    vocabulary = (config.vocab_size, config.hidden_size)
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: vocabulary}
    for i in range(config.num_layers):
        shapes |= {layer_weight(i, part): shape for part, shape in layer_shapes(config).items()}
    shapes[NORM] = (config.hidden_size,)
    if not config.tie_word_embeddings:
        shapes[HEAD] = vocabulary
    return shapes


def layer_weight(layer: int, part: str) -> str:
    """Return the name of the tensor that is a part of a layer."""
    return f"model.layers.{layer}.{part}.weight"


def head_weight(config: ModelConfig) -> str:
    """Return the name of the tensor that the LM head reads."""
    return EMBEDDING if config.tie_word_embeddings else HEAD


def fused_shape(config: ModelConfig, matrix: str) -> tuple[int, int]:
    """Return [out, in] of a key of FUSED, or of "head"."""
    if matrix == "head":
        return config.vocab_size, config.hidden_size
    shapes = [layer_shapes(config)[part] for part in FUSED[matrix]]
    return sum(rows for rows, _ in shapes), shapes[0][1]
