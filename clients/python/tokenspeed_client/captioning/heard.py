"""What a recogniser hears, and how much of it can be relied on. Knows no recogniser."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Heard:
    """The text of one utterance as it is now: always the whole of it.

    Attributes:
        text: "" with `is_final` withdraws it.
        is_final: whether the next one begins another utterance.
        start_ms: when the utterance began, None if unknown.
        end_ms: when its speech ended, None if unknown.
    """

    text: str
    is_final: bool
    start_ms: float | None = None
    end_ms: float | None = None


class Recogniser(Protocol):
    """Turns audio into text.

    Attributes:
        sample_rate: of the audio that it takes, 16-bit mono samples.
    """

    sample_rate: int

    def accept(self, pcm: bytes) -> Iterable[Heard]:
        """Take the next piece of audio; return what is new."""

    def finish(self) -> Iterable[Heard]:
        """End the audio; return the rest of what was being said."""


def agreed(before: str, now: str) -> str:
    """Return the leading words on which two hypotheses in a row agree.

    The last word of the earlier one may have been cut off, so it never counts.

    Source: Liu et al. 2020, Low-latency sequence-to-sequence speech recognition; "local agreement".
    """
    earlier, end = before.split(), 0
    for index, word in enumerate(now.split()):
        if index + 1 >= len(earlier) or earlier[index] != word:
            break
        end = now.index(word, end) + len(word)
    return now[:end]
