"""Tokenizers of GGUF files: the ids of the tokenizer that the file was written from."""

import io
import json
from functools import cache
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.model.gguf_tokenizer import tokenizer_files

TEXTS = ["the train to the city leaves in ten minutes", "where is the station", "der Zug fährt ab"]

DEFINED = ["<start_of_turn>", "\n\n"]


@cache
def trained(adds_space: bool, drops_spaces: bool) -> bytes:
    """Train sentencepiece as LLaMA, Mistral and Gemma did: merges, bytes, marks of their own."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=out,
        model_type="bpe",
        vocab_size=330,
        byte_fallback=True,
        pad_id=3,
        normalization_rule_name="identity",
        add_dummy_prefix=adds_space,
        remove_extra_whitespaces=drops_spaces,
        user_defined_symbols=DEFINED,
        control_symbols=["[INST]"],
        num_threads=1,
        minloglevel=2,
    )
    return out.getvalue()


def fields_of(adds_space: bool, drops_spaces: bool) -> dict[str, Any]:
    """Return the fields that llama.cpp's converter writes of a trained model."""
    own = processor(trained(adds_space, drops_spaces))
    ids = range(own.vocab_size())
    kinds = [
        *((2, own.is_unknown), (3, own.is_control), (6, own.is_byte)),
        (4, lambda i: own.id_to_piece(i) in DEFINED),
    ]
    fields = {
        "model": "llama",
        "tokens": [own.id_to_piece(i) for i in ids],
        "scores": [own.get_score(i) for i in ids],
        "token_type": [next((kind for kind, asked in kinds if asked(i)), 1) for i in ids],
        "bos_token_id": own.bos_id(),
        "eos_token_id": own.eos_id(),
        "unknown_token_id": own.unk_id(),
        "padding_token_id": own.pad_id(),
        "add_space_prefix": adds_space,
        "remove_extra_whitespaces": drops_spaces,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in fields.items()}


def processor(model: bytes) -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


@cache
def processors(adds_space: bool, drops_spaces: bool) -> tuple[Any, Any]:
    """Return the trained processor, and the one that is made of its fields."""
    made = tokenizer_files(fields_of(adds_space, drops_spaces))["tokenizer.model"]
    return processor(trained(adds_space, drops_spaces)), processor(made)


PARTS = ("the ", "train", " ", "  ", "Zug", "ß", "日本", "\n\n", "<start_of_turn>", "[INST]", "\t")


@given(
    parts=st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=8),
    adds_space=st.booleans(),
    drops_spaces=st.booleans(),
)
def test_sentencepiece_gives_the_same_ids_and_text(
    parts: list[str], adds_space: bool, drops_spaces: bool
) -> None:
    own, made = processors(adds_space, drops_spaces)
    ids = own.encode("".join(parts))
    assert made.encode("".join(parts)) == ids
    assert made.decode(ids) == own.decode(ids)


def test_sentencepiece_keeps_the_kinds_of_its_pieces() -> None:
    own, made = processors(True, False)
    assert made.vocab_size() == own.vocab_size()
    for i in range(own.vocab_size()):
        for asked in ("id_to_piece", "is_control", "is_unknown", "is_byte", "is_unused"):
            assert getattr(made, asked)(i) == getattr(own, asked)(i)
        assert made.get_score(i) == pytest.approx(own.get_score(i))
    for mark in ("bos_id", "eos_id", "unk_id", "pad_id"):
        assert getattr(made, mark)() == getattr(own, mark)()


BYTES = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def byte_level(cut: str, **more: Any) -> dict[str, Any]:
    """Return the fields of a byte-level vocabulary that merges "ab" and "1 2 3"."""
    tokens = [*BYTES, "ab", "12", "123", "abc", "<|im_end|>", "<tool>"]
    fields = {
        "model": "gpt2",
        "pre": cut,
        "tokens": tokens,
        "token_type": [1] * 260 + [3, 4],
        "merges": ["a b", "1 2", "12 3"],
        "bos_token_id": 260,
        "eos_token_id": 260,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in (fields | more).items()}


@pytest.mark.parametrize(
    ("cut", "text", "pieces"),
    [
        ("llama-bpe", "abc 1234", ["abc", "Ġ", "123", "4"]),  # a whole word needs no merge
        ("llama3", "abc 1234", ["abc", "Ġ", "123", "4"]),
        ("qwen2", "abc 1234", ["ab", "c", "Ġ", "1", "2", "3", "4"]),
        ("gpt-2", "abc 1234", ["ab", "c", "Ġ", "123", "4"]),
        ("smollm", "abc 1234", ["ab", "c", "Ġ", "1", "2", "3", "4"]),
        ("tekken", "abc 1234", ["abc", "Ġ", "1", "2", "3", "4"]),
        ("tekken", "xabABCab", ["x", "ab", "A", "B", "C", "ab"]),
        ("llama-bpe", "x/\n", ["x", "/", "Ċ"]),
        ("qwen2", "ab<|im_end|>ab<tool>", ["ab", "<|im_end|>", "ab", "<tool>"]),
    ],
)
def test_text_is_cut_as_the_name_says(cut: str, text: str, pieces: list[str]) -> None:
    content = tokenizer_files(byte_level(cut))["tokenizer.json"].decode()
    made = tokenizers.Tokenizer.from_str(content)
    encoded = made.encode(text)
    assert encoded.tokens == pieces
    assert made.decode(encoded.ids, skip_special_tokens=False) == text


def test_marks_and_templates_are_said_beside_it() -> None:
    fields = byte_level("qwen2") | {"tokenizer.chat_template": "{{ messages }}"}
    described = json.loads(tokenizer_files(fields)["tokenizer_config.json"])
    assert described == {
        "add_bos_token": False,
        "bos_token": "<|im_end|>",
        "eos_token": "<|im_end|>",
        "chat_template": "{{ messages }}",
    }
    files = tokenizer_files(fields_of(True, False))
    described = json.loads(files["tokenizer_config.json"])
    assert described["add_bos_token"]
    assert (described["bos_token"], described["unk_token"]) == ("<s>", "<unk>")


def test_what_would_give_other_ids_is_refused() -> None:
    for changes, problem in (
        ({"model": "bert"}, "of the kind 'bert', supported: gpt2, llama"),
        ({"pre": "viking"}, "cuts text by the rule 'viking', supported: llama-bpe"),
    ):
        with pytest.raises(ValueError, match=problem):
            tokenizer_files(byte_level("qwen2", **changes))
    fields = fields_of(True, False)
    kinds = [1 if kind == 2 else kind for kind in fields["tokenizer.ggml.token_type"]]
    with pytest.raises(ValueError, match="has 0 pieces for what is unknown"):
        tokenizer_files(fields | {"tokenizer.ggml.token_type": kinds})
