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
from tokenspeed.training.align import Aligner, target_words_within
from tokenspeed.training.config import Mix
from tokenspeed.training.placeholders import Pair, alone, with_placeholders

MARKS = ("<en>", "<de>", "<fr>", "<es>", "<auto>", "<open>", "<formal>", "<informal>")
_FINAL = ".!?…。"
_ALONE = 0.03  # of the examples with placeholders: consist of nothing else


Cut = Callable[[str, str], NDArray[np.int16]]  # as `Aligner.cut`


@dataclass(frozen=True)
class Example:
    """What the model reads and what it should write."""

    source: str
    target: str
    is_open: bool
    is_auto: bool
    formality: str | None = None


@dataclass(frozen=True)
class KnownCut:
    """A prefix whose translation is known: a beginning of the whole translation.

    Attributes:
        source_words, target_words: how many of each side are left.
        half: the source ends with the first half of its next word.
    """

    source_words: int
    target_words: int
    half: bool = False

    def __str__(self) -> str:
        return f"{self.source_words}{'h' if self.half else ''}:{self.target_words}"

    @staticmethod
    def parse(text: str) -> "KnownCut":
        """Undo `str`."""
        source, _, target = text.partition(":")
        return KnownCut(int(source.rstrip("h")), int(target), source.endswith("h"))


def make_example(
    pairs: Sequence[Pair],
    mix: Mix,
    aligner: Aligner | None,
    rng: random.Random,
    *,
    known: KnownCut | None = None,
    formality: str | None = None,
) -> Example:
    """Make one example from consecutive sentences of one segment.

    Args:
        pairs: at least one.
        mix: the shares.
        aligner: which words translate which; used only for prefixes and placeholders.
        rng: consumed in a fixed order, so that equal seeds give equal examples.
        known: how a single pair is cut; without it, it may be cut by alignment.
        formality: how the target addresses someone, if it does.
    """
    kind, style, is_auto = rng.random(), rng.random(), rng.random() < mix.auto_share
    has_placeholders = mix.placeholder_share > 0 and rng.random() < mix.placeholder_share
    is_asked = mix.formality_share > 0 and rng.random() < mix.formality_share
    source, target = (" ".join(texts) for texts in zip(*pairs, strict=True))
    is_open = False
    words = source.split()
    if known is not None:
        source, target = apply_cut(pairs[0], known)
        is_open = True
    elif kind < mix.prefix_share and len(words) > 1:
        half = rng.random() < mix.half_word_share
        assert aligner is not None
        number = rng.randrange(1, len(words))
        source, target = cut_prefix(pairs, number, aligner.cut, half=half)
        is_open = True
    elif kind < mix.prefix_share + mix.open_whole_share:
        source, is_open = source.rstrip(_FINAL + " ") or source, True
    if has_placeholders:
        assert aligner is not None
        if rng.random() < _ALONE:
            (source, target), is_open = alone(rng), False
        else:
            source, target = with_placeholders((source, target), aligner, rng, is_open=is_open)
    if style < mix.stripped_share:
        source = strip_style(source, style / mix.stripped_share) or source
    elif style > 1 - mix.capitals_share:
        source = source.upper()
    return Example(source, target, is_open, is_auto, formality if is_asked else None)


def apply_cut(pair: Pair, known: KnownCut) -> Pair:
    """Return the beginnings of both sides."""
    words = pair[0].split()
    left = words[: known.source_words]
    if known.half and known.source_words < len(words):
        following = words[known.source_words]
        left.append(following[: max(1, len(following) // 2)])
    return " ".join(left), " ".join(pair[1].split()[: known.target_words])


def cut_prefix(pairs: Sequence[Pair], num_words: int, cut: Cut, *, half: bool) -> Pair:
    """Cut sentences after some source words.

    Args:
        pairs: whole, at least one.
        num_words: source words that are kept, at least one.
        cut: as in `make_example`.
        half: also keep the first half of the next word, as while somebody types it.
    Returns:
        The source, and the longest target whose words need only that much of it.
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
