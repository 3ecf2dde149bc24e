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
            the language that it is in. A sentence in a language that is wanted passes through to
            it as it is, whatever is named here.
    """

    language: str | None = None


@dataclass(frozen=True, slots=True)
class TargetParams:
    """One wanted language.

    Attributes:
        language: to translate into; `de-AT` counts as `de`, `zh-TW` as `zh-Hant` where the model
            has that.
        formality: how whoever is spoken to is addressed: `formal` (Sie, vous, usted) or `informal`
            (du, tu, tú); left to the text where it is absent. A model that was not taught to
            choose in this language refuses it with the error `unsupported`.
        glossary_id: a glossary that was given before (`POST /v2/glossaries`), beneath the
            session's own. One that is not there, or of another pair, is refused with
            `glossary_invalid`.
    """

    language: str
    formality: Formality | None = None
    glossary_id: str | None = None


@dataclass(frozen=True, slots=True)
class GlossaryEntry:
    """A word and how it is to be translated.

    Attributes:
        source: one or more words of the source, up to 100 characters.
        target: what they become.
        case_sensitive: whether only words in the same case count.
        language: the target that it is for; all where it is left out.
    """

    source: str
    target: str
    case_sensitive: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True)
class CaptionParams:
    """How captions are cut into cues.

    Attributes:
        max_chars: of a line, 1 to 200.
        lines: of a cue, 1 to 10.
    """

    max_chars: int = 42
    lines: int = 2


@dataclass(frozen=True, slots=True)
class SessionParams:
    """Settings of a session: as they are wanted, or as they are applied.

    Attributes:
        source: where the text comes from.
        targets: the wanted languages. One that is dropped gets no more text, one that is new
            begins with what is open.
        mode: `captions` shows text that may still change as `unstable`; `append_only` shows only
            what stays.
        stability: how long text waits before it is appended: `low` is soonest, `high` waits until
            it is surest, `balanced` lies between.
        context: earlier sentence pairs that go along, 0 to 2, no more than the model was taught.
        glossary: words and their translations, up to 500.
        do_not_translate: words that stay as they are, up to 500.
        capitals: text in capitals is translated as sentences are; `keep` gives it back in
            capitals, `sentence` as sentences.
        profanity: `mask` gives swear words with stars, `f***`; `raw` leaves them.
        partials: whether open segments are translated, or only committed ones.
        timing: whether deltas and finals say how long they took.
        captions: asks for a `caption.cue` of each cue when a segment is final.
        room: where readers follow what is said; needs the room's host token, or an API key.
        source_id: names who speaks in the room for longer than a session lasts, so that a segment
            that is said again in another session is the same one there; 16 characters at least,
            drawn at random, and told to nobody who reads.
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
