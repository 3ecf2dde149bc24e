"""The stream of batches: any batch can be made alone, and weights say how often a pair stands."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
import torch

from tests.tokenspeed.training.conftest import toy_pairs
from tokenspeed.training.align import Aligner, Lexicon
from tokenspeed.training.cli import CONFIGS
from tokenspeed.training.config import Mix, Recipe, load_recipe
from tokenspeed.training.corpus import Bitext
from tokenspeed.training.packing import IGNORED, Shapes
from tokenspeed.training.stream import Stream, whole_batches

PAIRS = toy_pairs()
PLAIN = Mix(auto_share=0, prefix_share=0, open_whole_share=0, stripped_share=0, joined_share=0)


@pytest.fixture(scope="module")
def processor(sentencepiece_model: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_model))


@pytest.fixture
def recipe() -> Recipe:
    tiny = load_recipe(CONFIGS / "tiny.toml")
    return replace(tiny, mix=PLAIN, batch_tokens=1024, max_example_tokens=96)


def bitext(*sources: str) -> Bitext:
    """The toy pairs, whose sources take turns."""
    names = [sources[i % len(sources)] for i in range(len(PAIRS))]
    english, german = zip(*PAIRS, strict=True)
    return Bitext("de", list(english), list(german), names)


def test_a_batch_is_the_same_whoever_asks_and_when(
    recipe: Recipe, processor: sentencepiece.SentencePieceProcessor
) -> None:
    first = Stream(recipe, [bitext("tatoeba")], processor)
    other = Stream(recipe, [bitext("tatoeba")], processor)
    asked = {number: first[number] for number in (7, 0, 3)}
    for number in (0, 3, 7):
        batch = other[number]
        for name in ("tokens", "positions", "borders", "rows", "labels"):
            assert torch.equal(getattr(batch, name), getattr(asked[number], name))
    assert not torch.equal(asked[0].tokens, asked[3].tokens)
    seeded = Stream(replace(recipe, seed=recipe.seed + 1), [bitext("tatoeba")], processor)
    assert not torch.equal(seeded[0].tokens, asked[0].tokens)


def test_an_epoch_has_every_pair_in_both_directions_as_often_as_it_weighs(
    recipe: Recipe, processor: sentencepiece.SentencePieceProcessor
) -> None:
    mix = replace(PLAIN, weights={"often": 3.0, "never": 0.0})
    stream = Stream(replace(recipe, mix=mix), [bitext("often", "once", "never")], processor)
    assert stream.epoch_draws == pytest.approx(2 * sum((3, 1, 0)[i % 3] for i in range(len(PAIRS))))
    batches = round(stream.epoch_draws) // stream.draws + 1
    drawn = [one for number in range(batches) for one in stream.examples(number)]
    epoch = drawn[: round(stream.epoch_draws)]
    counts = Counter((example.source, example.target, a, b) for example, a, b in epoch)
    for i, (english, german) in enumerate(PAIRS):
        wanted = (3, 1, 0)[i % 3]
        assert counts[(english, german, "en", "de")] == wanted
        assert counts[(german, english, "de", "en")] == wanted


def test_batches_are_nearly_full_and_predict_targets_alone(
    recipe: Recipe, processor: sentencepiece.SentencePieceProcessor
) -> None:
    stream = Stream(recipe, [bitext("tatoeba")], processor)
    batches = [stream[number] for number in range(5)]
    filled = sum(batch.num_tokens for batch in batches) / (5 * recipe.batch_tokens)
    assert 0.9 < filled <= 1
    for batch in batches:
        labels = batch.labels[batch.labels != IGNORED]
        assert len(labels) == batch.num_targets
        # One end for each example, and what a prediction stands for comes right behind it.
        assert int((labels == processor.eos_id()).sum()) == batch.num_examples
        rows = batch.rows[: batch.num_targets].long()
        inside = labels != processor.eos_id()
        assert torch.equal(batch.tokens[rows + 1].long()[inside], labels[inside])


def test_prefixes_need_an_aligner_for_each_language(
    recipe: Recipe, processor: sentencepiece.SentencePieceProcessor
) -> None:
    cutting = replace(recipe, mix=replace(PLAIN, prefix_share=0.5))
    with pytest.raises(ValueError, match="0 aligners for 1 languages"):
        Stream(cutting, [bitext("tatoeba")], processor)


def test_validation_takes_pairs_as_they_are(
    processor: sentencepiece.SentencePieceProcessor,
) -> None:
    shapes = Shapes.for_tokens(512, 96)
    pairs = [(english, german, "en", "de") for english, german in PAIRS[:40]]
    batches = whole_batches(pairs, processor, shapes)
    assert sum(batch.num_examples for batch in batches) == 40
    first = batches[0].tokens[: int(batches[0].borders[1])].tolist()
    marks = [processor.piece_to_id(f"<{name}>") for name in ("en", "de")]
    source, target = (processor.encode(text) for text in PAIRS[0])
    assert first == [processor.bos_id(), marks[0], *source, marks[1], *target, processor.eos_id()]


def test_a_share_of_the_prefixes_is_cut_where_a_teacher_did(
    recipe: Recipe, processor: sentencepiece.SentencePieceProcessor
) -> None:
    pairs = bitext("distilled-foreign")
    known = replace(pairs, cuts={i: "1:0" for i in range(len(pairs))})
    lexicon = Lexicon.fit(
        [text.split() for text in pairs.english], [text.split() for text in pairs.foreign]
    )
    shares = []
    for share in (1.0, 0.5, 0.0):
        mix = replace(PLAIN, prefix_share=1.0, draft_share=share)
        stream = Stream(replace(recipe, mix=mix), [known], processor, [Aligner(lexicon, lexicon)])
        examples = [
            example
            for number in range(6)
            for example, source, _ in stream.examples(number)
            if source == "en"
        ]
        # A teacher's cuts are all after one word here, and leave nothing of the translation.
        drafts = [e for e in examples if len(e.source.split()) == 1 and not e.target]
        shares.append(len(drafts) / len(examples))
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2]
