"""The parallel corpus in memory: pairs, their alignment, and how often each is drawn.

Reads `en-xx.train.tsv.xz`, synthetic pairs beside it (`en-xx.distilled-*.tsv.xz`), and
`en-xx.valid.tsv` (English, foreign, name of the source). Knows
which sources and which forms of address are preferred; does not know tokens.
"""

import hashlib
import lzma
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenspeed.training.align import agree, align, running_cut
from tokenspeed.training.config import Mix

ENGLISH = "en"
_CACHE_VERSION = b"1"

FAMILIAR = {
    "de": re.compile(r"\b(du|dich|dir|dein\w*|euch|euer|eure\w*)\b", re.IGNORECASE),
    "fr": re.compile(r"\b(tu|te|toi|ton|ta|tes)\b|\bt['’]", re.IGNORECASE),
    "es": re.compile(r"\b(tú|te|ti|tu|tus|contigo|tuy[oa]s?)\b", re.IGNORECASE),
}
FORMAL = {
    "de": re.compile(r"(?<!^)(?<![.!?] )\b(Sie|Ihnen|Ihr(e[nmrs]?)?)\b|^Sie\b"),
    "fr": re.compile(r"\b(vous|votre|vos)\b", re.IGNORECASE),
    "es": re.compile(r"\b(usted|ustedes)\b", re.IGNORECASE),
}


@dataclass(frozen=True)
class Cuts:
    """For each pair, the furthest source word that each target word (and those before) needs."""

    flat: NDArray[np.int16]
    offsets: NDArray[np.int64]  # [pairs + 1]

    def __getitem__(self, pair: int) -> NDArray[np.int16]:
        return self.flat[self.offsets[pair] : self.offsets[pair + 1]]


@dataclass(frozen=True)
class Bitext:
    """The pairs of English with one foreign language."""

    language: str
    english: list[str]
    foreign: list[str]
    sources: list[str]  # where each pair comes from
    from_english: Cuts  # over the foreign words
    to_english: Cuts  # over the English words

    def __len__(self) -> int:
        return len(self.english)


def load_bitext(corpus: Path, language: str, cache: Path) -> Bitext:
    """Read the training pairs of a language and align them, or take the alignment from `cache`.

    Raises:
        FileNotFoundError: the corpus has no such language.
    """
    paths = [corpus / f"en-{language}.train.tsv.xz"]
    paths += sorted(corpus.glob(f"en-{language}.distilled-*.tsv.xz"))
    english, foreign, sources = _read(paths)
    content = b"".join(path.read_bytes() for path in paths)
    digest = hashlib.sha256(_CACHE_VERSION + content).hexdigest()[:16]
    stored = cache / f"align-{language}-{digest}.npz"
    if stored.exists():
        with np.load(stored) as arrays:
            there = Cuts(arrays["there"].astype(np.int16) - 1, arrays["there_at"])
            back = Cuts(arrays["back"].astype(np.int16) - 1, arrays["back_at"])
    else:
        english_words = [text.split() for text in english]
        foreign_words = [text.split() for text in foreign]
        to_foreign = align(english_words, foreign_words)
        to_english = align(foreign_words, english_words)
        there = _cuts(agree(to_foreign, to_english))
        back = _cuts(agree(to_english, to_foreign))
        cache.mkdir(parents=True, exist_ok=True)
        # A sentence has at most 100 words, so one byte holds an index.
        np.savez_compressed(
            stored,
            there=(there.flat + 1).astype(np.uint8), there_at=there.offsets,
            back=(back.flat + 1).astype(np.uint8), back_at=back.offsets,
        )  # fmt: skip
    return Bitext(language, english, foreign, sources, there, back)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Read (English, foreign) from a training, validation or test file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    english, foreign, _ = _read([path])
    return list(zip(english, foreign, strict=True))


def sampling_weights(bitext: Bitext, mix: Mix, *, from_english: bool) -> NDArray[np.float64]:
    """Return how many times a pair is drawn in an epoch, on average: [pairs]."""
    weights = np.array([mix.weights.get(name, 1.0) for name in bitext.sources])
    if from_english:
        weights[_familiar_siblings(bitext)] *= mix.familiar_weight
    return weights


def _familiar_siblings(bitext: Bitext) -> list[int]:
    """Return the pairs in familiar address whose English sentence also has a formal translation."""
    formal, familiar = FORMAL.get(bitext.language), FAMILIAR.get(bitext.language)
    if formal is None or familiar is None:
        return []
    with_formal = {
        english
        for english, foreign in zip(bitext.english, bitext.foreign, strict=True)
        if "you" in english.lower() and formal.search(foreign) and not familiar.search(foreign)
    }
    return [
        i
        for i, (english, foreign) in enumerate(zip(bitext.english, bitext.foreign, strict=True))
        if english in with_formal and familiar.search(foreign)
    ]


def _read(paths: Sequence[Path]) -> tuple[list[str], list[str], list[str]]:
    columns: tuple[list[str], list[str], list[str]] = ([], [], [])
    for path in paths:
        opened = lzma.open if path.suffix == ".xz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            for line in file:
                fields = line.rstrip("\n").split("\t")
                columns[0].append(fields[0])
                columns[1].append(fields[1])
                columns[2].append(fields[2] if len(fields) > 2 else "")
    return columns


def _cuts(alignment: list[NDArray[np.int16]]) -> Cuts:
    offsets = np.zeros(len(alignment) + 1, np.int64)
    np.cumsum([len(row) for row in alignment], out=offsets[1:])
    flat = np.concatenate([running_cut(row) for row in alignment])
    return Cuts(flat.astype(np.int16), offsets)
