"""Writes the tokenizer of a GGUF file in a common form: tokenizer.json or tokenizer.model.

Byte-level vocabularies with merges become a tokenizer.json, sentencepiece's with scores a
tokenizer.model. The file only names how a text is cut: a name that is not in the tables here is
refused. Knows the fields of a GGUF file; does not know weights.
"""

import json
from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from tokenspeed.model.protobuf import as_float, as_message, as_number

# How a text is cut before merges, by tokenizer.ggml.pre: the patterns of the models' own
# tokenizer.json. Two of them differ only in how many digits stay together.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS = {
    "llama-bpe": _WORDS.replace("DIGITS", "{1,3}"),
    "qwen2": _WORDS.replace("DIGITS", ""),
    "tekken": _CASED,  # Mistral's since Nemo
}
_BY_GPT2 = ("gpt-2", "smollm")
_WHOLE_WORDS = ("llama-bpe", "tekken")  # a word of the vocabulary needs no merges
_SAME = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2"}

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6  # of tokenizer.ggml.token_type
_BPE = 2  # of sentencepiece's TrainerSpec.ModelType


def tokenizer_files(fields: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of the tokenizer, by name.

    Args:
        fields: of the GGUF file.
    Raises:
        KeyError: a field is missing. ValueError: it is of a kind that cannot be imported correctly.
    """
    kind = fields["tokenizer.ggml.model"]
    if kind == "gpt2":
        name, content, adds_bos = "tokenizer.json", _byte_pairs(fields).to_str().encode(), False
    elif kind == "llama":
        name, content, adds_bos = "tokenizer.model", _sentencepiece(fields), True
    else:
        raise ValueError(f"has a tokenizer of the kind {kind!r}, supported: gpt2, llama")
    adds_bos = fields.get("tokenizer.ggml.add_bos_token", adds_bos)
    described: dict[str, Any] = {"add_bos_token": adds_bos} | _named(fields)
    if (template := fields.get("tokenizer.chat_template")) is not None:
        described["chat_template"] = template
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    return {name: content, "tokenizer_config.json": text.encode()}


def _named(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens, by their names in a tokenizer_config.json."""
    tokens = fields["tokenizer.ggml.tokens"]
    marks = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    places = {name: fields.get(f"tokenizer.ggml.{mark}_token_id") for name, mark in marks.items()}
    return {name: tokens[i] for name, i in places.items() if i is not None and i < len(tokens)}


def _byte_pairs(fields: Mapping[str, Any]) -> tokenizers.Tokenizer:
    named = fields.get("tokenizer.ggml.pre", "default")
    cut = _SAME.get(named, named)
    if cut not in (*_PATTERNS, *_BY_GPT2):
        known = ", ".join((*_PATTERNS, *_SAME, *_BY_GPT2))
        raise ValueError(f"cuts text by the rule {cut!r}, supported: {known}")
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    keeps_words = cut in _WHOLE_WORDS
    made = tokenizers.Tokenizer(models.BPE(vocabulary, merges, ignore_merges=keeps_words))
    if cut == "qwen2":
        made.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if cut == "smollm" else []
    if cut in _PATTERNS:
        pattern = tokenizers.Regex(_PATTERNS[cut])
        steps.append(pre_tokenizers.Split(pattern, "isolated"))
    by_gpt2 = cut in _BY_GPT2
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=by_gpt2))
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    kinds = list(zip(tokens, fields["tokenizer.ggml.token_type"], strict=True))
    for special in (True, False):
        wanted = _CONTROL if special else _USER_DEFINED
        added = [
            tokenizers.AddedToken(token, special=special, normalized=False)
            for token, kind in kinds
            if kind == wanted
        ]
        (made.add_special_tokens if special else made.add_tokens)(added)
    return made


def _sentencepiece(fields: Mapping[str, Any]) -> bytes:
    """Return a ModelProto of sentencepiece: pieces with scores, merged by the best score.

    Raises:
        ValueError: there is not exactly one piece for unknown text.
    """
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    scores = fields["tokenizer.ggml.scores"]
    unknown = [i for i, kind in enumerate(kinds) if kind == _UNKNOWN]
    if len(unknown) != 1:
        raise ValueError(f"has {len(unknown)} pieces for what is unknown, expected 1")
    pieces = b"".join(
        as_message(1, as_message(1, token.encode()) + as_float(2, score) + as_number(3, kind))
        for token, score, kind in zip(tokens, scores, kinds, strict=True)
    )
    has_bytes = sum(kind == _BYTE for kind in kinds) == 256
    trained = as_number(3, _BPE) + as_number(4, len(tokens)) + as_number(35, has_bytes)
    trained += as_number(40, unknown[0])
    for field, mark in ((41, "bos"), (42, "eos"), (43, "padding")):
        trained += as_number(field, fields.get(f"tokenizer.ggml.{mark}_token_id", -1))
    adds_space = fields.get("tokenizer.ggml.add_space_prefix", True)
    drops_spaces = fields.get("tokenizer.ggml.remove_extra_whitespaces", False)
    normal = as_message(1, b"identity") + as_number(3, adds_space) + as_number(4, drops_spaces)
    normal += as_number(5, True)  # a space is written as U+2581
    return pieces + as_message(2, trained) + as_message(3, normal)
