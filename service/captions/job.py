"""A translation that a session wants from the engine, and how it ended: values without behaviour.

The one noun for it from the policy to the engine's request. Knows ids and text; does not know
engines or the wire.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from service.errors import TranslationFailed
from service.wire.protocol import Formality, Timing

Tokens = tuple[int, ...]
ContextPair = tuple[str, Tokens]  # an earlier sentence and its translation


class JobKey(NamedTuple):
    """What a job translates; a newer job of the same key supersedes an older partial one."""

    session_id: str
    segment_id: str
    target: str
    piece: int  # of the segment, from 0
    is_pivot: bool = False  # a first pass, whose result is translated on and not told


@dataclass(frozen=True, slots=True)
class Job:
    """One pass over one piece of source into one language.

    The policy says what to do; the stream adds what it alone knows: `rev` and the fields below it.

    Attributes:
        number: counts the jobs of one piece; only the newest one's result is taken.
        text: of the piece. is_open: whether it may still grow, or its sentence goes on.
        is_final: whether nothing of the piece will change any more.
        forced: ids that the output begins with, the committed translation.
        draft: ids expected after `forced`, to be verified.
        bias: how much the draft is favoured, 0 is plain greedy decoding.
        rev: the revision that it answers. arrival_s: when that came, in seconds.
        reached_s: when a reader gets to it, later than its arrival where a lot came at once.
        source_language: a code, or None where it is not known.
        context: earlier sentence pairs that go along.
        formality: how whoever is spoken to is addressed; None leaves it to the model.
        terms: words of the text and what they are to become, of a model that is told so.
    """

    key: JobKey
    number: int
    text: str
    is_open: bool
    is_final: bool
    forced: Tokens
    draft: Tokens
    bias: float
    rev: int = 0
    arrival_s: float = 0.0
    reached_s: float = 0.0
    source_language: str | None = None
    context: tuple[ContextPair, ...] = ()
    formality: Formality | None = None
    terms: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> str:
        """The language that is wanted."""
        return self.key.target


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        tokens: the output, the forced beginning included.
        is_whole: whether it ended by itself rather than at its length.
        is_current: False where a newer job of the same key, or a stop, cut it short.
        timing: of the engine; `total_ms` is filled in when the delta is sent.
    """

    tokens: Tokens
    is_whole: bool = True
    is_current: bool = True
    timing: Timing | None = None


FollowJob = Callable[[Tokens, Outcome | TranslationFailed | None], None]
"""follow(the output so far, how the job ended or None): called each time that there is news."""
