"""A whole run: corpus and vocabulary, training, export."""

from pathlib import Path

import sentencepiece
import torch

from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.quantized import write_int8
from tokenspeed.training.config import Recipe
from tokenspeed.training.corpus import (
    ENGLISH,
    Bitext,
    add_rules,
    load_aligners,
    load_bitext,
    read_pairs,
)
from tokenspeed.training.export import export_model
from tokenspeed.training.loop import Trainer
from tokenspeed.training.packing import Batch, Shapes
from tokenspeed.training.stream import Stream, needs_aligners, whole_batches
from tokenspeed.training.vocabulary import train_vocabulary


def train(
    recipe: Recipe,
    corpus: Path,
    out: Path,
    device: str,
    cache: Path | None = None,
    init: Path | None = None,
) -> None:
    """Train a recipe and write `out/model` (bfloat16) and `out/int8`.

    Args:
        corpus: folder of `en-xx.train.tsv.xz` and `en-xx.valid.tsv`.
        out: of the vocabulary, checkpoints, logs and models; a run found there is resumed.
        device: "cuda" or "cpu".
        cache: of the lexicons and the vocabulary; `out/cache` by default.
        init: a model directory whose weights and vocabulary a new run begins with, in any
            precision; by default it begins with random weights.
    Raises:
        FileNotFoundError: the corpus lacks a language of the recipe.
        ValueError: the vocabulary has more pieces than the model, or the model to begin with has
            another shape or vocabulary.
    """
    cache = cache or out / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    bitexts = [load_bitext(corpus, language) for language in recipe.languages]
    if recipe.rules_scale:
        bitexts = [add_rules(b, recipe.seed, recipe.rules_scale, cache) for b in bitexts]
    vocabulary = cache / "tokenizer.model"
    if init is not None:
        pieces = (init / "tokenizer.model").read_bytes()
        if not vocabulary.exists():
            vocabulary.write_bytes(pieces)
        if vocabulary.read_bytes() != pieces:
            raise ValueError(f"{vocabulary} is not the vocabulary of {init}")
    if not vocabulary.exists():
        sample = recipe.vocabulary_sample
        train_vocabulary(bitexts, vocabulary, recipe.model.vocab_size, sample, recipe.seed)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    if processor.vocab_size() > recipe.model.vocab_size:
        raise ValueError(
            f"the vocabulary has {processor.vocab_size()} pieces, "
            f"expected at most {recipe.model.vocab_size}"
        )
    aligners = load_aligners(corpus, recipe.languages, cache) if needs_aligners(recipe) else []
    stream = Stream(recipe, bitexts, processor, aligners)
    valid = _valid_batches(corpus, bitexts, processor, stream.shapes)
    trainer = Trainer(recipe, stream, valid, out, device)
    if init is not None:
        trainer.begin_with(open_checkpoint(init))
    trainer.run()
    export_model(out / "model", recipe.model, trainer.average, vocabulary, recipe.languages)
    write_int8(out / "model", out / "int8")


def choose_device() -> str:
    """Return "cuda" where there is a GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _valid_batches(
    corpus: Path,
    bitexts: list[Bitext],
    processor: sentencepiece.SentencePieceProcessor,
    shapes: Shapes,
) -> list[Batch]:
    pairs = []
    for bitext in bitexts:
        for english, foreign in read_pairs(corpus / f"{ENGLISH}-{bitext.language}.valid.tsv"):
            pairs.append((english, foreign, ENGLISH, bitext.language))
            pairs.append((foreign, english, bitext.language, ENGLISH))
    return whole_batches(pairs, processor, shapes)
