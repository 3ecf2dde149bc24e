"""The settings of a session: what `session.update` asks for and `session.updated` answers."""

from dataclasses import dataclass
from typing import Final, Literal

Mode = Literal["captions", "append_only"]
Formality = Literal["formal", "informal"]
FORMALITIES: Final[tuple[Formality, ...]] = ("formal", "informal")
ReaderForm = Literal["captions", "append_only"]
Stability = Literal["low", "balanced", "high"]
Capitals = Literal["keep", "sentence"]
Profanity = Literal["raw", "mask"]


@dataclass(frozen=True, slots=True)
class SourceParams:
    """Where the text comes from.

    Attributes:
        language: of the text; `en-US` counts as `en`. With `auto` each sentence is translated from
            the language that it is in. A sentence that is already in a target language passes
            through unchanged, whatever is named here.
    """

    language: str | None = None


@dataclass(frozen=True, slots=True)
class TargetParams:
    """One target language.

    Attributes:
        language: to translate into; `de-AT` counts as `de`, `zh-TW` as `zh-Hant` if the model
            has that.
        formality: form of address: `formal` (Sie, vous, usted) or `informal`
            (du, tu, tú); left to the text if absent. A model that was not trained to
            choose in this language refuses it with the error `unsupported`.
        glossary_id: a stored glossary (`POST /v2/glossaries`); entries of the session's own
            glossary take precedence. One that does not exist, or is for another pair, is refused
            with `glossary_invalid`.
    """

    language: str
    formality: Formality | None = None
    glossary_id: str | None = None


@dataclass(frozen=True, slots=True)
class GlossaryEntry:
    """A word and how it is to be translated.

    Attributes:
        source: one or more words of the source, up to 100 characters.
        target: their translation.
        case_sensitive: whether only words in the same case match.
        language: the target that it is for; all if absent.
    """

    source: str
    target: str
    case_sensitive: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True)
class CaptionParams:
    """How captions are split into cues.

    Attributes:
        max_chars: in a line, 1 to 200.
        lines: in a cue, 1 to 10.
    """

    max_chars: int = 42
    lines: int = 2


@dataclass(frozen=True, slots=True)
class SessionParams:
    """Settings of a session: as requested, or as applied.

    Attributes:
        source: where the text comes from.
        targets: the target languages. One that is dropped gets no more text, a new one
            starts with the open segments.
        mode: `captions` shows text that may still change as `unstable`; `append_only` shows only
            committed text.
        stability: how long text waits before it is appended: `low` is soonest, `high`
            is surest, `balanced` is in between.
        context: earlier sentence pairs for the model to see, 0 to 2, no more than it was trained
            with.
        glossary: words and their translations, up to 500.
        do_not_translate: words to keep as they are, up to 500.
        capitals: text in capitals is translated like normal sentences; `keep` returns it in
            capitals, `sentence` in sentence case.
        profanity: `mask` hides swear words behind stars, `f***`; `raw` leaves them.
        partials: whether to translate open segments too, or only committed ones.
        timing: whether deltas and finals say how long they took.
        captions: asks for a `caption.cue` for each cue once a segment is final.
        room: where readers can follow; needs the room's host token, or an API key.
        source_id: identifies a speaker in the room beyond one session, so that a segment
            repeated in another session is recognised; at least 16 characters,
            chosen at random, and never shown to readers.
    """

    source: SourceParams | None = None
    targets: tuple[TargetParams, ...] | None = None
    mode: Mode | None = None
    stability: Stability | None = None
    context: int | None = None
    glossary: tuple[GlossaryEntry, ...] | None = None
    do_not_translate: tuple[str, ...] | None = None
    capitals: Capitals | None = None
    profanity: Profanity | None = None
    partials: bool | None = None
    timing: bool | None = None
    captions: CaptionParams | None = None
    room: str | None = None
    source_id: str | None = None
