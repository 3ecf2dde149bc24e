"""One piece of a segment in one language: what a model is asked about it, and what is shown of it.

Asks again for a final that is no translation, or that lacks a protected word, and lets a sentence
go on across a cut. Knows its own text and translation, and the piece before it; does not know how
the pieces of a segment are joined, the wire's messages, engines or clocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any, Final

from service.captions.copied import Copied
from service.captions.job import ContextPair, Job, JobKey, Tokens
from service.captions.policy import Preset, Source, Translation
from service.wire.protocol import Formality
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.languages import spaces_sentences
from tokenspeed.text.pipeline import Hygiene, begin_small, goes_on
from tokenspeed.text.profanity import mask
from tokenspeed.text.whole import Exchange
from tokenspeed.text.words import count_words

MAX_RETRIES: Final = 2  # of a final that lacks a term
_STATE: Final = (
    "_source", "_is_open", "_rev", "_is_remembered", "continues", "_retries", "_is_plain",
    "_instead", "_begins_small", "_language", "_is_cut", "touches",
)  # of every piece, besides its texts and times  # fmt: skip


@dataclass(slots=True)
class Counts:
    """What the pieces of a translation count, for its statistics.

    Attributes:
        terms: glossary entries and other protected words in finished pieces. violations: those
            missing.
        faults: outputs that were rejected. untranslated: pieces that stayed in the source language.
    """

    terms: int = 0
    violations: int = 0
    faults: int = 0
    untranslated: int = 0


@dataclass(frozen=True, slots=True)
class _Output:
    """A final that readers may get.

    Attributes:
        missing: number of protected words that it lacks.
        tokens: its ids, the forced ones included. is_whole: whether the model ended it by itself.
    """

    missing: int
    tokens: Tokens
    is_whole: bool


class TargetPiece:
    """One piece of a segment in one language.

    Attributes:
        translation: what was asked, committed and shown of it.
        continues: whether its ids and text follow on directly from the previous piece.
        touches: whether no space is between it and the previous piece.

    Args:
        key: of its jobs.
        preset: how eager it is.
        hygiene: cleans text on its way in and out.
        new_detokenizer: makes a detokenizer for the ids of one output.
        counts: of all pieces, where its own go.
        language: of its source. default_language: for a source that does not name its own. Either
            is None if unknown.
        context: earlier sentence pairs.
    """

    def __init__(
        self,
        key: JobKey,
        preset: Preset,
        hygiene: Hygiene,
        new_detokenizer: Callable[[], TokenText],
        counts: Counts,
        language: str | None = None,
        default_language: str | None = None,
        context: Sequence[ContextPair] = (),
    ) -> None:
        self.continues = False
        self.touches = False
        self._key = key
        self._new_detokenizer = new_detokenizer
        self._counts = counts
        self._language = language
        self._default_language = default_language
        self._context = tuple(context)
        self._source = ""
        self._rev = 0
        self._arrival_s = 0.0
        self._is_open = True
        self._is_cut = False  # whether its sentence continues in the next piece
        self._is_remembered = False
        self._begins_small = False  # it continues a sentence, after an emoji
        self._held: Source | None = None  # to translate once the previous piece is done
        self._retries = 0
        self._best: _Output | None = None  # of the finals so far
        self._is_plain = False  # whether it was retried, without draft or context, after a fault
        self._instead: str | None = None  # if no output would do: translated halves, or the source
        self._halves: Exchange | None = None  # translates the halves
        self._text = hygiene.piece()
        self.translation = self._new_translation(preset)

    @property
    def preset(self) -> Preset:
        """How eager the translation is; may change while it runs."""
        return self.translation.preset

    @preset.setter
    def preset(self, preset: Preset) -> None:
        self.translation.preset = preset

    @property
    def hygiene(self) -> Hygiene:
        """How its text is cleaned; a change applies from the next revision on."""
        return self._text.hygiene

    @hygiene.setter
    def hygiene(self, hygiene: Hygiene) -> None:
        self._text.hygiene = hygiene

    @property
    def is_done(self) -> bool:
        """Whether it has had its final pass."""
        return self.translation.is_done

    @property
    def has_placeholders(self) -> bool:
        """Whether placeholders stand for words of it."""
        return self._text.placeholders.are_used

    # ---- from source to jobs ----

    def revise(
        self, source: Source, rev: int, arrival_s: float, before: "TargetPiece | None"
    ) -> tuple[Job | None, bool]:
        """Take a revision.

        Args:
            source: the piece. rev, arrival_s: of the revision.
            before: the previous piece; None if it is the first.
        Returns:
            The job that it needs, if any, to be `filled`, and whether the one under way is no
            longer needed.
        """
        if self.is_done:
            return None, False
        self._source, self._rev, self._arrival_s = source.text, rev, arrival_s
        self._is_open, self._is_cut = source.is_open, source.is_cut
        if not self.translation.committed_text:  # what readers have is joined already
            self.touches = source.touches
            if before is not None:
                self._begins_small = goes_on(before._source, source.text.lstrip())
        is_dropped = self._language != source.language and self._change_language(source.language)
        if source.continues and before is not None and not self.continues:
            self._held = source if self._waits(before, source) else None
            if self._held is not None:
                return None, is_dropped
            self._continue(before)
        return self.translation.revise(self._as_read(source)), is_dropped

    @property
    def is_held(self) -> bool:
        """Whether it waits for the previous piece."""
        return self._held is not None

    def release(self, before: "TargetPiece") -> Job | None:
        """Return the job for which it was waiting until the previous piece was done, if any."""
        source, self._held = self._held, None
        assert source is not None
        self._continue(before)
        return self.translation.revise(self._as_read(source))

    def filled(self, job: Job, committed: str, formality: Formality | None) -> Job:
        """Return a job with what the policy does not know about it.

        Args:
            job: for this piece.
            committed: text of this and other pieces, whose words keep their placeholders.
            formality: form of address.
        """
        if self._halves is not None:
            return job  # the text is what a model reads already
        placeholders, language = self._text.placeholders, self._language or self._default_language
        return replace(
            job,
            text=placeholders.replace(
                job.text, committed, language=language, is_open=job.is_open, target=job.target
            ),
            rev=self._rev,
            arrival_s=self._arrival_s,
            source_language=language,
            context=self._context,
            continues=self.continues,
            formality=formality,
            terms=placeholders.terms(job.text),
        )

    def _new_translation(self, preset: Preset, number: int = 0) -> Translation:
        """Return a new translation; a piece in the target language already is only copied."""
        token_text = self._text.token_text(self._new_detokenizer())
        kind = Copied if self._language == self._key.target else Translation
        return kind(self._key, preset, token_text, number, self._text.placeholders.protected)

    def _waits(self, before: "TargetPiece", source: Source) -> bool:
        """Whether it should wait for the previous piece, to continue its sentence.

        If a long sentence came all at once, its pieces would otherwise repeat words at their seams.
        """
        is_alone = before.is_done or not self.translation.is_fresh
        return source.is_final and not is_alone and not self._is_copied_beside(before)

    def _is_copied_beside(self, before: "TargetPiece") -> bool:
        """Whether this piece or the previous one is in the target language already."""
        return self._key.target in (before._language, self._language)

    def _as_read(self, source: Source) -> Source:
        """Return a source as a model reads it; one that is copied is masked at most."""
        translation, text = self.translation, self._text
        if isinstance(translation, Copied):
            is_masked = self.hygiene.profanity == "mask"
            said = mask(source.text, self._key.target) if is_masked else source.text
            return replace(source, text=said)
        text.language = self._language or self._default_language
        text.take(source.text, is_open=source.is_open, committed=translation.committed_text)
        if text.core and not translation.shown:
            # Text shown while there was nothing to translate stays visible, as part of the
            # translation now.
            before, sight = text.prefix.rstrip(), text.sight
            is_more = sight.startswith(before)
            translation.shown = sight[len(before) :].strip() if is_more else ""
        stable_words = max(source.stable_words - count_words(text.prefix), 0)
        return replace(source, text=text.core, stable_words=stable_words)

    def _change_language(self, language: str | None) -> bool:
        """Start over if the piece turned out to be in another language.

        One that has committed something continues as it began. Returns whether the job that was
        under way is no longer needed.
        """
        older = self.translation
        if self.continues or not older.is_fresh:
            return False
        self._language = language
        self._text = self.hygiene.piece()
        self.translation = self._new_translation(older.preset, older.number)
        self.translation.shown = older.shown  # visible until there is something new
        return older.is_running

    def _continue(self, before: "TargetPiece") -> None:
        """Go on in the middle of the sentence that the previous piece began.

        The model sees both, with the committed translation of the first as a forced beginning.
        This needs the first to be done; a piece that has committed something stays on its own.
        """
        older = self.translation
        is_possible = before.is_done and older.is_fresh
        if not is_possible or self._is_copied_beside(before):
            return
        if before._instead is not None or not before._text.core or before._text.suffix:
            return
        self._follow(before, older.preset, older.number)
        if older.shown:  # stays visible until the new translation arrives
            space = " " if spaces_sentences(self._key.target) else ""
            self.translation.shown = space + older.shown
        source = before._text.shown(before.translation.committed_text)
        self._context = ((source.strip(), before.translation.committed),)

    def _follow(self, before: "TargetPiece", preset: Preset, number: int = 0) -> None:
        """Begin where the previous piece ends, with the placeholders that its ids hold."""
        self._text = before._text.following()
        token_text = self._text.token_text(self._new_detokenizer())
        self.translation = Translation(
            self._key,
            preset,
            _text_after(before.translation.committed, token_text),
            number,
            self._text.placeholders.protected,
        )
        self.continues = True

    # ---- what became of the jobs ----

    def complete(self, job: Job, tokens: Tokens, *, is_whole: bool) -> Job | None:
        """Take the finished output of an awaited job; return the next one, to be `filled`."""
        token_text, placeholders = self.translation.token_text, self._text.placeholders
        if self._halves is not None:
            said = self._new_detokenizer()(tokens)[0]
            self._halves.take(said, is_whole=is_whole)
            half = self._half(job)
            if half is not None:
                return half
        output = token_text(tokens)[0]
        missing = placeholders.missing(self._text.core, output)
        if job.is_final and self._halves is None:
            again = self._again(job, tokens, output, is_whole=is_whole)
            if again is not None:
                return again
            if self._best is not None:
                tokens, is_whole = self._take_best(self._best, len(job.forced))
        return self.translation.complete(
            job.number,
            tokens,
            is_whole=is_whole,
            certain_words=self._text.certain_words(output, missing),
        )

    def stop(self) -> None:
        """Stop waiting for a job; the next one asks for the whole piece again."""
        self.translation.stop()
        self._halves = None

    def _again(self, job: Job, tokens: Tokens, output: str, *, is_whole: bool) -> Job | None:
        """Return the job that asks for a final once more; None if its best output will do."""
        text, placeholders = self._text, self._text.placeholders
        said = self._new_detokenizer()(tokens)[0]
        fault = None if self.continues else text.fault_of(said, is_whole=is_whole)
        if fault is not None:
            self._counts.faults += 1
            if self._best is None and not self._is_plain:
                self._is_plain = True
                self._context = ()
                return replace(job, text=text.plainly(), draft=(), bias=0.0)
            if self._best is None:
                if self.translation.committed:  # what readers have seen stays
                    self._best = _Output(0, tokens, is_whole)
                else:
                    language = self._language or self._default_language
                    self._halves = Exchange(self.hygiene, self._source, language, is_halved=True)
                    return self._half(job)
            return None
        missing = placeholders.missing(text.core, output)
        if self._best is None or len(missing) < self._best.missing:
            self._best = _Output(len(missing), tokens, is_whole)
        if missing and self._retries < MAX_RETRIES:
            self._retries += 1
            placeholders.give_up(missing)
            return replace(job, text=text.core, draft=tokens[len(job.forced) :])
        return None

    def _half(self, job: Job) -> Job | None:
        """Return the job that asks for a half; None if no half is left."""
        assert self._halves is not None
        if self._halves.shown is not None:
            return replace(job, text=self._halves.shown, draft=(), bias=0.0)
        self._counts.faults += self._halves.faults
        if self._halves.is_untranslated:
            self._counts.untranslated += 1
            self._instead = self._text.untranslated()
        else:  # together with everything around it
            self._instead = self._halves.text
            self._text.prefix = self._text.suffix = ""
        return None

    def _take_best(self, best: _Output, num_forced: int) -> tuple[Tokens, bool]:
        """Count and complete the final that is kept; return its ids, and whether it is whole."""
        text, tokens, token_text = self._text, best.tokens, self.translation.token_text
        if self._is_cut:
            tokens = _without_end(tokens, token_text, num_forced)
        self._counts.terms += text.placeholders.count(text.core)
        self._counts.violations += best.missing
        if not self.continues:
            text.finish(token_text(tokens)[0], self.translation.committed_text)
        return tokens, best.is_whole

    # ---- what is shown ----

    def texts(self, *, is_last: bool) -> tuple[str, str]:
        """Return what is committed and the rest that is shown, both with their surroundings.

        Args:
            is_last: whether no piece follows.
        """
        translation, text = self.translation, self._text
        # In a second pass one is open until the first is done, even if another one follows.
        may_grow = self._is_open and is_last
        own = translation.committed_text
        rest = translation.shown[len(own) :]
        if self._begins_small and not text.prefix:
            own, rest = begin_small(own), rest if own else begin_small(rest)
        if translation.is_done:
            return text.prefix + (own if self._instead is None else self._instead) + text.suffix, ""
        if own:
            return text.prefix + own, rest
        # What precedes a text is visible at once, even before any of its words.
        is_awaited = self._is_open and not text.core
        alone = text.sight if is_awaited else text.prefix or text.sight
        rest = text.prefix + rest if rest else alone.rstrip()
        return "", rest if may_grow or not translation.shown else rest + text.suffix

    def remember(self) -> tuple[str | None, ContextPair] | None:
        """Return language and pair of a finished piece, once; None if there is none to return."""
        translation = self.translation
        if not translation.is_done or self._is_remembered:
            return None
        self._is_remembered = True
        # A piece that was copied, or that has nothing to translate, has no ids.
        if not translation.committed or self._instead is not None:
            return None
        shown = self._text.shown(translation.committed_text).strip()
        return self._language, (shown, translation.committed)

    # ---- written down for another replica ----

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values, as it will be once no job is under way."""
        return {
            **{name.removeprefix("_"): getattr(self, name) for name in _STATE},
            "is_copied": isinstance(self.translation, Copied),
            "translation": self.translation.dump(),
            "context": self._context,
            "text": self._text.dump(),
            "arrival_s": self._arrival_s,
            "best": None if self._best is None else astuple(self._best),
            "held": None if self._held is None else asdict(self._held),
        }

    def load(self, state: dict[str, Any], before: "TargetPiece | None", later_s: float) -> None:
        """Restore the state that another instance dumped.

        Args:
            before: the previous piece, restored already.
            later_s: added to its times.
        """
        for name in _STATE:
            setattr(self, name, state[name.removeprefix("_")])
        if self.continues:
            assert before is not None
            self._follow(before, self.preset)
        else:
            self.translation = self._new_translation(self.preset)
        self._text.load(state["text"])
        self.translation.load(state["translation"])
        self._context = tuple((said, tuple(tokens)) for said, tokens in state["context"])
        self._arrival_s = state["arrival_s"] and state["arrival_s"] + later_s
        if state["best"] is not None:
            missing, tokens, is_whole = state["best"]
            self._best = _Output(missing, tuple(tokens), is_whole)
        if state["held"] is not None:
            self._held = Source(**state["held"])


def _without_end(tokens: Tokens, token_text: TokenText, num_forced: int) -> Tokens:
    """Remove the full stop from the translation of a piece whose sentence continues."""
    text, offsets = token_text(tokens)
    length = len(text.rstrip(" .…"))
    for count in range(num_forced, len(tokens)):
        if offsets[count] == length:
            return tokens[:count]
    return tokens


def _text_after(committed: Tokens, token_text: TokenText) -> TokenText:
    """Return a detokenizer for ids that follow `committed`; its text begins after theirs."""

    def after(tokens: Sequence[int]) -> tuple[str, list[int]]:
        text, offsets = token_text((*committed, *tokens))
        start = offsets[len(committed)]
        return text[start:], [offset - start for offset in offsets[len(committed) :]]

    return after
