"""Word alignment: IBM model 1 with a diagonal prior.

Used to cut a target where its source is cut. Words are separated by spaces. Knows lists of words;
does not know languages or files.
Source: Brown et al. 1993; the prior of Dyer et al. 2013 (fast_align), its sharpness fixed.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_TABLE_BITS = 12, 24  # at least, at most
_ROOM = 64  # buckets of a table for each link that is learnt
_SHARPNESS = 4.0  # of the diagonal; 0 is plain IBM 1
_NULL_SHARE = 0.08  # prior of a target word that translates nothing
_FLOOR = 1e-9
_RARE = 1e-4  # probability below which a link is forgotten
_NEAR = 0.15  # of the sentence: links this close to the diagonal need no confirmation
_TRIM = string.punctuation + "«»„“”‚‘’…¿¡–—"

Words = Sequence[str]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Lexicon:
    """Translation probabilities of words, learnt from sentence pairs.

    Attributes:
        source_ids, target_ids: the number of each word; 0 stands for no word and for unknown words.
        table: [2 ** bits] float32; probability of a target word given a source word, by `_hash`.
            24 bits for a corpus; a few sentences need no table of 64 MiB.
    """

    def __init__(
        self, source_ids: dict[str, int], target_ids: dict[str, int], table: Floats
    ) -> None:
        self.source_ids, self.target_ids, self.table = source_ids, target_ids, table

    @classmethod
    def fit(
        cls, sources: Sequence[Words], targets: Sequence[Words], rounds: int = 4, chunk: int = 20000
    ) -> "Lexicon":
        """Learn from the words of sentence pairs.

        Args:
            sources, targets: the words of each pair, in the same order.
            rounds: iterations of expectation maximisation.
            chunk: pairs that one vectorised pass takes.
        """
        source_ids, target_ids = _number(sources), _number(targets)
        num_links = sum(len(s) * len(t) for s, t in zip(sources, targets, strict=True))
        least, most = _TABLE_BITS
        bits = min(max((_ROOM * num_links).bit_length(), least), most)
        lexicon = cls(source_ids, target_ids, np.full(1 << bits, 1.0, np.float32))
        chunks = [
            lexicon._links(sources[start : start + chunk], targets[start : start + chunk])
            for start in range(0, len(sources), chunk)
        ]
        # Links are hashed into one table; a few collisions cost less than an index of all links.
        for _ in range(rounds):
            counts = np.zeros(1 << bits, np.float64)
            totals = np.zeros(len(source_ids) + 1, np.float64)
            for links in chunks:
                share = links.posterior(lexicon.table)
                counts += np.bincount(links.keys, share, minlength=len(counts))
                totals += np.bincount(links.source_words, share, minlength=len(totals))
            lexicon.table = _normalise(counts, totals, chunks)
        lexicon.table[lexicon.table < _RARE] = 0
        return lexicon

    def align(self, source: Words, target: Words) -> NDArray[np.int16]:
        """Return, for each target word, the index of the source word it translates; -1: none."""
        if not source or not target:
            return np.full(len(target), -1, np.int16)
        links = self._links([source], [target])
        share = links.posterior(self.table).reshape(len(target), len(source) + 1)
        return (share.argmax(axis=1) - 1).astype(np.int16)

    def save(self, path: Path) -> None:
        """Write the words and the probabilities that are not zero."""
        keys = np.flatnonzero(self.table).astype(np.int32)
        sources, targets = (
            np.frombuffer("\n".join(ids).encode(), np.uint8)
            for ids in (self.source_ids, self.target_ids)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez(
                file,
                size=len(self.table),
                keys=keys,
                values=self.table[keys],
                sources=sources,
                targets=targets,
            )

    @classmethod
    def load(cls, path: Path) -> "Lexicon":
        """Read what `save` wrote."""
        with np.load(path) as stored:
            table = np.zeros(int(stored["size"]), np.float32)
            table[stored["keys"]] = stored["values"]
            sources, targets = (
                {word: number for number, word in enumerate(text.split("\n"), start=1)}
                for text in (stored[name].tobytes().decode() for name in ("sources", "targets"))
            )
        return cls(sources, targets, table)

    def _links(self, sources: Sequence[Words], targets: Sequence[Words]) -> "_Links":
        return _Links(
            [[self.source_ids.get(_plain(word), 0) for word in words] for words in sources],
            [[self.target_ids.get(_plain(word), 0) for word in words] for words in targets],
            len(self.table),
        )


@dataclass(frozen=True)
class Aligner:
    """Two lexicons, one for each direction, which confirm each other's links.

    Attributes:
        there: from the source's words to the target's.
        back: from the target's words to the source's.
    """

    there: Lexicon
    back: Lexicon

    def cut(self, source: str, target: str) -> NDArray[np.int16]:
        """Return [target words] int16: the last source word that each and those before it need."""
        source_words, target_words = source.split(), target.split()
        found = self.there.align(source_words, target_words)
        reverse = self.back.align(target_words, source_words)
        return running_cut(agree(found, reverse))

    def reversed(self) -> "Aligner":
        """Return the aligner for the other direction."""
        return Aligner(self.back, self.there)


def agree(there: NDArray[np.int16], back: NDArray[np.int16]) -> NDArray[np.int16]:
    """Drop links of `there` that reach far off the diagonal and that `back` does not confirm.

    IBM 1 lets rare words attract others from all over the sentence; one such link would hold back
    the whole rest of a cut target.

    Args:
        there: [target words], the source word; -1 for none.
        back: [source words], the target word; -1 for none.
    """
    if not len(there) or not len(back):
        return there
    index = np.arange(len(there))
    confirmed = back[np.maximum(there, 0)] == index
    off = np.abs((there + 0.5) / len(back) - (index + 0.5) / len(there))
    near = off <= np.maximum(_NEAR, 2.0 / len(back))
    return np.where((there >= 0) & (confirmed | near), there, -1).astype(np.int16)


def running_cut(alignment: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return, for each target word, the last source word that it and those before it need."""
    if not len(alignment):
        return alignment
    return np.maximum.accumulate(alignment)


def target_words_within(cut: NDArray[np.int16], num_source_words: int) -> int:
    """Return how many target words need only the first `num_source_words` source words."""
    return int(np.searchsorted(cut, num_source_words, side="left"))


class _Links:
    """All (source word, target word) links of some pairs; the first source word is the null.

    Args:
        size: of the table, a power of two.
    """

    def __init__(self, sources: list[list[int]], targets: list[list[int]], size: int) -> None:
        keys, words, priors, groups = [], [], [], []
        for source, target in zip(sources, targets, strict=True):
            s, t = np.asarray([0, *source], np.int64), np.asarray(target, np.int64)
            keys.append(_hash(s[None, :], t[:, None], size).ravel())
            words.append(np.broadcast_to(s, (len(t), len(s))).ravel())
            priors.append(_prior(len(source), len(target)).ravel())
            groups.append(np.full(len(t), len(s), np.int64))
        self.keys = np.concatenate(keys).astype(np.int32)
        self.source_words = np.concatenate(words).astype(np.int32)
        self.priors: Floats = np.concatenate(priors)
        self.sizes: Ints = np.concatenate(groups)  # links of each target word

    def posterior(self, table: Floats) -> Floats:
        """Return the probability of each link, given its target word."""
        weights = table[self.keys] * self.priors + _FLOOR * self.priors
        starts = np.cumsum(self.sizes) - self.sizes
        sums = np.add.reduceat(weights, starts) if len(starts) else weights
        return weights / np.repeat(sums, self.sizes)


def _normalise(
    counts: NDArray[np.float64], totals: NDArray[np.float64], chunks: Sequence[_Links]
) -> Floats:
    """Divide the count of each link by the total of its source word."""
    divisors = np.ones(len(counts), np.float64)
    for links in chunks:
        divisors[links.keys] = totals[links.source_words]
    return (counts / np.maximum(divisors, _FLOOR)).astype(np.float32)


def _number(sentences: Sequence[Words]) -> dict[str, int]:
    """Number the words from 1, in the order in which they come."""
    numbers: dict[str, int] = {}
    for words in sentences:
        for word in words:
            numbers.setdefault(_plain(word), len(numbers) + 1)
    return numbers


@lru_cache(maxsize=1 << 16)
def _plain(word: str) -> str:
    """Drop case and outer punctuation."""
    return word.lower().strip(_TRIM) or word


def _hash(source: Ints, target: Ints, size: int) -> Ints:
    mixed = source * 0x9E3779B1 + target * 0x85EBCA77
    return (mixed ^ (mixed >> 19)) & (size - 1)


@lru_cache(maxsize=10000)
def _prior(num_source: int, num_target: int) -> Floats:
    """Return each target word's prior over no word and the source words: [target, 1 + source]."""
    i = (np.arange(num_source, dtype=np.float32) + 0.5) / max(num_source, 1)
    j = (np.arange(num_target, dtype=np.float32) + 0.5) / max(num_target, 1)
    near = np.exp(-_SHARPNESS * np.abs(i[None, :] - j[:, None]))
    near *= (1 - _NULL_SHARE) / np.maximum(near.sum(axis=1, keepdims=True), _FLOOR)
    null = np.full((num_target, 1), _NULL_SHARE, np.float32)
    return np.concatenate((null, near), axis=1).astype(np.float32)
