"""One training example from sentence pairs: what is cut, joined or stripped, and its ids.

Everything random comes from a generator that the caller seeds. Knows words and marks; does not
know tensors.
"""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenspeed.training.align import target_words_within
from tokenspeed.training.config import Mix

MARKS = ("<en>", "<de>", "<fr>", "<es>", "<auto>", "<open>")
_FINAL = ".!?…。"
_PUNCTUATION = set(string.punctuation + "«»„“”‚‘’…¿¡–—") - set("'’-")


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation.

    Attributes:
        cut: [target words]; the furthest source word that each target word needs.
    """

    source: str
    target: str
    cut: NDArray[np.int16]


@dataclass(frozen=True)
class Example:
    """What the model reads and what it should write."""

    source: str
    target: str
    is_open: bool
    is_auto: bool


def make_example(pairs: Sequence[Pair], mix: Mix, rng: random.Random) -> Example:
    """Make one example from consecutive sentences of one segment.

    Args:
        pairs: at least one.
        mix: the shares.
        rng: consumed in a fixed order, so that equal seeds give equal examples.
    """
    kind, style, is_auto = rng.random(), rng.random(), rng.random() < mix.auto_share
    joined = join(pairs)
    source, target, is_open = joined.source, joined.target, False
    words = source.split()
    if kind < mix.prefix_share and len(words) > 1:
        half = rng.random() < mix.half_word_share
        source, target = cut_prefix(joined, rng.randrange(1, len(words)), half)
        is_open = True
    elif kind < mix.prefix_share + mix.open_whole_share:
        source, is_open = source.rstrip(_FINAL + " ") or source, True
    if style < mix.stripped_share:
        source = strip_style(source, style / mix.stripped_share) or source
    return Example(source, target, is_open, is_auto)


def join(pairs: Sequence[Pair]) -> Pair:
    """Put sentences into one segment; the alignment of the later ones moves along."""
    if len(pairs) == 1:
        return pairs[0]
    cuts, words = [], 0
    for pair in pairs:
        # A target word without need of its own still stands after the sentences before it.
        cuts.append(np.maximum(pair.cut + words, words - 1))
        words += len(pair.source.split())
    return Pair(
        " ".join(p.source for p in pairs),
        " ".join(p.target for p in pairs),
        np.concatenate(cuts).astype(np.int16),
    )


def cut_prefix(pair: Pair, num_words: int, half: bool) -> tuple[str, str]:
    """Cut a pair after some source words.

    Args:
        pair: whole.
        num_words: source words that are kept, at least one.
        half: keep also the first half of the next word, as someone typing would have left it.
    Returns:
        The source and the longest target whose words need only what is kept.
    """
    words = pair.source.split()
    kept = words[:num_words]
    if half and num_words < len(words):
        kept.append(words[num_words][: max(1, len(words[num_words]) // 2)])
    num_target = target_words_within(pair.cut, num_words)
    return " ".join(kept), " ".join(pair.target.split()[:num_target])


def strip_style(text: str, style: float) -> str:
    """Write a text as recognisers do: below 0.7 without case and marks, else without one."""
    if style < 0.85:
        text = "".join(c for c in text if c not in _PUNCTUATION)
    if style < 0.7 or style >= 0.85:
        text = text.lower()
    return " ".join(text.split())
