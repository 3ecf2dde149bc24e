"""What an MTP layer learns from: prompts as captions make them, and what the model answers.

Sentences of a corpus, most of them cut as a caption grows and some written as recognisers do. The
model translates them itself: the layer has to guess what this model will say, not what is right.
Knows texts and ids; does not know the layer.
"""

import random
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tokenspeed.backends.reference import load_llama
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.text.style import strip_style
from tokenspeed.training.corpus import ENGLISH
from tokenspeed.training.distill import Plan, jobs
from tokenspeed.training.packing import Batch, Sequenced, Shapes, pack

CUT_SHARE = 0.6  # of the sentences: end at a random word, as while someone speaks
SPOKEN_SHARE = 0.3  # in lower case and without marks, as recognisers write
HELD_OUT = 40  # one sentence in so many is for judging, never for learning

_JOB = 256  # sentences of one direction after another: a small run has all directions as well
_LONGEST = 256  # tokens of a prompt, with the wording around the caption
_PROBED = 32  # prompts that tell how a model ends
_CACHE_BYTES = 8 << 30  # of keys and values while the model translates, on a GPU
_MOST_TOGETHER, _MOST_ON_CPU = 2048, 64  # prompts translated together
_USUAL_POSITIONS = 160  # of a short prompt and its longest output


class Caption(NamedTuple):
    """A text to translate.

    Attributes:
        source, target: languages.
        is_open: whether it may still grow.
        is_held_out: whether it is for judging.
    """

    text: str
    source: str
    target: str
    is_open: bool
    is_held_out: bool


class Captions:
    """The sentences of a corpus in all directions, each as a caption, in an order by the seed.

    Args:
        corpus: folder of `en-xx.train.tsv.xz` and `xx.mono.txt.xz`.
        languages: foreign ones.
        seed: of the order and of the cuts.
    Raises:
        FileNotFoundError: the corpus lacks a language.
    """

    def __init__(self, corpus: Path, languages: Sequence[str], seed: int = 1) -> None:
        self._jobs = list(jobs(corpus, Plan(languages, seed=seed), _JOB))
        self._seed = seed

    def __len__(self) -> int:
        return sum(len(texts) for _, _, _, texts in self._jobs)

    def __iter__(self) -> Iterator[Caption]:
        for language, there, number, texts in self._jobs:
            source, target = (ENGLISH, language)[:: 1 if there else -1]
            rng = random.Random(f"{self._seed}/{source}-{target}/{number}")
            for text in texts:
                yield make_caption(text, source, target, rng)


def make_caption(text: str, source: str, target: str, rng: random.Random) -> Caption:
    """Make a caption of a sentence: whole or cut, as written or as spoken."""
    kind, style, words = rng.random(), rng.random(), text.split()
    # By the whole sentence: no other cut of it, and no other direction, may teach it.
    is_held_out = zlib.crc32(text.encode()) % HELD_OUT == 0
    is_open = kind < CUT_SHARE and len(words) > 1
    if is_open:
        text = " ".join(words[: rng.randrange(1, len(words))])
    if style < SPOKEN_SHARE:
        text = strip_style(text, 0.0) or text
    return Caption(text, source, target, is_open, is_held_out)


class Speaker:
    """A model that says what is to be guessed: its translations, with their end marks.

    Args:
        directory: of the model.
        device: "cuda" or "cpu"; in bfloat16 on a GPU.
        batch_size: prompts translated together; None: as many as suit the model and the device.
    Raises:
        CheckpointError: the directory cannot be used.
        ProfileError: no profile says how to prompt the model.
    """

    def __init__(self, directory: Path, device: str, batch_size: int | None = None) -> None:
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        tokenizer = Tokenizer.load(directory)
        self.prompts = load_prompt_format(directory, tokenizer)
        self.llama = load_llama(open_checkpoint(directory), device, dtype)
        self.ends = frozenset((*tokenizer.eos_ids, *self.prompts.stop_ids))
        size = batch_size or _usual_batch(self.llama.config, device)
        self.decoder = BatchDecoder(self.llama, tokenizer.eos_ids[0], size)
        self._is_probed = len(self.ends) == 1

    def examples(self, captions: Sequence[Caption]) -> list[Sequenced | None]:
        """Return prompt and output of each caption; None: too long, or the model did not end.

        Raises:
            ValueError: the model does not translate a pair of languages.
        """
        prompts = [
            self.prompts.build(c.text, c.source, c.target, is_open=c.is_open) for c in captions
        ]
        longest = _longest_prompt(self.llama.config)
        # A position's guess begins from the token before it, so there have to be two.
        fit = [i for i, prompt in enumerate(prompts) if 2 <= len(prompt) <= longest]
        found: list[Sequenced | None] = [None] * len(prompts)
        for i, answer in zip(fit, self._answers([prompts[i] for i in fit]), strict=True):
            if answer is not None:
                found[i] = Sequenced((*prompts[i], *answer), len(prompts[i]))
        return found

    def _answers(self, prompts: Sequence[Sequence[int]]) -> list[list[int] | None]:
        """Return the outputs with their end marks; None for a loop, which the service cuts off."""
        if not self._is_probed and prompts:
            self._probe(prompts[:_PROBED])
        found: list[list[int] | None] = []
        for output in self.decoder.greedy_with_margins(prompts):
            said = [*output.tokens, self.decoder.eos] if output.is_whole else output.tokens
            end = next((at for at, token in enumerate(said) if token in self.ends), None)
            found.append(None if end is None else said[: end + 1])
        return found

    def _probe(self, prompts: Sequence[Sequence[int]]) -> None:
        """Let the decoder stop at the end mark that the model uses most, of several it may use.

        It knows only one; an output that ends with another is computed to its length limit.
        """
        self._is_probed = True
        ends = Counter(answer[-1] for answer in self._answers(prompts) if answer is not None)
        if ends:
            self.decoder.eos = ends.most_common(1)[0][0]


def _longest_prompt(config: ModelConfig) -> int:
    """Return how long a prompt may be: an output may be twice as long, plus 10 tokens."""
    positions = min(config.max_position_embeddings, config.window or config.max_position_embeddings)
    # The decoder rounds the positions of a batch up to 16.
    return min(_LONGEST, (positions - 32) // 3)


def _usual_batch(config: ModelConfig, device: str) -> int:
    if not device.startswith("cuda"):
        return _MOST_ON_CPU
    position_bytes = 2 * 2 * config.num_layers * config.num_kv_heads * config.head_dim
    return max(1, min(_MOST_TOGETHER, _CACHE_BYTES // (position_bytes * _USUAL_POSITIONS)))


def mtp_shapes(tokens: int) -> Shapes:
    """Return the sizes of a batch: captions are short, and their outputs about half of them."""
    return Shapes(tokens, tokens // 2, tokens // 12 + 1, tokens)


def batches(
    examples: Sequence[Sequenced], shapes: Shapes, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield all examples, shuffled, in packed batches; none is left out that fits in one."""
    fitting = [
        e
        for e in examples
        if len(e.ids) <= min(shapes.tokens, shapes.max_length)
        and len(e.ids) - e.num_prompt <= shapes.targets
    ]
    order = rng.permutation(len(fitting))
    lengths = np.array([len(fitting[i].ids) for i in order], np.int64)
    outputs = lengths - np.array([fitting[i].num_prompt for i in order], np.int64)
    token_ends, target_ends = np.cumsum(lengths), np.cumsum(outputs)
    start = tokens = targets = 0  # examples, and what they hold, of the batches before
    while start < len(order):
        end = min(
            int(np.searchsorted(token_ends, tokens + shapes.tokens, side="right")),
            int(np.searchsorted(target_ends, targets + shapes.targets, side="right")),
            start + shapes.documents - 1,  # padding is one document more
        )
        batch = pack([fitting[i] for i in order[start:end]], shapes, padding_id=0)
        assert batch.num_examples == end - start
        yield batch
        start, tokens, targets = end, int(token_ends[end - 1]), int(target_ends[end - 1])
