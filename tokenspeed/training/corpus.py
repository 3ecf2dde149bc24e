"""The parallel corpus in memory: pairs, their words, and how often each is drawn.

Reads `en-xx.train.tsv.xz`, synthetic pairs beside it (`en-xx.distilled-*.tsv.xz`),
`en-xx.valid.tsv` (English, foreign, name of the source) and `xx.mono.txt.xz` (sentence, source).
Knows which sources and which forms of address are preferred; does not know tokens.
"""

import hashlib
import lzma
import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenspeed.text.style import FAMILIAR, FORMAL, YOU
from tokenspeed.training.align import Aligner, Lexicon
from tokenspeed.training.config import Mix
from tokenspeed.training.rules.frames import is_taught
from tokenspeed.training.rules.pairs import pairs as rule_pairs

ENGLISH = "en"
DISTILLED = ("distilled-foreign", "distilled-english")  # by the side that a teacher wrote
DICTIONARIES = frozenset({"ding-dictionary", "freedict"})
# Sentences that must have a word; a dictionary's entries with rarer words are left out.
_ATTESTED = 3
_CACHE_VERSION = b"3"
_SMALL_BYTES = 100_000  # of a compressed file; some ten thousand pairs
_LEXICON_PAIRS = 150_000  # more would teach only rare words
_LEAST_FAMILIAR = 0.3  # share of familiar pairs that is kept where formal ones are preferred


@dataclass(frozen=True)
class Bitext:
    """The pairs of English with one foreign language."""

    language: str
    english: list[str]
    foreign: list[str]
    sources: list[str]  # where each pair comes from
    cuts: dict[int, str] = field(default_factory=dict)  # by pair: prefixes whose target is known

    def __len__(self) -> int:
        return len(self.english)


def load_bitext(corpus: Path, language: str, *, has_distilled: bool = True) -> Bitext:
    """Read the training pairs of a language, the synthetic ones last.

    Entries of dictionaries are left out unless the English of other pairs has all of their words:
    what is in no sentence is slang, or a technical term.

    Raises:
        FileNotFoundError: the corpus has no such language.
    """
    paths = [_train_path(corpus, language)]
    if has_distilled:
        paths += sorted(corpus.glob(f"{ENGLISH}-{language}.distilled-*.tsv.xz"))
    english, foreign, sources, cuts = _read(paths)
    if DICTIONARIES.isdisjoint(sources):
        return Bitext(language, english, foreign, sources, cuts)
    said = Counter(
        word
        for text, source in zip(english, sources, strict=True)
        if source not in DICTIONARIES
        for word in text.lower().split()
    )
    kept = [
        i
        for i, source in enumerate(sources)
        if source not in DICTIONARIES
        or all(said[word] >= _ATTESTED for word in english[i].lower().split())
    ]
    english, foreign, sources = ([c[i] for i in kept] for c in (english, foreign, sources))
    left = {new: cuts[old] for new, old in enumerate(kept) if old in cuts}
    return Bitext(language, english, foreign, sources, left)


def add_rules(bitext: Bitext, seed: int, scale: float, cache: Path) -> Bitext:
    """Return a bitext with pairs made by rule at its end; made once, then taken from `cache`."""
    path = cache / f"rules-{bitext.language}-{seed}-{scale:g}.tsv.xz"
    if not path.exists():
        made = rule_pairs(bitext.language, seed, scale)
        text = "".join(f"{pair.english}\t{pair.foreign}\t{pair.source}\n" for pair in made)
        path.write_bytes(lzma.compress(text.encode()))
    english, foreign, sources, _ = _read([path])
    return Bitext(
        bitext.language,
        bitext.english + english,
        bitext.foreign + foreign,
        bitext.sources + sources,
        bitext.cuts,
    )


def read_mono(corpus: Path, language: str, left_out: Sequence[str] = ()) -> list[str]:
    """Read the sentences of one language, without those of some sources; none without a file."""
    path = corpus / f"{language}.mono.txt.xz"
    if not path.exists():
        return []
    texts, names, _, _ = _read([path])
    return [text for text, name in zip(texts, names, strict=True) if name not in left_out]


def load_aligners(corpus: Path, languages: Sequence[str], cache: Path) -> list[Aligner]:
    """Learn which words translate which, from English, or take it from `cache`.

    Each lexicon that is missing is learnt in a process of its own, unless that takes longer to
    start than a small corpus to learn.

    Raises:
        FileNotFoundError: the corpus lacks a language.
    """
    paths = [
        (train, _lexicon_path(train, cache, is_there=is_there), is_there)
        for train in (_train_path(corpus, language) for language in languages)
        for is_there in (True, False)
    ]
    missing = [path for path in paths if not path[1].exists()]
    if all(train.stat().st_size < _SMALL_BYTES for train, _, _ in missing):
        for path in missing:
            _fit_lexicon(*path)
    else:
        # Not forked: the parent may have threads, of torch or of a compiler.
        with multiprocessing.get_context("spawn").Pool(min(len(missing), _processors())) as pool:
            pool.starmap(_fit_lexicon, missing)
    lexicons = [Lexicon.load(stored) for _, stored, _ in paths]
    return [Aligner(*two) for two in zip(lexicons[::2], lexicons[1::2], strict=True)]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Read (English, foreign) from a training, validation or test file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    english, foreign, _, _ = _read([path])
    return list(zip(english, foreign, strict=True))


def sampling_weights(bitext: Bitext, mix: Mix, *, from_english: bool) -> NDArray[np.float64]:
    """Return how many times a pair is drawn in an epoch, on average: [pairs].

    A teacher's pair counts as "distilled" where the teacher wrote the target, as "back-translated"
    where it wrote the source. From English, familiar address gives way to formal.
    """
    by_name = dict(mix.weights)
    for name, is_target in zip(DISTILLED, (from_english, not from_english), strict=True):
        by_name[name] = mix.weights.get("distilled" if is_target else "back-translated", 1.0)
    for name in set(bitext.sources):
        if not is_taught(name, from_english=from_english):
            by_name[name] = 0.0
        elif name.startswith("rules-"):
            by_name.setdefault(name, by_name.get("rules", 1.0))
    weights = np.array([by_name.get(name, 1.0) for name in bitext.sources])
    if from_english and bitext.language in FORMAL:
        _prefer_formal(weights, bitext, mix)
    return weights


def _prefer_formal(weights: NDArray[np.float64], bitext: Bitext, mix: Mix) -> None:
    """Lower the weights of pairs in familiar address, in place.

    First where the English sentence also has a formal translation, then all alike until formal
    ones are drawn `formal_odds` times as often: a model writes what it has seen more often.
    Sentences with "you" must not become rare: a language with too few formal pairs is left alone.
    """
    formal, familiar = _address(bitext)
    with_formal = {english for english, is_so in zip(bitext.english, formal, strict=True) if is_so}
    has_sibling = np.array([english in with_formal for english in bitext.english])
    weights[familiar & has_sibling] *= mix.familiar_weight
    odds = weights[formal].sum() / max(weights[familiar].sum(), 1e-9)
    if mix.formal_odds > odds >= mix.formal_odds * _LEAST_FAMILIAR:
        weights[familiar] *= odds / mix.formal_odds


def _address(bitext: Bitext) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pairs address an English "you" only formally, and which familiarly: [pairs]."""
    formal, familiar = FORMAL[bitext.language], FAMILIAR[bitext.language]
    found = np.zeros((2, len(bitext)), np.bool_)
    for i, (english, foreign) in enumerate(zip(bitext.english, bitext.foreign, strict=True)):
        if YOU.search(english):
            found[1, i] = familiar.search(foreign) is not None
            found[0, i] = not found[1, i] and formal.search(foreign) is not None
    return found[0], found[1]


def _read(paths: Sequence[Path]) -> tuple[list[str], list[str], list[str], dict[int, str]]:
    """Return three columns, and the fourth by line where there is one."""
    columns: tuple[list[str], list[str], list[str]] = ([], [], [])
    fourth: dict[int, str] = {}
    for path in paths:
        opened = lzma.open if path.suffix == ".xz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            for line in file:
                fields = line.rstrip("\n").split("\t")
                if len(fields) > 3 and fields[3]:
                    fourth[len(columns[0])] = fields[3]
                columns[0].append(fields[0])
                columns[1].append(fields[1])
                columns[2].append(fields[2] if len(fields) > 2 else "")
    return *columns, fourth


def _fit_lexicon(train: Path, stored: Path, is_there: bool) -> None:
    pairs = read_pairs(train)[:_LEXICON_PAIRS]
    english, foreign = ([pair[side].split() for pair in pairs] for side in (0, 1))
    lexicon = Lexicon.fit(*((english, foreign) if is_there else (foreign, english)))
    lexicon.save(stored)


def _lexicon_path(train: Path, cache: Path, *, is_there: bool) -> Path:
    digest = hashlib.sha256(_CACHE_VERSION + train.read_bytes()).hexdigest()[:16]
    language = train.name.removeprefix(f"{ENGLISH}-").partition(".")[0]
    direction = f"{ENGLISH}-{language}" if is_there else f"{language}-{ENGLISH}"
    return cache / f"lexicon-{direction}-{digest}.npz"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _train_path(corpus: Path, language: str) -> Path:
    return corpus / f"{ENGLISH}-{language}.train.tsv.xz"
