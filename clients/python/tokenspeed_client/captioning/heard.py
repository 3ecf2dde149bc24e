"""What a recogniser hears, and what of it can be relied on. Knows no recogniser."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Heard:
    """What one utterance reads now: the whole of it, every time.

    Attributes:
        text: "" with `is_final` withdraws it.
        is_final: whether the next one begins another utterance.
        start_ms: when the utterance began, None where nobody knows.
        end_ms: when it was last spoken to.
    """

    text: str
    is_final: bool
    start_ms: float | None = None
    end_ms: float | None = None


class Recogniser(Protocol):
    """Turns sound into text.

    Attributes:
        sample_rate: of the sound that it takes: 16-bit samples, one channel.
    """

    sample_rate: int

    def accept(self, pcm: bytes) -> Iterable[Heard]:
        """Take the next piece of sound; return what is news."""

    def finish(self) -> Iterable[Heard]:
        """No more comes; return the end of what was being said."""


def agreed(before: str, now: str) -> str:
    """Return the words, from the first on, in which two hypotheses in a row agree.

    The last word of the one before may have been cut off, so it needs another after it.

    Source: Liu et al. 2020, Low-latency sequence-to-sequence speech recognition; "local agreement".
    """
    earlier, end = before.split(), 0
    for index, word in enumerate(now.split()):
        if index + 1 >= len(earlier) or earlier[index] != word:
            break
        end = now.index(word, end) + len(word)
    return now[:end]
