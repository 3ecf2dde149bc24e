"""Tiny vocabularies of the kinds that models have, made in a moment from a few sentences.

`bytes`: byte-level BPE in tokenizer.json, as Llama 3, Qwen and HY-MT have; `spaces`: BPE over ▁
with bytes for what is left, in tokenizer.json, as Gemma has; `first`: the same with a ▁ before the
first text alone, as newer files of LLaMA 2's kind have; `pieces`: sentencepiece's tokenizer.model
with chat marks beside it in added_tokens.json, as TowerInstruct has, and `pieces-legacy` before.
"""

import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from tests.conftest import SENTENCES, TINY
from tokenspeed.model.profile import shipped_profiles

KINDS = ("bytes", "spaces", "first", "pieces", "pieces-legacy")
MARKS = (
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|im_start|>", "<|im_end|>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
    *("<｜hy_begin▁of▁sentence｜>", "<｜hy_User｜>", "<｜hy_Assistant｜>"),
    *("<|startoftext|>", "<|extra_0|>", "</s>", "<s>", "[INST]"),
)
_SPLIT = r"\s*\n+|\s+(?!\S)|\s+| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+[\n]*"


def write_vocabulary(
    kind: str, directory: Path, marks: Sequence[str] = MARKS, **config: Any
) -> None:
    """Write a tokenizer and a config.json that fits it; no weights.

    `words` is `bytes` with most words as one piece, as vocabularies of a real size have them.
    """
    if kind in ("bytes", "words"):
        made = _bytes(marks, 500 if kind == "bytes" else 4000)
        size = made.get_vocab_size()
        made.save(str(directory / "tokenizer.json"))
    else:
        model = _sentencepiece_model()
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        size = processor.vocab_size() + len(marks)
        if kind.startswith("pieces"):
            own = {mark: processor.vocab_size() + i for i, mark in enumerate(marks)}
            (directory / "tokenizer.model").write_bytes(model)
            (directory / "added_tokens.json").write_text(json.dumps(own))
            said = {"legacy": kind.endswith("legacy")}
            (directory / "tokenizer_config.json").write_text(json.dumps(said))
        else:
            converted(kind == "first", marks).save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps(TINY | {"vocab_size": size} | config))


def _corpus() -> list[str]:
    worded = [profile.message for profile in shipped_profiles()]
    names = [" ".join(profile.names.values()) for profile in shipped_profiles()]
    return (SENTENCES + worded + names + ["system user assistant model"]) * 4


def _bytes(marks: Sequence[str], size: int) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    # As the big ones: marks and the line breaks behind them are one word, which a text can join.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return tokenizer


@cache
def _sentencepiece_model() -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.replace("\n", " ") for text in _corpus()),
        model_writer=written,
        model_type="bpe",
        vocab_size=600,
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        unk_piece="<unk>",
        bos_piece="<bos_>",
        eos_piece="<eos_>",
        minloglevel=2,
    )
    return written.getvalue()


def converted(
    is_first: bool, marks: Sequence[str] = MARKS, *, is_legacy: bool = False
) -> tokenizers.Tokenizer:
    """The sentencepiece model as the library `tokenizers` runs it, the reference for both.

    Args:
        is_first: a ▁ stands before the first text. is_legacy: before each one behind a mark, too.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=_sentencepiece_model())
    vocabulary = {processor.id_to_piece(i): i for i in range(processor.vocab_size())}
    scores = {piece: processor.get_score(i) for piece, i in vocabulary.items()}
    merges = [
        (piece[:at], piece[at:], piece)
        for piece in vocabulary
        for at in range(1, len(piece))
        if piece[:at] in vocabulary and piece[at:] in vocabulary
    ]
    merges.sort(key=lambda each: (-scores[each[2]], vocabulary[each[0]], vocabulary[each[1]]))
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocabulary,
            [(a, b) for a, b, _ in merges],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if is_legacy:
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    elif is_first:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if is_first or is_legacy else []),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(mark, special=True, normalized=False) for mark in marks]
    )
    return tokenizer
