"""What text hygiene does to live translation: the same replays with and without it.

Hygiene is for text other than plain speech; for plain speech it must neither cost quality nor add
flicker. Knows replays; the columns are defined in scores.py.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from tqdm import tqdm

from service.bench.captions import simulated_replay
from service.bench.captions.documents import as_recogniser, deal, first_words, word_by_word
from service.bench.captions.policies import DEFAULT_STABILITY, POLICIES
from service.bench.captions.scores import mean_lagging, normalised_erasure
from service.bench.captions.streaming import TRACES, load_set
from service.bench.captions.transcript import segment_logs
from tokenspeed.bench.kept import SCORED, keep
from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.quality.text_score import score_text
from tokenspeed.bench.result import Row
from tokenspeed.text import segmenter
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.glossary import Found
from tokenspeed.text.guard import Fault
from tokenspeed.text.pipeline import Cut, Hygiene, Piece
from tokenspeed.text.placeholders import Placeholders
from tokenspeed.text.spans import Span

NUM_SPEAKERS: Final = 4


class Untouched(Hygiene):
    """Does nothing to texts except cutting them into sentences."""

    def piece(self) -> Piece:
        return _UntouchedPiece(self)

    def cut(self, text: str, min_words: int = 0, scale: int = 1) -> list[Cut]:
        pieces = segmenter.cut(text, min_words, scale)
        *begun, last = (Cut(piece, not segmenter.is_sentence(piece)) for piece in pieces)
        return [*begun, Cut(last.text, is_cut=False)]

    def spans(self, text: str) -> list[Span]:
        return []

    def find(self, text: str) -> list[Found]:
        return []


class _UntouchedPlaceholders(Placeholders):
    def replace(self, text: str, committed: str = "", **about: object) -> str:
        return text


class _UntouchedPiece(Piece):
    def __init__(self, hygiene: Hygiene) -> None:
        super().__init__(hygiene)
        self.placeholders = _UntouchedPlaceholders(hygiene)

    def take(self, text: str, *, is_open: bool = False, committed: str = "") -> None:
        self.core = text.strip()

    def following(self) -> Piece:
        return self.hygiene.piece()

    def token_text(self, token_text: TokenText) -> TokenText:
        return token_text

    def finish(self, text: str, committed: str = "") -> None:
        """Correct nothing."""

    def certain_words(self, output: str, missing: Sequence[Found]) -> int | None:
        return None

    def fault_of(self, output: str, *, is_whole: bool) -> Fault | None:
        return None


HYGIENES: Final = {"with": Hygiene, "without": Untouched}


def measure_untouched(options: argparse.Namespace) -> list[Row]:
    """Replay everything both ways and write the files that were asked for; return the rows.

    Raises:
        ServiceError: a replay failed.
        TokenSpeedError: the model cannot be used.
        OSError: a file cannot be read or written.
        ValueError: a set is unknown.
    """
    plan = [
        (name, trace, hygiene)
        for name in options.sets.split(",")
        for trace in TRACES
        for hygiene in HYGIENES
    ]
    stage = simulated_replay.open_stage(options.model, options.device, time.process_time)
    with closing(stage):
        rows = [_row(stage, options, *asked) for asked in tqdm(plan, unit="replay", leave=False)]
    keep(options, rows, untouched_table(rows), packages=SCORED, is_of_model=True)
    return rows


def _row(
    stage: simulated_replay.Stage, options: argparse.Namespace, name: str, trace: str, hygiene: str
) -> Row:
    lines, source, target = load_set(options.corpus, name, 0)
    hands = deal(first_words(lines, options.max_words), NUM_SPEAKERS)
    say = word_by_word if trace == "words" else as_recogniser
    transcripts, _ = simulated_replay.replay(
        stage,
        [(hand, say(hand)) for hand in hands],
        POLICIES[DEFAULT_STABILITY],
        source,
        target,
        HYGIENES[hygiene],
    )
    logs = [log for transcript in transcripts for log in segment_logs(transcript)]
    score = score_text([log.prediction for log in logs], [log.reference for log in logs])
    return {
        "set": name,
        "trace": trace,
        "hygiene": hygiene,
        "segments": len(logs),
        "bleu": round(score.bleu, 2),
        "chrf": round(score.chrf, 2),
        "erasure": round(normalised_erasure(logs), 4),
        "laal_words": round(mean_lagging(logs, "words"), 3),
    }


def untouched_table(rows: Sequence[Row]) -> str:
    """Return the rows in Markdown: those of one replay beside each other."""
    found = {(row["set"], row["trace"], row["hygiene"]): row for row in rows}
    columns = [f"{what}, {how}" for what in ("BLEU", "erasure", "LAAL words") for how in HYGIENES]
    lines = []
    for name, trace in dict.fromkeys((row["set"], row["trace"]) for row in rows):
        both = [found[name, trace, how] for how in HYGIENES]
        cells = [f"{row['bleu']:.1f}" for row in both]
        cells += [f"{row['erasure']:.3f}" for row in both]
        cells += [f"{row['laal_words']:.2f}" for row in both]
        lines.append([name, trace, *cells])
    titles = " | ".join(["set", "trace", *columns])
    return markdown_table(titles, "ll" + "r" * len(columns), lines)
