"""The stream of training batches: a batch is a function of its number, in any process.

An epoch is a seeded shuffle in which a pair occurs as often as its weight says. A batch takes a
fixed number of draws from it, so any batch can be made by itself, and a run resumes by number.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor
from torch.utils.data import Dataset

from tokenspeed.text.style import form_of_address
from tokenspeed.training.align import Aligner
from tokenspeed.training.config import Recipe
from tokenspeed.training.corpus import DISTILLED, ENGLISH, Bitext, sampling_weights
from tokenspeed.training.examples import Example, KnownCut, make_example
from tokenspeed.training.packing import Batch, Sequenced, Shapes, pack

_PROBE = 3000  # examples drawn to learn their mean length
_FILL = 0.985  # of the batch, on average; the rest allows for variation


class Stream(Dataset[Batch]):
    """Batches of a recipe over its corpus.

    Args:
        recipe: the mix, the seed and the batch size.
        bitexts: one for each language of the recipe.
        processor: the vocabulary, with the marks.
        aligners: one for each bitext, where the recipe cuts prefixes or has placeholders.
    Raises:
        ValueError: aligners are needed and missing.
    """

    def __init__(
        self,
        recipe: Recipe,
        bitexts: Sequence[Bitext],
        processor: SentencePieceProcessor,
        aligners: Sequence[Aligner] = (),
    ) -> None:
        self.recipe = recipe
        self.shapes = Shapes.for_tokens(recipe.batch_tokens, recipe.max_example_tokens)
        self._bitexts = list(bitexts)
        # If there are cuts by a teacher, no reference is cut by alignment.
        self._without_cuts = replace(recipe.mix, prefix_share=0.0)
        self._coder = Coder(processor)
        # A direction is (bitext, from English?); an item is a pair in a direction.
        self._directions = [(b, d) for b in range(len(self._bitexts)) for d in (True, False)]
        self._aligners = _both_ways(aligners, self._directions, recipe)
        # The pairs of each direction whose prefixes are known; their source says which direction.
        self._known = [
            [i for i in self._bitexts[b].cuts if self._bitexts[b].sources[i] == DISTILLED[not d]]
            for b, d in self._directions
        ]
        sizes = [len(self._bitexts[b]) for b, _ in self._directions]
        self._starts = np.concatenate(([0], np.cumsum(sizes)))
        self._weights = np.concatenate(
            [
                sampling_weights(self._bitexts[b], recipe.mix, from_english=d)
                for b, d in self._directions
            ]
        )
        self.draws = self._draws_per_batch()

    @property
    def epoch_draws(self) -> float:
        """Draws of one epoch, on average."""
        return float(self._weights.sum())

    def __getitem__(self, number: int) -> Batch:
        examples = self.examples(number)
        return pack(self._coder.encode(examples), self.shapes, self._coder.eos)

    def examples(self, number: int) -> list[tuple[Example, str, str]]:
        """Return the examples of a batch with their languages, in order."""
        rng = random.Random(f"{self.recipe.seed}/{number}")
        return [self._example(item, rng) for item in self._items(number)]

    def _items(self, number: int) -> list[int]:
        epoch, at = 0, number * self.draws
        while at >= (size := self._epoch_size(epoch)):
            at -= size
            epoch += 1
        found = self._epoch(epoch)[at : at + self.draws]
        if len(found) < self.draws:
            found = np.concatenate((found, self._epoch(epoch + 1)[: self.draws - len(found)]))
        return [int(i) for i in found]

    @lru_cache(maxsize=128)  # noqa: B019 - one stream lives as long as its process
    def _epoch_size(self, epoch: int) -> int:
        return len(self._epoch(epoch))

    @lru_cache(maxsize=2)  # noqa: B019
    def _epoch(self, epoch: int) -> NDArray[np.int32]:
        rng = np.random.default_rng((self.recipe.seed, epoch))
        # A pair of weight 1.3 occurs once in every epoch, and twice in three of ten.
        times = np.floor(self._weights + rng.random(len(self._weights))).astype(np.int64)
        items = np.repeat(np.arange(len(times), dtype=np.int32), times)
        return rng.permutation(items)

    def _example(self, item: int, rng: random.Random) -> tuple[Example, str, str]:
        direction = int(np.searchsorted(self._starts, item, side="right")) - 1
        bitext, from_english = self._directions[direction]
        texts, mix, known = self._bitexts[bitext], self.recipe.mix, self._known[direction]
        side = (texts.english, texts.foreign)[:: 1 if from_english else -1]
        at, cut = item - int(self._starts[direction]), None
        others: list[int] = []
        if known and rng.random() < mix.draft_share:
            if rng.random() < mix.prefix_share:
                at = rng.choice(known)
                cut = KnownCut.parse(rng.choice(texts.cuts[at].split()))
            mix = self._without_cuts
        if cut is None and rng.random() < mix.joined_share:
            others = [self._other(direction, rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        pairs = [(side[0][i], side[1][i]) for i in (at, *others)]
        formality = None
        if from_english and mix.formality_share:
            formality = self._formality(texts, (at, *others))
        aligner = self._aligners[direction]
        example = make_example(pairs, mix, aligner, rng, known=cut, formality=formality)
        source, target = (ENGLISH, texts.language)[:: 1 if from_english else -1]
        return example, source, target

    def _other(self, direction: int, rng: random.Random) -> int:
        """Choose a pair of a direction at random, among those with a weight."""
        start, end = (int(at) for at in self._starts[direction : direction + 2])
        while True:
            at = rng.randrange(end - start)
            if self._weights[start + at] > 0:
                return at

    @staticmethod
    def _formality(texts: Bitext, items: Sequence[int]) -> str | None:
        """Return the form of address of some pairs, if they have only one."""
        found = {
            form_of_address(texts.english[i], texts.foreign[i], texts.language) for i in items
        } - {None}
        return found.pop() if len(found) == 1 else None

    def _draws_per_batch(self) -> int:
        rng = random.Random(self.recipe.seed)
        items = rng.choices(range(len(self._weights)), self._weights.tolist(), k=_PROBE)
        sequences = self._coder.encode([self._example(item, rng) for item in items])
        mean = sum(len(s.ids) for s in sequences) / len(sequences)
        return max(1, int(self.recipe.batch_tokens * _FILL / mean))


def _both_ways(
    aligners: Sequence[Aligner], directions: Sequence[tuple[int, bool]], recipe: Recipe
) -> list[Aligner | None]:
    """Return the aligner of each direction, from its source to its target."""
    if not needs_aligners(recipe):
        return [None] * len(directions)
    if len(aligners) != len(recipe.languages):
        raise ValueError(f"{len(aligners)} aligners for {len(recipe.languages)} languages")
    return [aligners[b] if there else aligners[b].reversed() for b, there in directions]


def needs_aligners(recipe: Recipe) -> bool:
    """Return whether a recipe cuts prefixes or replaces words by placeholders."""
    return recipe.mix.prefix_share > 0 or recipe.mix.placeholder_share > 0


class Coder:
    """Examples to ids, in the prompt format `marks`."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        self._processor = processor
        self.bos, self.eos = processor.bos_id(), processor.eos_id()

    def encode(self, examples: Sequence[tuple[Example, str, str]]) -> list[Sequenced]:
        """Return prompt and target ids of (example, source language, target language)."""
        sources = self._processor.encode([e.source for e, _, _ in examples], num_threads=1)
        targets = self._processor.encode([e.target for e, _, _ in examples], num_threads=1)
        return [
            self._sequence(*example, source, target)
            for example, source, target in zip(examples, sources, targets, strict=True)
        ]

    def _sequence(
        self, example: Example, source: str, target: str, source_ids: list[int], out: list[int]
    ) -> Sequenced:
        first = self._mark("auto" if example.is_auto else source)
        opened = (self._mark("open"),) if example.is_open else ()
        asked = (self._mark(example.formality),) if example.formality else ()
        prompt = (self.bos, first, *source_ids, *opened, *asked, self._mark(target))
        return Sequenced((*prompt, *out, self.eos), len(prompt))

    def _mark(self, name: str) -> int:
        return int(self._processor.piece_to_id(f"<{name}>"))


def whole_batches(
    pairs: Sequence[tuple[str, str, str, str]],
    processor: SentencePieceProcessor,
    shapes: Shapes,
) -> list[Batch]:
    """Pack (source, target, source language, target language) whole and unchanged."""
    coder = Coder(processor)
    examples = [(Example(s, t, False, False), a, b) for s, t, a, b in pairs]
    sequences = coder.encode(examples)
    per_batch = max(1, int(shapes.tokens * 0.9 / np.mean([len(s.ids) for s in sequences])))
    return [
        pack(sequences[at : at + per_batch], shapes, coder.eos)
        for at in range(0, len(sequences), per_batch)
    ]
