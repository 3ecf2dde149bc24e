"""A translation that a session wants from the engine, and how it ended: plain values.

The same type all the way from the policy to the engine's request. Knows ids and text; does not know
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
    piece: int  # index in the segment
    is_pivot: bool = False  # a first pass: its result is translated again and never shown


@dataclass(frozen=True, slots=True)
class Job:
    """One pass over one piece of source into one language.

    The policy decides what to do; what it does not know, `rev` and below, is filled in later.

    Attributes:
        number: counts the jobs of one piece; only the newest job's result is used.
        text: of the piece. is_open: whether the piece may still grow, or its sentence continues.
        is_final: whether the piece can no longer change.
        forced: ids that the output must begin with, the committed translation.
        draft: ids expected after `forced`, to be verified in one pass.
        bias: how much the draft is favoured, 0 is plain greedy decoding.
        rev: the revision that it translates. arrival_s: when that revision came, in seconds.
        reached_s: when a reader gets to it; later than its arrival if a lot of text came at once.
        source_language: a code, or None if unknown.
        context: earlier sentence pairs for the model to see. continues: whether they are the
            beginning of this text's own sentence.
        formality: form of address; None leaves it to the model.
        terms: words of the text with their required translations, for models that are told them.
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
    continues: bool = False
    formality: Formality | None = None
    terms: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> str:
        """The target language."""
        return self.key.target


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        tokens: the output, including the forced beginning.
        is_whole: whether the model ended it, rather than the length limit.
        is_current: False if a newer job of the same key, or a stop, cut it short.
        timing: as the engine measured it; `total_ms` is filled in when the delta is sent.
    """

    tokens: Tokens
    is_whole: bool = True
    is_current: bool = True
    timing: Timing | None = None


FollowJob = Callable[[Tokens, Outcome | TranslationFailed | None], None]
"""follow(output so far, how the job ended or None): called whenever there is news."""
