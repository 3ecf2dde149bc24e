"""A translator built by hand: a decoder of two layers that knows some words in five languages.

Nothing is learnt. Layer 0 lets each token write down its predecessor (its heads turn with the
position, and all agree where the distance is one). Layer 1 looks for the place in the source behind
the word that was said last, and reads the word there; what is said next is that word in the
language of the token before. So it translates word by word, in whatever script, ends where the
source ends, and says more as its source grows.
"""

import json
from pathlib import Path
from typing import Final

import tokenizers
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

# Chinese, Japanese and Thai have no spaces; Arabic and Hebrew run from right to left.
WORDS: Final = {
    "good": ("好", "良い", "ดี", "جيد", "טוב"),
    "morning": ("早晨", "朝", "เช้า", "صباح", "בוקר"),
    "everyone": ("大家", "皆さん", "ทุกคน", "الجميع", "כולם"),
    "we": ("我们", "私たち", "เรา", "نحن", "אנחנו"),
    "talk": ("谈", "話す", "พูด", "نتحدث", "מדברים"),
    "about": ("关于", "について", "เรื่อง", "حول", "על"),
    "the": ("这", "その", "ที่", "هذا", "הזה"),
    "new": ("新", "新しい", "ใหม่", "جديد", "חדש"),
    "house": ("房子", "家", "บ้าน", "بيت", "בית"),
    "today": ("今天", "今日", "วันนี้", "اليوم", "היום"),
    "train": ("火车", "列車", "รถไฟ", "قطار", "רכבת"),
    "leaves": ("离开", "出る", "ออก", "يغادر", "יוצאת"),
    "soon": ("马上", "すぐ", "เร็ว", "قريبا", "בקרוב"),
    ".": ("。", "。", ".", ".", "."),
}
LANGUAGES: Final = ("zh-Hans", "ja", "th", "ar", "he")
SPACED: Final = ("ar", "he")
_MARKS: Final = ("<s>", "</s>", "<unk>", "<auto>", "<open>", "<en>", *(f"<{x}>" for x in LANGUAGES))
_HEAD: Final = 128
_SLOW: Final = 40  # the first of the numbers of a head that hardly turn with the position
_FAST: Final = 14  # as many turn fast enough to tell distances
# What a token is, by blocks of 64: `me` as a word of the source, `after` which one I come, what to
# `say` where I stand, the `last` word of the source that I said, my `language`, the answer.
_BLOCKS: Final = ("me", "after", "say", "last", "language", "answer")
_SIZE: Final = 64
_BEGIN, _END, _ALWAYS = 61, 62, 63  # in a block, behind the words


def translation(text: str, language: str) -> str:
    """Return what the model says of a text: word by word."""
    at = LANGUAGES.index(language)
    said = [WORDS[word][at] for word in text.lower().replace(".", " .").split()]
    return (" " if language in SPACED else "").join(said).replace(" .", ".")


def write_dictionary(directory: Path) -> Path:
    """Write the model; return its directory."""
    pieces = _pieces()
    tokenizer = tokenizers.Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\.|\s+"), "isolated"),
            pre_tokenizers.Split(Regex(r"\s+"), "removed"),
            pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in _MARKS])
    tokenizer.save(str(directory / "tokenizer.json"))
    pairs = [["en", language] for language in LANGUAGES]
    config = {
        "model_type": "llama",
        "vocab_size": len(pieces),
        "hidden_size": len(_BLOCKS) * _SIZE,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": _HEAD,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "max_position_embeddings": 512,
        "bos_token_id": pieces["<s>"],
        "eos_token_id": pieces["</s>"],
        "tokenspeed": {"prompt": "marks", "pairs": pairs},
    }
    (directory / "config.json").write_text(json.dumps(config))
    save_file(_weights(pieces), directory / "model.safetensors")
    return directory


def _pieces() -> dict[str, int]:
    pieces = [*_MARKS, *(f"▁{word}" for word in WORDS)]
    said = [
        _piece(word, language)
        for words in WORDS.values()
        for language, word in zip(LANGUAGES, words, strict=True)
    ]
    return {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, *said]))}


def _piece(word: str, language: str) -> str:
    return f"▁{word}" if language in SPACED and word != "." else word


def _at(block: str, index: int) -> int:
    return _BLOCKS.index(block) * _SIZE + index


def _weights(pieces: dict[str, int]) -> dict[str, torch.Tensor]:
    width = len(_BLOCKS) * _SIZE
    embed, head = torch.zeros(len(pieces), width), torch.zeros(len(pieces), width)
    embed[:, _at("me", _ALWAYS)] = 1.0
    for mark in ("<en>", "<auto>"):
        embed[pieces[mark], _at("me", _BEGIN)] = 1.0
    for mark in ("<open>", "<unk>"):  # what is not in the dictionary ends it, too
        embed[pieces[mark], _at("say", _END)] = 1.0
    head[pieces["</s>"], _at("answer", _END)] = 2.0
    for number, language in enumerate(LANGUAGES):
        token = pieces[f"<{language}>"]
        for place in (_at("last", _BEGIN), _at("say", _END), _at("language", number)):
            embed[token, place] = 1.0
    for index, (word, said) in enumerate(WORDS.items()):
        token = pieces[f"▁{word}"]
        embed[token, _at("me", index)] = embed[token, _at("say", index)] = 1.0
        for number, (language, each) in enumerate(zip(LANGUAGES, said, strict=True)):
            token = pieces[_piece(each, language)]
            embed[token, _at("last", index)] = 1.0
            if word != ".":  # of several languages, and nothing follows it
                embed[token, _at("language", number)] = 1.0
            head[token, _at("answer", index)] = 2.0
            head[token, _at("language", number)] = 1.0
    # All of one length, so that the norm makes no token louder than another.
    embed[:, _at("answer", _ALWAYS)] = (_LENGTH - embed.square().sum(dim=1)).sqrt()
    tensors = {
        "model.embed_tokens.weight": embed,
        "model.norm.weight": torch.ones(width),
        "lm_head.weight": head,
    }
    attention = (_previous(width), _lookup(width))
    for layer, matrices in enumerate(attention):
        at = f"model.layers.{layer}"
        names = zip("qkvo", matrices, strict=True)
        tensors |= {f"{at}.self_attn.{name}_proj.weight": matrix for name, matrix in names}
        tensors |= {f"{at}.{n}.weight": torch.ones(width) for n in _NORMS}
        # Next to nothing, but something that can be quantised.
        tensors |= {
            f"{at}.mlp.{n}_proj.weight": torch.full((64, width), 1e-4) for n in ("gate", "up")
        }
        tensors[f"{at}.mlp.down_proj.weight"] = torch.full((width, 64), 1e-4)
    return tensors


_NORMS: Final = ("input_layernorm", "post_attention_layernorm")
_LENGTH: Final = 6.0  # of an embedding, squared
_NORM: Final = 8.0  # what a number of 1 is after the norm


def _previous(width: int) -> tuple[torch.Tensor, ...]:
    """Write what the token before is into `after`: all turns agree at a distance of one."""
    q, k, v, o = (torch.zeros(*shape) for shape in _shapes(width))
    turn = 1e6 ** (-2 * torch.arange(_FAST) / _HEAD)
    always = _at("me", _ALWAYS)
    q[:_FAST, always] = 15.0
    k[:_FAST, always] = torch.cos(turn)
    k[_HEAD // 2 : _HEAD // 2 + _FAST, always] = torch.sin(turn)
    for index in range(_ALWAYS):
        v[index, _at("me", index)] = 1.0
        o[_at("after", index), index] = 1 / _NORM
    return q, k, v, o


def _lookup(width: int) -> tuple[torch.Tensor, ...]:
    """Find the place behind the word that was said last; its `say` is the answer."""
    q, k, v, o = (torch.zeros(*shape) for shape in _shapes(width))
    for slot, index in enumerate((*range(len(WORDS)), _BEGIN)):
        q[_SLOW + slot, _at("last", index)] = 5.0
        k[_SLOW + slot, _at("after", index)] = 1.0
    for index in range(_ALWAYS):
        v[index, _at("say", index)] = 1.0
        o[_at("answer", index), index] = 1 / _NORM
    return q, k, v, o


def _shapes(width: int) -> tuple[tuple[int, int], ...]:
    return (_HEAD, width), (_HEAD, width), (_HEAD, width), (width, _HEAD)
