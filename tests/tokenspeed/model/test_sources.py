"""Where tensors stand: fused ones by their rows, folded ones by their factors, none left over."""

from dataclasses import replace

import torch

from tests.tokenspeed.model.test_config import MODEL
from tokenspeed.model.config import Stored
from tokenspeed.model.rope import Rope
from tokenspeed.model.sources import Source, find_sources, unknown
from tokenspeed.model.weights import EMBEDDING, HEAD, NORM, layer_weight, weight_shapes


def test_a_plain_model_is_read_as_it_stands() -> None:
    names = list(weight_shapes(MODEL))
    sources = find_sources(MODEL, names)
    assert all(sources[name] == Source(name) for name in names)


def test_parts_of_a_fused_matrix_follow_each_other() -> None:
    model = replace(MODEL, stored=Stored(is_fused=True))
    sources = find_sources(model, ["model.embed_tokens.weight"])
    parts = [sources[layer_weight(0, f"self_attn.{p}_proj")] for p in "qkv"]
    assert [part.rows for part in parts] == [(0, 32), (32, 48), (48, 64)]
    assert {(part.name, part.height) for part in parts} == {
        ("model.layers.0.self_attn.qkv_proj.weight", 64)
    }


def test_what_is_folded_in() -> None:
    stored = Stored(norm_offset=1.0, residual_scale=0.5, logit_scale=0.25)
    sources = find_sources(replace(MODEL, stored=stored), [EMBEDDING])
    one = torch.ones(2, dtype=torch.bfloat16)
    assert sources[layer_weight(1, "input_layernorm")].folded(one).tolist() == [2.0, 2.0]
    assert sources[layer_weight(1, "mlp.down_proj")].folded(one).tolist() == [0.5, 0.5]
    assert sources[NORM].folded(one).tolist() == [0.5, 0.5]
    assert sources[NORM].folded(one).dtype == torch.float32
    untouched = sources[layer_weight(1, "mlp.up_proj")].folded(one)
    assert untouched is one


def test_heads_that_turn_in_part_are_put_in_order() -> None:
    sources = find_sources(replace(MODEL, ropes=(Rope(dim=4),)), [EMBEDDING])
    rows = torch.arange(16)[:, None]
    ordered = sources[layer_weight(0, "self_attn.k_proj")].ordered(rows)[:, 0].tolist()
    assert ordered == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    assert sources[layer_weight(0, "self_attn.v_proj")].order is None


def test_the_head_stands_where_the_file_has_it() -> None:
    assert find_sources(MODEL, [EMBEDDING])[HEAD].name == HEAD
    for suffix in ("", "_packed"):
        names = [EMBEDDING, f"language_model.{HEAD}{suffix}"]
        assert find_sources(MODEL, names)[HEAD].name == f"language_model.{HEAD}"


def test_what_nobody_reads_is_named() -> None:
    names = list(weight_shapes(MODEL))
    sources = [find_sources(MODEL, names)[name] for name in names]
    known = [*names, f"{names[3]}_scale", "model.layers.0.self_attn.rotary_emb.inv_freq"]
    assert list(unknown(known, sources, ())) == []
    more = ["vision_tower.a.weight", "model.layers.0.self_attn.q_proj.bias", "model.visions.b"]
    assert list(unknown(known + more, sources, ["vision_tower"])) == sorted(more[1:])
