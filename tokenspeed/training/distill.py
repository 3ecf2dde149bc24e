"""Synthetic pairs: every sentence of the corpus, translated by a larger model, the teacher.

Every English sentence, of a pair or single, is translated into every foreign language, and every
foreign one into English. Such a pair teaches both directions: as distillation where the teacher
wrote the target (Kim and Rush, 2016, https://aclanthology.org/D16-1139), as back-translation where
it wrote the source (Sennrich et al., 2016, https://aclanthology.org/P16-1009).
"""

import contextlib
import lzma
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from tokenspeed.backends.reference import load_llama
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.training.corpus import (
    DICTIONARIES,
    DISTILLED,
    ENGLISH,
    load_bitext,
    read_mono,
)
from tokenspeed.training.examples import KnownCut, apply_cut

_CHUNK = 8_192  # sentences sorted by length at one time
_LONGEST = 160  # tokens of a prompt; no caption is longer
_HALF_WORDS = 0.2  # of the cuts: within the last word


class Decode(Protocol):
    """Translates texts from a source language to a target language."""

    def __call__(self, texts: Sequence[str], source: str, target: str) -> list[str]: ...


@dataclass(frozen=True)
class Plan:
    """What a teacher is to translate.

    Attributes:
        languages: foreign ones.
        has_pairs, has_mono: the sentences of `en-xx.train.tsv.xz`, and of `xx.mono.txt.xz`.
        left_out: sources of either that are not translated.
        prefix_share: of the sentences of which a beginning is translated as well.
        part: (I, N): the I-th of N processes, each with its own sentences.
        seed: of the order and of the cuts.
    """

    languages: Sequence[str]
    has_pairs: bool = True
    has_mono: bool = True
    left_out: Sequence[str] = ()
    prefix_share: float = 0.0
    part: tuple[int, int] = (1, 1)
    seed: int = 1


def distill(
    corpus: Path,
    plan: Plan,
    decode: Decode,
    out: Path,
    progress: Callable[[int], object] = lambda count: None,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Write `out/en-xx.distilled-I.tsv.xz`: English, foreign, which of `DISTILLED` it is, cuts.

    Args:
        corpus: folder of `en-xx.train.tsv.xz` and `xx.mono.txt.xz`.
        decode: translates texts; an empty string where it gave up.
        progress: called with the number of sentences done.
        is_over: asked before each chunk of sentences; whether to stop with what is done.
    Raises:
        FileNotFoundError: the corpus lacks a language.
    """
    index, _ = plan.part
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        files = {
            language: stack.enter_context(
                lzma.open(
                    out / f"{ENGLISH}-{language}.distilled-{index}.tsv.xz",
                    "wt",
                    encoding="utf-8",
                    preset=1,
                )
            )
            for language in plan.languages
        }
        # All directions in turn, so that a run that is stopped early has some of each.
        for language, there, number, chunk in jobs(corpus, plan):
            if is_over():
                break
            source, target = (ENGLISH, language)[:: 1 if there else -1]
            made = decode(chunk, source, target)
            kept = [
                (text, translation)
                for text, translation in zip(chunk, made, strict=True)
                if is_plausible(text, translation)
            ]
            rng = random.Random(f"{plan.seed}/{source}-{target}/{index}/{number}")
            cuts = _find_cuts(kept, partial(decode, source=source, target=target), plan, rng)
            for (text, translation), cut in zip(kept, cuts, strict=True):
                pair = (text, translation) if there else (translation, text)
                fields = (*pair, DISTILLED[not there], *((str(cut),) if cut else ()))
                files[language].write("\t".join(fields) + "\n")
            progress(len(chunk))


def jobs(
    corpus: Path, plan: Plan, size: int = _CHUNK
) -> Iterator[tuple[str, bool, int, Sequence[str]]]:
    """Yield (language, from English?, number, texts), all directions in turn.

    Args:
        size: sentences of a job, at most.
    Raises:
        FileNotFoundError: the corpus lacks a language.
    """
    index, parts = plan.part
    pools: dict[tuple[str, bool], list[str]] = {}
    english = dict.fromkeys(read_mono(corpus, ENGLISH, plan.left_out) if plan.has_mono else ())
    for language in plan.languages:
        pairs = load_bitext(corpus, language, has_distilled=False) if plan.has_pairs else None
        own = dict.fromkeys(read_mono(corpus, language, plan.left_out) if plan.has_mono else ())
        if pairs is not None:
            for text, foreign, source in zip(
                pairs.english, pairs.foreign, pairs.sources, strict=True
            ):
                if source not in plan.left_out and source not in DICTIONARIES:
                    english[text], own[foreign] = None, None
        pools[language, False] = list(own)
    for language in plan.languages:
        pools[language, True] = list(english)
    found = []
    for (language, there), pool in sorted(pools.items(), key=lambda item: not item[0][1]):
        random.Random(f"{plan.seed}/{there}").shuffle(pool)
        chunks = enumerate(_chunks(pool[index - 1 :: parts], size))
        found += [(language, there, number, chunk) for number, chunk in chunks]
    yield from sorted(found, key=lambda job: job[2])


def _find_cuts(
    pairs: Sequence[tuple[str, str]],
    decode: Callable[[Sequence[str]], list[str]],
    plan: Plan,
    rng: random.Random,
) -> list[KnownCut | None]:
    """Cut some sentences at a random word, and keep what is certain of each translation.

    The beginning is translated as well. What its translation has in common with that of the whole
    can be said already. Source: Niehues et al. 2018, https://arxiv.org/abs/1808.00491,
    where the share of the length decides; here the teacher does.
    """
    tried: list[tuple[int, KnownCut]] = []
    for i, (text, _) in enumerate(pairs):
        count = len(text.split())
        if rng.random() < plan.prefix_share and count > 1:
            words = rng.randrange(1, count)
            tried.append((i, KnownCut(words, 0, rng.random() < _HALF_WORDS)))
    beginnings = decode([apply_cut(pairs[i], cut)[0] for i, cut in tried])
    found: list[KnownCut | None] = [None] * len(pairs)
    for (i, cut), beginning in zip(tried, beginnings, strict=True):
        found[i] = replace(cut, target_words=words_in_common(beginning, pairs[i][1]))
    return found


def words_in_common(beginning: str, whole: str) -> int:
    """Return how many words of a prefix's translation the whole's begins with.

    A full stop at the end of a prefix's translation is left out.
    """
    words = beginning.rstrip(".!?… ").split()
    count = 0
    for word, other in zip(words, whole.split(), strict=False):
        if word != other:
            break
        count += 1
    return count


def is_plausible(source: str, made: str) -> bool:
    """Whether a machine's translation may teach: not empty, no copy, no loop, not far too long."""
    words, made_words = source.split(), made.split()
    if not made_words or "\t" in made or "\n" in made:
        return False
    if len(words) > 3 and source == made:
        return False
    longer, shorter = max(len(words), len(made_words)), min(len(words), len(made_words))
    if longer > 2 * shorter + 4:
        return False
    # The same four words twice are a loop, unless the source repeats itself too.
    return not _repeats(made_words) or _repeats(words)


def _repeats(words: Sequence[str], size: int = 4) -> bool:
    seen = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return len(set(seen)) < len(seen)


def make_decode(model: Path, device: str, batch_size: int) -> Decode:
    """Open a teacher for greedy decoding, in bfloat16 on a GPU.

    Raises:
        CheckpointError: the directory cannot be used.
    """
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    tokenizer = Tokenizer.load(model)
    prompts = load_prompt_format(model, tokenizer)
    llama = load_llama(open_checkpoint(model), device, dtype).eval()
    decoder = BatchDecoder(llama, tokenizer.eos_ids[0], batch_size)

    def decode(texts: Sequence[str], source: str, target: str) -> list[str]:
        ids = [prompts.build(text, source, target, is_open=False) for text in texts]
        short = [i for i, prompt in enumerate(ids) if len(prompt) <= _LONGEST]
        made = [""] * len(texts)
        for i, found in zip(short, decoder.greedy([ids[i] for i in short]), strict=True):
            made[i] = tokenizer.decode(found)
        return made

    return decode


def _chunks(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for at in range(0, len(texts), size):
        yield texts[at : at + size]
