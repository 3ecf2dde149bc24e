"""Which source word a target word translates: IBM model 1 with a diagonal prior.

Used to cut a target where its source is cut. Words are what stands between spaces. Knows token
lists; does not know languages or files.
Source: Brown et al. 1993; the prior of Dyer et al. 2013 (fast_align), its sharpness fixed.
"""

import string
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_TABLE_BITS = 24
_SHARPNESS = 4.0  # of the diagonal; 0 is plain IBM 1
_NULL_SHARE = 0.08  # prior of a target word that translates nothing
_FLOOR = 1e-9
_NEAR = 0.15  # of the sentence: how far off the diagonal a link is believed by itself
_TRIM = string.punctuation + "«»„“”‚‘’…¿¡–—"

Words = Sequence[str]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def align(
    sources: Sequence[Words], targets: Sequence[Words], rounds: int = 4, chunk: int = 20000
) -> list[NDArray[np.int16]]:
    """Align each target word with a source word.

    Args:
        sources, targets: the words of each pair, in the same order.
        rounds: iterations of expectation maximisation.
        chunk: pairs that one vectorised pass takes.
    Returns:
        For each pair [target words] int16: the index of the source word, -1 for none.
    """
    source_ids, target_ids = _ids(sources), _ids(targets)
    num_sources = max((max(s, default=0) for s in source_ids), default=0) + 1
    chunks = [
        _Links(source_ids[start : start + chunk], target_ids[start : start + chunk])
        for start in range(0, len(source_ids), chunk)
    ]
    # Links are hashed into one table; a few collisions cost less than a sorted index of all links.
    table = np.full(1 << _TABLE_BITS, 1.0, np.float32)
    for _ in range(rounds):
        counts = np.zeros(1 << _TABLE_BITS, np.float64)
        totals = np.zeros(num_sources, np.float64)
        for links in chunks:
            share = links.posterior(table)
            counts += np.bincount(links.keys, share, minlength=len(counts))
            totals += np.bincount(links.source_words, share, minlength=num_sources)
        table = _normalise(counts, totals, chunks)
    return [row for links in chunks for row in links.best(table)]


def agree(
    there: Sequence[NDArray[np.int16]], back: Sequence[NDArray[np.int16]]
) -> list[NDArray[np.int16]]:
    """Drop links of `there` that reach far off the diagonal and that `back` does not confirm.

    IBM 1 lets rare words attract others from all over the sentence; one such link would hold back
    the whole rest of a cut target.

    Args:
        there: for each pair [target words], the source word; -1 for none.
        back: for each pair [source words], the target word; -1 for none.
    """
    kept = []
    for row, reverse in zip(there, back, strict=True):
        if not len(row) or not len(reverse):
            kept.append(row)
            continue
        index = np.arange(len(row))
        confirmed = reverse[np.maximum(row, 0)] == index
        off = np.abs((row + 0.5) / len(reverse) - (index + 0.5) / len(row))
        near = off <= np.maximum(_NEAR, 2.0 / len(reverse))
        kept.append(np.where((row >= 0) & (confirmed | near), row, -1).astype(np.int16))
    return kept


def running_cut(alignment: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return, for each target word, the furthest source word that it and those before it need."""
    if not len(alignment):
        return alignment
    return np.maximum.accumulate(alignment)


def target_words_within(cut: NDArray[np.int16], num_source_words: int) -> int:
    """Return how many target words need only the first `num_source_words` source words."""
    return int(np.searchsorted(cut, num_source_words, side="left"))


class _Links:
    """All (source word, target word) links of some pairs; the first source word is the null."""

    def __init__(self, sources: list[list[int]], targets: list[list[int]]) -> None:
        keys, words, priors, groups = [], [], [], []
        for source, target in zip(sources, targets, strict=True):
            s, t = np.asarray([0, *source], np.int64), np.asarray(target, np.int64)
            keys.append(_hash(s[None, :], t[:, None]).ravel())
            words.append(np.broadcast_to(s, (len(t), len(s))).ravel())
            priors.append(_prior(len(source), len(target)).ravel())
            groups.append(np.full(len(t), len(s), np.int64))
        self.keys = np.concatenate(keys).astype(np.int32)
        self.source_words = np.concatenate(words).astype(np.int32)
        self.priors: Floats = np.concatenate(priors)
        self.sizes: Ints = np.concatenate(groups)  # links of each target word
        self.target_lens = [len(t) for t in targets]

    def posterior(self, table: Floats) -> Floats:
        """Return the probability of each link among those of its target word."""
        weights = table[self.keys] * self.priors + _FLOOR * self.priors
        starts = np.cumsum(self.sizes) - self.sizes
        sums = np.add.reduceat(weights, starts) if len(starts) else weights
        return weights / np.repeat(sums, self.sizes)

    def best(self, table: Floats) -> list[NDArray[np.int16]]:
        """Return the likeliest source word of each target word, by pair; -1 is the null."""
        share, out, at = self.posterior(table), [], 0
        sizes = iter(self.sizes)
        for length in self.target_lens:
            row = np.full(length, -1, np.int16)
            if length:
                size = next(sizes)
                for _ in range(length - 1):
                    next(sizes)
                block = share[at : at + length * size].reshape(length, size)
                row = (block.argmax(axis=1) - 1).astype(np.int16)
                at += length * size
            out.append(row)
        return out


def _normalise(
    counts: NDArray[np.float64], totals: NDArray[np.float64], chunks: Sequence[_Links]
) -> Floats:
    """Divide each link's count by its source word's; the link names its source word."""
    divisors = np.ones(len(counts), np.float64)
    for links in chunks:
        divisors[links.keys] = totals[links.source_words]
    return (counts / np.maximum(divisors, _FLOOR)).astype(np.float32)


def _ids(sentences: Sequence[Words]) -> list[list[int]]:
    """Number the words, without case and outer punctuation; 0 is left for the null word."""
    numbers: dict[str, int] = {}
    out = []
    for words in sentences:
        plain = ((w.lower().strip(_TRIM) or w) for w in words)
        out.append([numbers.setdefault(word, len(numbers) + 1) for word in plain])
    return out


def _hash(source: Ints, target: Ints) -> Ints:
    mixed = source * 0x9E3779B1 + target * 0x85EBCA77
    return (mixed ^ (mixed >> 19)) & ((1 << _TABLE_BITS) - 1)


@lru_cache(maxsize=10000)
def _prior(num_source: int, num_target: int) -> Floats:
    """Return [target, 1 + source]: where a target word looks before any word is known."""
    i = (np.arange(num_source, dtype=np.float32) + 0.5) / max(num_source, 1)
    j = (np.arange(num_target, dtype=np.float32) + 0.5) / max(num_target, 1)
    near = np.exp(-_SHARPNESS * np.abs(i[None, :] - j[:, None]))
    near *= (1 - _NULL_SHARE) / np.maximum(near.sum(axis=1, keepdims=True), _FLOOR)
    null = np.full((num_target, 1), _NULL_SHARE, np.float32)
    return np.concatenate((null, near), axis=1).astype(np.float32)
