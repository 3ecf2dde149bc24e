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
from tokenspeed.training.replicas import Replicas
from tokenspeed.training.stream import Stream, needs_aligners, whole_batches
from tokenspeed.training.vocabulary import extend_vocabulary, spell_new_pieces, train_vocabulary


def train(
    recipe: Recipe,
    corpus: Path,
    out: Path,
    device: str,
    cache: Path | None = None,
    init: Path | None = None,
) -> None:
    """Train a recipe and write `out/model` (bfloat16) and `out/int8`.

    If `torchrun` starts several processes, they train together, with a GPU each and a different
    batch in each step.

    Args:
        corpus: folder of `en-xx.train.tsv.xz` and `en-xx.valid.tsv`.
        out: of the vocabulary, checkpoints, logs and models; a run found there is resumed.
        device: "cuda" or "cpu".
        cache: of the lexicons and the vocabulary; `out/cache` by default.
        init: a model directory whose weights and vocabulary a new run begins with, in any
            precision; by default it begins with random weights. Where the recipe has more pieces,
            or wider layers within, it grows.
    Raises:
        FileNotFoundError: the corpus lacks a language of the recipe.
        ValueError: the vocabulary has more pieces than the model, or the model to begin with has
            a shape or a vocabulary that does not grow into the recipe's.
    """
    replicas = Replicas.join()
    cache = cache or out / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    bitexts = [load_bitext(corpus, language) for language in recipe.languages]
    if not replicas.is_first:
        replicas.wait()  # until the first process has filled the cache
    if recipe.rules_scale:
        bitexts = [add_rules(b, recipe.seed, recipe.rules_scale, cache) for b in bitexts]
    vocabulary = cache / "tokenizer.model"
    if not vocabulary.exists():
        _make_vocabulary(recipe, bitexts, vocabulary, init)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    if processor.vocab_size() > recipe.model.vocab_size:
        raise ValueError(
            f"the vocabulary has {processor.vocab_size()} pieces, "
            f"expected at most {recipe.model.vocab_size}"
        )
    aligners = load_aligners(corpus, recipe.languages, cache) if needs_aligners(recipe) else []
    if replicas.is_first:
        replicas.wait()
    spellings = _spellings(vocabulary, processor, init, recipe.model.vocab_size) if init else []
    stream = Stream(recipe, bitexts, processor, aligners)
    valid = _valid_batches(corpus, bitexts, processor, stream.shapes)
    trainer = Trainer(recipe, stream, valid, out, device, replicas)
    if init is not None:
        trainer.begin_with(open_checkpoint(init), spellings)
    trainer.run()
    if replicas.is_first:
        languages = recipe.languages
        asked = languages if recipe.mix.formality_share else ()
        model = recipe.model
        export_model(out / "model", model, trainer.average, vocabulary, languages, formality=asked)
        write_int8(out / "model", out / "int8")
    replicas.wait()


def _make_vocabulary(recipe: Recipe, bitexts: list[Bitext], path: Path, init: Path | None) -> None:
    """Write the vocabulary of a run: a new one, or an extended one of the model it begins with."""
    size, sample = recipe.model.vocab_size, recipe.vocabulary_sample
    if init is None:
        train_vocabulary(bitexts, path, size, sample, recipe.seed)
        return
    pieces = (init / "tokenizer.model").read_bytes()
    count = sentencepiece.SentencePieceProcessor(model_proto=pieces).vocab_size()
    if count < size:
        pieces = extend_vocabulary(bitexts, pieces, size, sample, recipe.seed)
    path.write_bytes(pieces)


def _spellings(
    vocabulary: Path, processor: sentencepiece.SentencePieceProcessor, init: Path, size: int
) -> list[list[int]]:
    """Return how the model to begin with spelled each row that its embedding lacks.

    Raises:
        ValueError: its vocabulary is another.
    """
    old = sentencepiece.SentencePieceProcessor(model_file=str(init / "tokenizer.model"))
    try:
        found = spell_new_pieces(old, processor)
    except ValueError as exc:
        raise ValueError(f"{vocabulary} is not the vocabulary of {init}: {exc}") from exc
    # A row without a piece is a copy of the one for unknown pieces, and is never used.
    return found + [[old.unk_id()]] * (size - processor.vocab_size())


def choose_device() -> str:
    """Return "cuda" if there is a GPU, else "cpu"."""
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
