"""Synthetic pairs from a teacher: what a larger model makes of every sentence of the corpus.

Every English sentence goes into every foreign language, every foreign one into English. Such a
pair is learned from in both directions: as distillation where the teacher wrote the target (Kim and
Rush, 2016, https://aclanthology.org/D16-1139), as back-translation where it wrote the source
(Sennrich et al., 2016, https://aclanthology.org/P16-1009).
"""

import contextlib
import lzma
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from tokenspeed.backends.reference import load_llama
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.training.corpus import DISTILLED, ENGLISH, read_pairs

_CHUNK = 32_768  # sentences that are sorted by length together
_LONGEST = 160  # tokens of a prompt; what is longer is no caption

Decode = Callable[[Sequence[str], str, str], list[str]]  # texts, source language, target language


def distill(
    corpus: Path,
    languages: Sequence[str],
    decode: Decode,
    out: Path,
    part: tuple[int, int] = (1, 1),
    progress: Callable[[int], object] = lambda count: None,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Write `out/en-xx.distilled-I.tsv.xz`: English, foreign, and which of `DISTILLED` it is.

    Args:
        corpus: folder of `en-xx.train.tsv.xz`.
        decode: translates texts; an empty string where it gave up.
        part: (I, N): the I-th of N processes, each with its own sentences.
        progress: called with the number of sentences done.
        is_over: asked before each chunk of sentences; then what is done is the result.
    Raises:
        FileNotFoundError: the corpus lacks a language.
    """
    index, parts = part
    foreign: dict[str, list[str]] = {}
    english: dict[str, None] = {}  # in the order of the corpus, each once
    for language in languages:
        pairs = read_pairs(corpus / f"{ENGLISH}-{language}.train.tsv.xz")
        english |= dict.fromkeys(pair[0] for pair in pairs)
        foreign[language] = list(dict.fromkeys(pair[1] for pair in pairs))
    jobs = [
        (at, language, there, chunk)
        for language in languages
        for there, texts in ((True, list(english)), (False, foreign[language]))
        for at, chunk in enumerate(_chunks(texts[index - 1 :: parts]))
    ]
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
            for language in languages
        }
        # All directions in turn: whoever stops early has some of each.
        for _, language, there, chunk in sorted(jobs, key=lambda job: job[0]):
            if is_over():
                break
            source, target = (ENGLISH, language)[:: 1 if there else -1]
            for text, made in zip(chunk, decode(chunk, source, target), strict=True):
                if is_plausible(text, made):
                    pair = (text, made) if there else (made, text)
                    files[language].write("\t".join((*pair, DISTILLED[not there])) + "\n")
            progress(len(chunk))


def is_plausible(source: str, made: str) -> bool:
    """Tell whether a machine's translation may teach: not empty, a copy, a loop or far too long."""
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


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(texts), _CHUNK):
        yield texts[at : at + _CHUNK]
