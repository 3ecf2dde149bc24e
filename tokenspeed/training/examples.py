"""One training example from sentence pairs: what is cut, joined or stripped, and its ids.

Everything random comes from a generator that the caller seeds. Knows words and marks; does not
know tensors.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenspeed.text.style import strip_style
from tokenspeed.training.align import target_words_within
from tokenspeed.training.config import Mix

MARKS = ("<en>", "<de>", "<fr>", "<es>", "<auto>", "<open>")
_FINAL = ".!?…。"


Pair = tuple[str, str]  # a sentence and its translation
Cut = Callable[[str, str], NDArray[np.int16]]  # as `Aligner.cut`


@dataclass(frozen=True)
class Example:
    """What the model reads and what it should write."""

    source: str
    target: str
    is_open: bool
    is_auto: bool


def make_example(pairs: Sequence[Pair], mix: Mix, cut: Cut, rng: random.Random) -> Example:
    """Make one example from consecutive sentences of one segment.

    Args:
        pairs: at least one.
        mix: the shares.
        cut: tells how far into the source each target word reaches; asked for prefixes alone.
        rng: consumed in a fixed order, so that equal seeds give equal examples.
    """
    kind, style, is_auto = rng.random(), rng.random(), rng.random() < mix.auto_share
    source, target = (" ".join(texts) for texts in zip(*pairs, strict=True))
    is_open = False
    words = source.split()
    if kind < mix.prefix_share and len(words) > 1:
        half = rng.random() < mix.half_word_share
        source, target = cut_prefix(pairs, rng.randrange(1, len(words)), cut, half=half)
        is_open = True
    elif kind < mix.prefix_share + mix.open_whole_share:
        source, is_open = source.rstrip(_FINAL + " ") or source, True
    if style < mix.stripped_share:
        source = strip_style(source, style / mix.stripped_share) or source
    return Example(source, target, is_open, is_auto)


def cut_prefix(pairs: Sequence[Pair], num_words: int, cut: Cut, *, half: bool) -> Pair:
    """Cut sentences after some source words.

    Args:
        pairs: whole, at least one.
        num_words: source words that are kept, at least one.
        cut: as in `make_example`.
        half: keep also the first half of the next word, as someone typing would have left it.
    Returns:
        The source and the longest target whose words need only what is kept.
    """
    sources: list[str] = []
    targets: list[str] = []
    for source, target in pairs:
        words, left = source.split(), num_words - len(sources)
        sources += words[:left]
        if left < len(words):
            targets += target.split()[: target_words_within(cut(source, target), left)]
            if half:
                sources.append(words[left][: max(1, len(words[left]) // 2)])
            break
        targets += target.split()
    return " ".join(sources), " ".join(targets)
