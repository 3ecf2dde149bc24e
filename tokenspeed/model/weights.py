"""The table of a model's tensors: names, shapes, order, and which of them engines run as one.

Names are Hugging Face's; a matrix is [out, in]. All that reads, writes, initialises or checks
weights uses this table. Knows no files, no stored forms and no devices.
"""

from tokenspeed.model.config import ModelConfig

EMBEDDING = "model.embed_tokens.weight"
NORM = "model.norm.weight"  # after the last layer
HEAD = "lm_head.weight"  # absent where the head is the embedding

# The norms of a layer: before its attention and its MLP, after them, and of q and k. The switches
# of a model say which it has.
INPUT_NORM = "input_layernorm"
POST_NORM = "post_attention_layernorm"
ATTENTION_OUT_NORM = "self_attn.out_norm"
MLP_OUT_NORM = "mlp.out_norm"
Q_NORM, K_NORM = "self_attn.q_norm", "self_attn.k_norm"

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
    """Return the shape of each part of a layer, biases left out, in the order of a step."""
    hidden, inner = config.hidden_size, config.intermediate_size
    width, kv_width = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    is_by_head, normed = config.qk_norm == "head", config.qk_norm != ""
    before, after = config.norms != "after", config.norms != "before"
    parts: dict[str, tuple[bool, tuple[int, ...]]] = {
        INPUT_NORM: (before, (hidden,)),
        "self_attn.q_proj": (True, (width, hidden)),
        "self_attn.k_proj": (True, (kv_width, hidden)),
        "self_attn.v_proj": (True, (kv_width, hidden)),
        Q_NORM: (normed, (config.head_dim if is_by_head else width,)),
        K_NORM: (normed, (config.head_dim if is_by_head else kv_width,)),
        "self_attn.o_proj": (True, (hidden, width)),
        ATTENTION_OUT_NORM: (after, (hidden,)),
        POST_NORM: (before, (hidden,)),
        "mlp.gate_proj": (True, (inner, hidden)),
        "mlp.up_proj": (True, (inner, hidden)),
        "mlp.down_proj": (True, (hidden, inner)),
        MLP_OUT_NORM: (after, (hidden,)),
    }
    return {part: shape for part, (is_there, shape) in parts.items() if is_there}


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of each tensor of a model, in the order of a step."""
    vocabulary = (config.vocab_size, config.hidden_size)
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: vocabulary}
    parts = layer_shapes(config)
    biased = [part for matrix in config.biases for part in FUSED[matrix]]
    for i in range(config.num_layers):
        for part, shape in parts.items():
            shapes[layer_weight(i, part)] = shape
            if part in biased:
                shapes[layer_bias(i, part)] = shape[:1]
    shapes[NORM] = (config.hidden_size,)
    if not config.tie_word_embeddings:
        shapes[HEAD] = vocabulary
    return shapes


def layer_weight(layer: int, part: str) -> str:
    """Return the name of the tensor that is a part of a layer."""
    return f"model.layers.{layer}.{part}.weight"


def layer_bias(layer: int, part: str) -> str:
    """Return the name of the bias of a matrix of a layer."""
    return f"model.layers.{layer}.{part}.bias"


def head_weight(config: ModelConfig) -> str:
    """Return the name of the tensor that the LM head reads."""
    return EMBEDDING if config.tie_word_embeddings else HEAD


def fused_shape(config: ModelConfig, matrix: str) -> tuple[int, int]:
    """Return [out, in] of a key of FUSED, or of "head"."""
    if matrix == "head":
        return config.vocab_size, config.hidden_size
    shapes = [layer_shapes(config)[part] for part in FUSED[matrix]]
    return sum(rows for rows, _ in shapes), shapes[0][1]
