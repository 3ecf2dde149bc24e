"""How good, how late and how restless a live translation was: the definitions, and nothing else.

A `SegmentLog` holds what a reader saw of one segment and when. Latency is measured on the words of
the last display, which may have been shown, taken back and shown again before. Three moments of a
word count (`Moment`):

- `first`: it was shown whole, with all text before it as it ended up, for the first time;
- `stable`: from here on it, and all before it, never changed again. This is the delay of
  re-translation in arXiv 2004.03643 (section 3), and what `AL` and `LAAL` mean without a qualifier;
- `committed`: the service itself said that it would not change (append-only text, or the final).

Delays are in source words read (`words`) or in ms of source time (`ms`), both of the revision that
a display answers, or in ms on the reader's clock, computation and network included (`elapsed_ms`).
Words are separated by spaces. Whether one was shown or taken back is decided by its characters:
text that only grows at its end takes nothing back, even if a comma is added to its last word.
Knows texts and numbers; does not know sockets, models or policies.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

Moment = Literal["first", "stable", "committed"]
Unit = Literal["words", "ms", "elapsed_ms"]

_WORD = re.compile(r"\S+")
MANY_WORDS = 2  # an update that takes back more is one that a reader notices


@dataclass(frozen=True, slots=True)
class Display:
    """What a reader saw from one moment on.

    Attributes:
        text: all that is shown. committed: how many characters of it never change again.
        source_words: words of the source revision that this answers.
        source_ms: end of that revision's last word, since the first word began.
        elapsed_ms: when the reader saw it, on the same clock.
    """

    text: str
    committed: int
    source_words: int
    source_ms: float
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class SegmentLog:
    """One segment as its reader saw it.

    Attributes:
        source, reference: the complete source and a human translation.
        source_ms: the source's length in time.
        displays: in order; the last one is the final text, all of it committed.
    """

    source: str
    reference: str
    source_ms: float
    displays: tuple[Display, ...]

    def __post_init__(self) -> None:
        if not self.displays:
            raise ValueError("a segment without any display has no latency")

    @property
    def prediction(self) -> str:
        """The final text."""
        return self.displays[-1].text

    @property
    def prediction_words(self) -> int:
        """Words of the final text."""
        return len(self.prediction.split())

    @property
    def source_words(self) -> int:
        """Words of the complete source."""
        return len(self.source.split())


def common_characters(a: str, b: str) -> int:
    """Return how many leading characters are equal."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def spaced_word_ends(text: str) -> list[int]:
    """Return the offset after each word."""
    return [found.end() for found in _WORD.finditer(text)]


# ---- flicker -----------------------------------------------------------------------------------


def words_taken_back(displays: Sequence[Display]) -> list[int]:
    """Return how many words each display took back from the one before it."""
    erased = []
    for before, after in pairwise(displays):
        common = common_characters(before.text, after.text)
        erased.append(sum(end > common for end in spaced_word_ends(before.text)))
    return erased


def normalised_erasure(logs: Iterable[SegmentLog]) -> float:
    """Return the words taken back for each word of the final texts.

    Source: arXiv 1912.03393, section 3.3, and 2004.03643; here over all segments together.
    """
    erased = final = 0
    for log in logs:
        erased += sum(words_taken_back(log.displays))
        final += log.prediction_words
    return erased / final if final else 0.0


def rewriting_share(logs: Iterable[SegmentLog]) -> float:
    """Return the share of display changes that took more than two words back."""
    changes = [n for log in logs for n in words_taken_back(log.displays)]
    return sum(n > MANY_WORDS for n in changes) / len(changes) if changes else 0.0


# ---- latency of words --------------------------------------------------------------------------


def word_displays(displays: Sequence[Display], moment: Moment) -> list[int]:
    """Return, for each word of the last display, the index of the display that counts for it."""
    final = displays[-1].text
    kept = [common_characters(display.text, final) for display in displays]
    if moment == "committed":
        kept = [min(k, d.committed) for k, d in zip(kept, displays, strict=True)]
        kept[-1] = len(final)
    if moment == "stable":
        for i in range(len(kept) - 2, -1, -1):
            kept[i] = min(kept[i], kept[i + 1])
    # Every word is whole in the last display, so the search ends.
    return [next(i for i, k in enumerate(kept) if k >= end) for end in spaced_word_ends(final)]


def word_delays(log: SegmentLog, unit: Unit, moment: Moment = "stable") -> list[float]:
    """Return the delay of each word of the final text."""
    read: dict[Unit, Callable[[Display], float]] = {
        "words": lambda display: display.source_words,
        "ms": lambda display: display.source_ms,
        "elapsed_ms": lambda display: display.elapsed_ms,
    }
    indices = word_displays(log.displays, moment)
    return [float(read[unit](log.displays[index])) for index in indices]


def average_lagging(
    delays: Sequence[float], source_length: float, target_length: int, *, adaptive: bool = True
) -> float:
    """Return by how much the output lags behind one that keeps pace with the source.

    Args:
        delays: of each output word, in the unit of source_length; not empty.
        source_length: above 0.
        target_length: words of the reference.
        adaptive: LAAL, where an output longer than the reference gains nothing; else AL.
    Raises:
        ValueError: there are no delays, or a length is not positive.
    Source: AL, arXiv 1810.08398; LAAL, arXiv 2206.05807. Equal to SimulEval 1.1.4, where the lag
        of an output that begins after the end of the source is its first delay.
    """
    if not delays or source_length <= 0 or target_length <= 0:
        raise ValueError(
            f"{len(delays)} delays, lengths {source_length} and {target_length}: nothing to average"
        )
    if delays[0] > source_length:
        return delays[0]
    length = max(len(delays), target_length) if adaptive else target_length
    pace = source_length / length
    lags: list[float] = []
    for i, delay in enumerate(delays):
        lags.append(delay - i * pace)
        if delay >= source_length:
            break
    return math.fsum(lags) / len(lags)


def mean_lagging(
    logs: Iterable[SegmentLog], unit: Unit, moment: Moment = "stable", *, adaptive: bool = True
) -> float:
    """Return the mean of AL or LAAL over segments; those without output have none."""
    found = []
    for log in logs:
        delays = word_delays(log, unit, moment)
        if delays:
            length = log.source_words if unit == "words" else log.source_ms
            target = len(log.reference.split(" "))
            found.append(average_lagging(delays, length, target, adaptive=adaptive))
    return math.fsum(found) / len(found) if found else 0.0


# ---- latency of updates ------------------------------------------------------------------------


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least `share` of them do not exceed; nan of none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def share_within(values: Sequence[float], limit: float) -> float:
    """Return the share of values up to a limit; nan of none."""
    return sum(value <= limit for value in values) / len(values) if values else math.nan


# ---- SimulEval's instance format ---------------------------------------------------------------


def instance(index: int, log: SegmentLog, unit: Literal["words", "ms"]) -> dict[str, Any]:
    """Return a line of SimulEval's `instances.log`.

    In words it is an instance of text to text, where SimulEval measures no computation; in ms one
    of speech to text, whose `elapsed` counts it.
    """
    in_words = unit == "words"
    delays = word_delays(log, unit)
    return {
        "index": index,
        "prediction": log.prediction,
        "delays": delays,
        "elapsed": [0.0] * len(delays) if in_words else word_delays(log, "elapsed_ms"),
        "prediction_length": log.prediction_words,
        "reference": log.reference,
        "source": log.source,
        "source_length": log.source_words if in_words else log.source_ms,
    }
