"""A whole run: a model translates captions, an MTP layer learns from them, and is written.

In chunks, so that what is learnt first need not wait for all translations, and a run that is
stopped by time has used what it made. Knows time and files; does not know tensors.
"""

import errno
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tokenspeed.model.mtp import Mtp, write_mtp
from tokenspeed.training.mtp import MtpTrainer, Score
from tokenspeed.training.mtp_data import Captions, Speaker, batches
from tokenspeed.training.packing import Batch, Sequenced, Shapes

# Of a larger vocabulary only the most frequent tokens are guessed (FR-Spec, arXiv 2502.14856): its
# head would be most of the layer's work.
MOST_GUESSED = 1 << 15
_TOKENS, _TOKENS_ON_CPU = 16_384, 1_024  # of a batch
_CHUNK_BATCHES = 8  # of the decoder, in a chunk: it sorts captions by length
_JUDGED = 8  # times in a run
_REPORTED = 10  # steps between two reports; asking for the loss means waiting for the device

Report = Callable[[int, str], object]  # (captions done since the last report, state in words)


@dataclass(frozen=True)
class MtpPlan:
    """How much to train.

    Attributes:
        num_prompts: captions that the model translates, at most.
        epochs: how often the layer sees each of them, on average.
        max_seconds: stop after this time, translating included.
        seed: of captions, initial weights and order. Equal seeds give equal layers, unless the time
            ends a run.
    """

    num_prompts: int = 200_000
    epochs: int = 4
    max_seconds: float = math.inf
    seed: int = 1


class Schedule:
    """How much of a run is over, by captions or by time.

    Attributes:
        done: captions translated and learnt; one that is being learnt counts in part.
    """

    def __init__(self, num_prompts: int, max_seconds: float) -> None:
        self.num_prompts, self.max_seconds = num_prompts, max_seconds
        self.done = 0.0
        self._begin = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._begin

    @property
    def share(self) -> float:
        """From 0 to 1."""
        by_time = self.elapsed_s / self.max_seconds if self.max_seconds > 0 else 1.0
        return min(1.0, max(self.done / max(1, self.num_prompts), by_time))


def train_mtp(
    model: Path,
    corpus: Path,
    out: Path,
    plan: MtpPlan,
    *,
    languages: Sequence[str],
    device: str,
    batch_size: int | None = None,
    report: Report = lambda count, state: None,
) -> Score:
    """Train a layer for a model and write it to a file, whole or not at all.

    Args:
        model: its directory.
        corpus: folder of `en-xx.train.tsv.xz` and `xx.mono.txt.xz`.
        out: the file.
        languages: foreign ones.
        device: "cuda" or "cpu".
        batch_size: prompts translated together; None: as many as suit the model and the device.
    Returns:
        How often the layer is right on text that was held out.
    Raises:
        CheckpointError: the model cannot be used.
        ProfileError: no profile says how to prompt the model.
        OSError: the corpus lacks a language, or the file cannot be written.
        ValueError: the model does not translate a pair, or there was nothing to learn from.
    """
    check_target(out)
    captions = Captions(corpus, languages, plan.seed)
    speaker = Speaker(model, device, batch_size)
    tokens = _TOKENS if device.startswith("cuda") else _TOKENS_ON_CPU
    trainer = MtpTrainer(speaker.llama, speaker.ends, tokens, plan.seed)
    learnt, held_out = learn(trainer, speaker, captions, plan, report)
    guessed = None
    if speaker.llama.config.vocab_size > MOST_GUESSED:
        guessed = frequent_tokens(learnt, MOST_GUESSED)
    score = trainer.judge(held_out, guessed)
    write_whole(out, trainer.layer, guessed)
    return score


def learn(
    trainer: MtpTrainer, speaker: Speaker, captions: Captions, plan: MtpPlan, report: Report
) -> tuple[list[Sequenced], list[Sequenced]]:
    """Translate chunk by chunk and learn from each; see `train_mtp`.

    Returns:
        What was learnt, and what was held out.
    """
    schedule = Schedule(min(plan.num_prompts, len(captions)), plan.max_seconds)
    taken = islice(captions, schedule.num_prompts)
    learnt, held_out = list[Sequenced](), list[Sequenced]()
    num_translated, next_judged, known = 0, 1 / _JUDGED, ""
    while schedule.share < 1:
        chunk = list(islice(taken, _CHUNK_BATCHES * speaker.decoder.batch_size))
        if not chunk:
            break
        report(0, f"translating{known}")
        said = list(zip(chunk, speaker.examples(chunk), strict=True))
        held_out += [example for caption, example in said if example and caption.is_held_out]
        fresh = [example for caption, example in said if example and not caption.is_held_out]
        rng = np.random.default_rng((plan.seed, num_translated))
        learnt += fresh
        for batch, part in _passes(fresh, learnt, trainer.shapes, plan.epochs, rng):
            schedule.done = num_translated + part * len(chunk)
            if schedule.share >= 1:
                break
            loss = trainer.step(batch, schedule.share)
            if trainer.num_steps % _REPORTED == 1:
                report(0, f"loss {float(loss):.2f}{known}")
        num_translated += len(chunk)
        schedule.done = num_translated
        if next_judged <= schedule.share < 1:
            known = f", {trainer.judge(held_out)}"
            next_judged = schedule.share + 1 / _JUDGED
        report(len(chunk), f"translated{known}")
    if not trainer.num_steps:
        raise ValueError(
            f"nothing was learnt in {schedule.elapsed_s:.0f} s: of {num_translated} captions, "
            "there was none that the model translated to an end, or no time was left for them"
        )
    return learnt, held_out


def frequent_tokens(learnt: Sequence[Sequenced], most: int) -> list[int]:
    """Return the tokens that outputs have most often, ascending; at most so many."""
    said = np.concatenate([example.ids[example.num_prompt :] for example in learnt])
    tokens, counts = np.unique(said, return_counts=True)
    found: list[int] = np.sort(tokens[np.argsort(-counts, kind="stable")[:most]]).tolist()
    return found


def _passes(
    fresh: Sequence[Sequenced],
    learnt: Sequence[Sequenced],
    shapes: Shapes,
    epochs: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Batch, float]]:
    """Yield batches of what is fresh, then of as much for each further epoch, and the share before.

    Further ones are drawn from all that was translated: a chunk alone would be learnt by heart.
    """
    for epoch in range(epochs):
        drawn = rng.choice(len(learnt), len(fresh), replace=False) if epoch else ()
        made = list(batches([learnt[i] for i in drawn] if epoch else fresh, shapes, rng))
        for at, batch in enumerate(made):
            yield batch, (epoch + at / len(made)) / epochs


def check_target(path: Path) -> None:
    """Refuse a file that could not be written after hours of work.

    Raises:
        OSError: it is a directory, or its directory is missing or cannot be written to.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    part = _part(path)
    part.touch()
    part.unlink()


def write_whole(path: Path, layer: Mtp, guessed: Sequence[int] | None = None) -> None:
    """Write the layer beside its place and rename it: an engine never reads half a file.

    Args:
        guessed: tokens that can be guessed, ascending; None: all.
    Raises:
        OSError: the file cannot be written.
    """
    part = _part(path)
    try:
        write_mtp(part, layer, guessed=guessed)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
