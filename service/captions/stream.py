"""One segment in one language: its pieces joined into the one text that the wire sees.

Pieces are committed in order: words of a later piece are appended only when all earlier ones are
done, so the joined text only grows at its end. Knows translations and text; does not know the
wire's messages, engines or clocks (times are arguments, in seconds).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from service.captions.copied import Copied
from service.captions.job import ContextPair, Job, JobKey, Tokens
from service.captions.policy import Preset, Source, Translation
from service.wire.protocol import Formality, Timing
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.languages import spaces_sentences
from tokenspeed.text.pipeline import Hygiene, begin_small, goes_on
from tokenspeed.text.pipeline import Piece as PieceText
from tokenspeed.text.profanity import mask
from tokenspeed.text.whole import Exchange
from tokenspeed.text.words import count_words, erased_words

MAX_RETRIES: Final = 2  # of a final that lacks a term
_STATE: Final = (
    "committed", "unstable", "updates", "erased", "terms", "violations", "faults", "untranslated",
    "is_parked", "is_final_sent", "formality", "_source_language",
)  # of every stream, besides its pieces and times  # fmt: skip
_PIECE_STATE: Final = (
    "source", "is_open", "rev", "is_remembered", "continues", "retries", "is_plain", "instead",
    "begins_small", "language", "is_cut", "touches",
)  # of every piece, besides its texts and times  # fmt: skip


@dataclass(slots=True)
class _Piece:
    translation: Translation
    context: tuple[ContextPair, ...]
    text: PieceText
    source: str = ""
    is_open: bool = True
    rev: int = 0
    arrival_s: float = 0.0
    is_remembered: bool = False
    continues: bool = False  # its ids and text follow on directly from the previous piece
    retries: int = 0
    best: tuple[int, Tokens, bool] | None = None  # missing terms, output, whether it is whole
    is_plain: bool = False  # whether it was retried, without draft or context, after a fault
    instead: str | None = None  # if no output would do: translated halves, or the source
    halves: Exchange | None = None  # translates the halves
    begins_small: bool = False  # it continues a sentence, after an emoji
    language: str | None = None  # of the source that its translation reads
    held: Source | None = None  # source to translate once the previous piece is done
    is_cut: bool = False  # whether its sentence continues in the next piece
    touches: bool = False  # whether no space is between it and the previous piece


class TargetStream:
    """The translation of one segment into one language.

    Attributes:
        committed: text returned by `take`, which never changes. unstable: the tail at that time.
        updates: times that `take` found something new. erased: words taken back from a reader.
        terms: glossary entries and other protected words in finished pieces. violations: those
            missing.
        faults: outputs that were rejected. untranslated: pieces that stayed in the source language.
        first_shown_s: when a reader first saw text, None before that.
        is_parked: whether the language is currently not wanted; appended text is kept.
        is_final_sent: whether its final was sent. timing: of the last update before that.
        formality: form of address in jobs from now on.
        next_progress_s: earliest time for the next update from an output still being decoded.

    Args:
        session_id, segment_id, target: part of the keys of its jobs.
        source_language: for sources that do not name theirs, None if unknown.
        preset: how eager it is.
        new_detokenizer: makes a detokenizer for the ids of one output.
        hygiene: cleans text on its way in and out.
        is_pivot: whether it is a first pass, whose text is translated again.
    """

    def __init__(
        self,
        session_id: str,
        segment_id: str,
        source_language: str | None,
        target: str,
        preset: Preset,
        new_detokenizer: Callable[[], TokenText],
        hygiene: Hygiene | None = None,
        *,
        is_pivot: bool = False,
    ) -> None:
        self.segment_id = segment_id
        self.is_pivot = is_pivot
        self.target = target
        self.committed = ""
        self.unstable = ""
        self.updates = 0
        self.erased = 0
        self.terms = 0
        self.violations = 0
        self.faults = 0
        self.untranslated = 0
        self.first_shown_s: float | None = None
        self.is_parked = False
        self.is_final_sent = False
        self.timing: Timing | None = None
        self.formality: Formality | None = None
        self.next_progress_s = 0.0
        self._hygiene = hygiene or Hygiene(target=target)
        self._session_id = session_id
        self._source_language = source_language
        self._preset = preset
        self._new_detokenizer = new_detokenizer
        self._joiner = " " if spaces_sentences(target) else ""
        self._pieces: list[_Piece] = []

    @property
    def preset(self) -> Preset:
        """How eager the translation is; may change while it runs."""
        return self._preset

    @preset.setter
    def preset(self, preset: Preset) -> None:
        self._preset = preset
        for piece in self._pieces:
            piece.translation.preset = preset

    @property
    def hygiene(self) -> Hygiene:
        """How texts are cleaned; a change applies from the next revision on."""
        return self._hygiene

    @hygiene.setter
    def hygiene(self, hygiene: Hygiene) -> None:
        self._hygiene = hygiene
        for piece in self._pieces:
            piece.text.hygiene = hygiene

    @property
    def is_done(self) -> bool:
        """Whether every piece has had its final pass."""
        return all(piece.translation.is_done for piece in self._pieces)

    @property
    def num_pieces(self) -> int:
        """How many pieces it has."""
        return len(self._pieces)

    def is_piece_done(self, index: int) -> bool:
        """Whether a piece has had its final pass."""
        return index < len(self._pieces) and self._pieces[index].translation.is_done

    def as_source(self, source: Source, index: int) -> Source:
        """Return this translation of a piece as the source of a second pass.

        What is committed here will not change, so it is stable source text there.
        """
        known = index < len(self._pieces)
        committed, rest = self._text_of(index) if known else ("", "")
        is_done = known and self._pieces[index].translation.is_done
        return replace(
            source,
            text=committed + rest,
            stable_words=count_words(committed),
            is_open=not is_done,
            is_final=source.is_final and is_done,
            language=self.target,
        )

    def covered_words(self, index: int) -> int:
        """Upper bound on the source words of a piece that committed text covers, an estimate."""
        known = index < len(self._pieces)
        return self._pieces[index].translation.covered_words if known else 0

    def revise(
        self,
        sources: Sequence[Source],
        rev: int,
        arrival_s: float,
        context: Sequence[ContextPair] = (),
        part: range | None = None,
    ) -> tuple[list[Job], list[JobKey]]:
        """Take a revision, cut into pieces.

        Args:
            sources: the pieces. rev, arrival_s: of the revision.
            context: earlier sentence pairs for new pieces, with sources in their language.
            part: which of the pieces to take now; the others follow later, in order. None: all.
        Returns:
            The jobs to start, and the keys of jobs that are no longer needed.
        """
        dropped = [self._key(i) for i in range(len(sources), len(self._pieces))]
        del self._pieces[len(sources) :]
        jobs = []
        for index in range(len(sources)) if part is None else part:
            source = sources[index]
            if index == len(self._pieces):
                self._pieces.append(self._new_piece(index, source, context))
            piece = self._pieces[index]
            if piece.translation.is_done:
                continue
            piece.source, piece.rev, piece.arrival_s = source.text, rev, arrival_s
            piece.is_open, piece.is_cut = source.is_open, source.is_cut
            if not piece.translation.committed_text:  # what readers have is joined already
                piece.touches = source.touches
            if index and not piece.translation.committed_text:
                before_it = self._pieces[index - 1].source
                piece.begins_small = goes_on(before_it, source.text.lstrip())
            if piece.language != source.language and self._change_language(piece, source):
                dropped.append(self._key(index))
            if source.continues and index and not piece.continues:
                before = self._pieces[index - 1]
                piece.held = source if self._waits(piece, before, source) else None
                if piece.held is not None:
                    continue
                self._continue(piece, before)
            job = piece.translation.revise(self._as_read(piece, source))
            if job is not None:
                jobs.append(self._completed(job))
        return jobs, dropped

    def _waits(self, piece: _Piece, before: _Piece, source: Source) -> bool:
        """Whether a piece should wait for the previous one, to continue its sentence.

        If a long sentence came all at once, its pieces would otherwise repeat words at their seams.
        """
        is_alone = before.translation.is_done or not piece.translation.is_fresh
        is_copied = self.target in (before.language, piece.language)
        return source.is_final and not is_alone and not is_copied

    def _release(self, index: int) -> Job | None:
        """Return the job of a piece that was waiting for the previous one."""
        if index >= len(self._pieces) or not self._pieces[index - 1].translation.is_done:
            return None
        piece = self._pieces[index]
        source, piece.held = piece.held, None
        if source is None:
            return None
        self._continue(piece, self._pieces[index - 1])
        job = piece.translation.revise(self._as_read(piece, source))
        return self._release(index + 1) if job is None else self._completed(job)

    def _new_piece(
        self, index: int, source: Source, context: Sequence[ContextPair], number: int = 0
    ) -> _Piece:
        """Return a piece; one that is already in the target language is copied, not translated."""
        text = self._hygiene.piece()
        token_text = text.token_text(self._new_detokenizer())
        kind = Copied if source.language == self.target else Translation
        protected = text.placeholders.protected
        translation = kind(self._key(index), self._preset, token_text, number, protected)
        return _Piece(translation, tuple(context), text, language=source.language)

    def _as_read(self, piece: _Piece, source: Source) -> Source:
        """Return a source as a model reads it; one that is copied is masked at most."""
        if isinstance(piece.translation, Copied):
            is_masked = self._hygiene.profanity == "mask"
            return replace(source, text=mask(source.text, self.target)) if is_masked else source
        committed = piece.translation.committed_text
        piece.text.language = piece.language or self._source_language
        piece.text.take(source.text, is_open=source.is_open, committed=committed)
        if piece.text.core and not piece.translation.shown:
            # Text shown while there was nothing to translate stays visible, as part of the
            # translation now.
            before, sight = piece.text.prefix.rstrip(), piece.text.sight
            is_more = sight.startswith(before)
            piece.translation.shown = sight[len(before) :].strip() if is_more else ""
        words_before = count_words(piece.text.prefix)
        stable_words = max(source.stable_words - words_before, 0)
        return replace(source, text=piece.text.core, stable_words=stable_words)

    def _change_language(self, piece: _Piece, source: Source) -> bool:
        """Start over with a piece that turned out to be in another language.

        One that has committed something continues as it began. Returns whether the job that was
        under way is no longer needed.
        """
        older = piece.translation
        if piece.continues or not older.is_fresh:
            return False
        fresh = self._new_piece(older.key.piece, source, (), older.number)
        piece.translation, piece.text = fresh.translation, fresh.text
        piece.language = source.language
        piece.translation.shown = older.shown  # visible until there is something new
        return older.is_running

    def _continue(self, piece: _Piece, before: _Piece) -> None:
        """Let a piece continue in the middle of the sentence that the previous piece began.

        The model sees both, with the committed translation of the first as a forced beginning.
        This needs the first to be done; a piece that has committed something stays on its own.
        """
        is_possible = before.translation.is_done and piece.translation.is_fresh
        if not is_possible or self.target in (before.language, piece.language):
            return
        if before.instead is not None or not before.text.core or before.text.suffix:
            return
        committed = before.translation.committed
        older = piece.translation
        piece.text = before.text.following()  # the committed ids hold its placeholders
        whole_text = piece.text.token_text(self._new_detokenizer())
        token_text = _text_after(committed, whole_text)
        piece.translation = Translation(
            older.key,
            self._preset,
            token_text,
            older.number,
            piece.text.placeholders.protected,
        )
        if older.shown:  # stays visible until the new translation arrives
            piece.translation.shown = self._joiner + older.shown
        source = before.text.shown(before.translation.committed_text)
        piece.context = ((source.strip(), committed),)
        piece.continues = True

    def progress(self, job: Job, tokens: Tokens) -> None:
        """Take an output that is still being decoded."""
        piece = self._piece_of(job)
        if piece is not None:
            piece.translation.progress(job.number, tokens)

    def complete(self, job: Job, tokens: Tokens, *, is_whole: bool) -> Job | None:
        """Take a finished output; return the job that was waiting for it, if any."""
        piece = self._piece_of(job)
        if piece is None or not piece.translation.awaits(job.number):
            return None
        token_text, placeholders = piece.translation.token_text, piece.text.placeholders
        if piece.halves is not None:
            said = self._new_detokenizer()(tokens)[0]
            piece.halves.take(said, is_whole=is_whole)
            half = self._half(piece, job)
            if half is not None:
                return half
        output = token_text(tokens)[0]
        missing = placeholders.missing(piece.text.core, output)
        if job.is_final and piece.halves is None:
            again = self._again(piece, job, tokens, output, is_whole=is_whole)
            if again is not None:
                return again
            if piece.best is not None:
                violations, tokens, is_whole = piece.best
                if piece.is_cut:
                    tokens = _without_end(tokens, token_text, len(job.forced))
                self.terms += placeholders.count(piece.text.core)
                self.violations += violations
                if not piece.continues:
                    committed = piece.translation.committed_text
                    piece.text.finish(token_text(tokens)[0], committed)
        following = piece.translation.complete(
            job.number,
            tokens,
            is_whole=is_whole,
            certain_words=piece.text.certain_words(output, missing),
        )
        if following is not None:
            return self._completed(following)
        return self._release(job.key.piece + 1)

    def _again(
        self, piece: _Piece, job: Job, tokens: Tokens, output: str, *, is_whole: bool
    ) -> Job | None:
        """Return the job that asks for a final once more; None if its best output will do."""
        text, placeholders = piece.text, piece.text.placeholders
        said = self._new_detokenizer()(tokens)[0]
        fault = None if piece.continues else text.fault_of(said, is_whole=is_whole)
        if fault is not None:
            self.faults += 1
            if piece.best is None and not piece.is_plain:
                piece.is_plain = True
                piece.context = ()
                return self._completed(replace(job, text=text.plainly(), draft=(), bias=0.0))
            if piece.best is None:
                if piece.translation.committed:  # what readers have seen stays
                    piece.best = (0, tokens, is_whole)
                else:
                    language = piece.language or self._source_language
                    piece.halves = Exchange(self._hygiene, piece.source, language, is_halved=True)
                    return self._half(piece, job)
            return None
        missing = placeholders.missing(text.core, output)
        if piece.best is None or len(missing) < piece.best[0]:
            piece.best = (len(missing), tokens, is_whole)
        if missing and piece.retries < MAX_RETRIES:
            piece.retries += 1
            placeholders.give_up(missing)
            return self._completed(replace(job, text=text.core, draft=tokens[len(job.forced) :]))
        return None

    def _half(self, piece: _Piece, job: Job) -> Job | None:
        """Return the job that asks for a half; None if no half is left."""
        assert piece.halves is not None
        if piece.halves.shown is not None:
            return replace(job, text=piece.halves.shown, draft=(), bias=0.0)
        self.faults += piece.halves.faults
        if piece.halves.is_untranslated:
            self.untranslated += 1
            piece.instead = piece.text.untranslated()
        else:  # together with everything around it
            piece.instead = piece.halves.text
            piece.text.prefix = piece.text.suffix = ""
        return None

    def fail(self, job: Job) -> Job | None:
        """Note that a job could not be run; return the one that was waiting for it, if any."""
        piece = self._piece_of(job)
        if piece is None:
            return None
        piece.translation.fail(job.number)
        return self._release(job.key.piece + 1)

    def stop(self) -> list[JobKey]:
        """Stop waiting for jobs; return the keys of those that were awaited."""
        keys = [self._key(i) for i, p in enumerate(self._pieces) if p.translation.is_running]
        for piece in self._pieces:
            piece.translation.stop()
            piece.halves = None  # the next job asks for the whole piece again
        return keys

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values, as it will be once no job is under way."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            "first_shown_s": self.first_shown_s,
            "pieces": [
                {
                    **{name: getattr(piece, name) for name in _PIECE_STATE},
                    "is_copied": isinstance(piece.translation, Copied),
                    "translation": piece.translation.dump(),
                    "context": piece.context,
                    "text": piece.text.dump(),
                    "arrival_s": piece.arrival_s,
                    "best": piece.best,
                    "held": None if piece.held is None else asdict(piece.held),
                }
                for piece in self._pieces
            ],
        }

    def load(self, state: dict[str, Any], later_s: float) -> None:
        """Restore the state that another instance dumped.

        Args:
            later_s: added to its times.
        """
        for name in _STATE:
            setattr(self, name, state[name])
        if state["first_shown_s"] is not None:
            self.first_shown_s = state["first_shown_s"] + later_s
        for index, each in enumerate(state["pieces"]):
            self._pieces.append(self._loaded(index, each, later_s))

    def _loaded(self, index: int, state: dict[str, Any], later_s: float) -> _Piece:
        key, detokenizer = self._key(index), self._new_detokenizer()
        if state["continues"]:
            before = self._pieces[index - 1]
            text = before.text.following()
            committed = before.translation.committed
            token_text = _text_after(committed, text.token_text(detokenizer))
        else:
            text = self._hygiene.piece()
            token_text = text.token_text(detokenizer)
        text.load(state["text"])
        kind = Copied if state["is_copied"] else Translation
        protected = text.placeholders.protected
        translation = kind(key, self._preset, token_text, protected=protected)
        translation.load(state["translation"])
        context = tuple((said, tuple(tokens)) for said, tokens in state["context"])
        piece = _Piece(translation, context, text)
        for name in _PIECE_STATE:
            setattr(piece, name, state[name])
        piece.arrival_s = state["arrival_s"] and state["arrival_s"] + later_s
        if state["best"] is not None:
            violations, tokens, is_whole = state["best"]
            piece.best = (violations, tuple(tokens), is_whole)
        if state["held"] is not None:
            piece.held = Source(**state["held"])
        return piece

    def restart(self, source_language: str | None) -> None:
        """Start over with a text that is not in the language it was said to be in."""
        assert not self.committed
        self._source_language = source_language
        self._pieces.clear()

    def remember(self) -> list[tuple[str | None, ContextPair]]:
        """Return language and pair of the pieces that were finished since the last call."""
        found: list[tuple[str | None, ContextPair]] = []
        for piece in self._pieces:
            translation = piece.translation
            if translation.is_done and not piece.is_remembered:
                piece.is_remembered = True
                # A piece that was copied, or that has nothing to translate, has no ids.
                if translation.committed and piece.instead is None:
                    shown = piece.text.shown(translation.committed_text).strip()
                    found.append((piece.language, (shown, translation.committed)))
        return found

    def take(self, now_s: float) -> tuple[str, str, bool]:
        """Return newly committed text, the unstable tail, and whether either has changed."""
        committed, unstable = self._text()
        assert committed.startswith(self.committed)
        append = committed[len(self.committed) :]
        is_news = bool(append) or unstable != self.unstable
        if is_news:
            self.updates += 1
            self.erased += erased_words(self.committed + self.unstable, committed + unstable)
            if self.first_shown_s is None and (committed or unstable):
                self.first_shown_s = now_s
        self.committed, self.unstable = committed, unstable
        return append, unstable, is_news

    def _text(self) -> tuple[str, str]:
        """Join the pieces: (committed, unstable)."""
        committed = unstable = ""
        is_committed = True
        for index, piece in enumerate(self._pieces):
            own, rest = self._text_of(index)
            if is_committed:
                committed += self._join(committed, own, piece)
                unstable += rest if own else self._join(committed, rest, piece)
                is_committed = piece.translation.is_done
            else:
                unstable += self._join(committed + unstable, own + rest, piece)
        return committed, unstable if self._preset.shows_unstable else ""

    def _text_of(self, index: int) -> tuple[str, str]:
        """Return what is committed of a piece and the rest that is shown, with its surroundings."""
        piece = self._pieces[index]
        translation, text = piece.translation, piece.text
        # In a second pass one is open until the first is done, even if another one follows.
        may_grow = piece.is_open and index == len(self._pieces) - 1
        own = translation.committed_text
        rest = translation.shown[len(own) :]
        if piece.begins_small and not text.prefix:
            own, rest = begin_small(own), rest if own else begin_small(rest)
        if translation.is_done:
            return text.prefix + (own if piece.instead is None else piece.instead) + text.suffix, ""
        if own:
            return text.prefix + own, rest
        # What precedes a text is visible at once, even before any of its words.
        is_awaited = piece.is_open and not text.core
        alone = text.sight if is_awaited else text.prefix or text.sight
        rest = text.prefix + rest if rest else alone.rstrip()
        return "", rest if may_grow or not translation.shown else rest + text.suffix

    def _join(self, before: str, text: str, piece: _Piece) -> str:
        if piece.continues:  # it brings its own space, or a comma
            return text if before else text.lstrip()
        return self._joiner + text if before and text and not piece.touches else text

    def _piece_of(self, job: Job) -> _Piece | None:
        index = job.key.piece
        return self._pieces[index] if index < len(self._pieces) else None

    def _key(self, index: int) -> JobKey:
        return JobKey(self._session_id, self.segment_id, self.target, index, self.is_pivot)

    def _completed(self, job: Job) -> Job:
        """Fill in what the policy does not know about a job."""
        piece = self._pieces[job.key.piece]
        # Pieces further back matter only if committed text may hold a placeholder.
        index = job.key.piece
        first = 0 if piece.text.placeholders.are_used else max(index - 1, 0)
        told = self._pieces[first:] if first == 0 else self._pieces[first : index + 1]
        committed = " ".join(each.translation.committed_text for each in told)
        language = piece.language or self._source_language
        return replace(
            job,
            text=piece.text.placeholders.replace(
                job.text,
                committed,
                language=language,
                is_open=job.is_open,
                target=self.target,
            ),
            rev=piece.rev,
            arrival_s=piece.arrival_s,
            source_language=language,
            context=piece.context,
            continues=piece.continues,
            formality=self.formality,
            terms=piece.text.placeholders.terms(job.text),
        )


def _without_end(tokens: Tokens, token_text: TokenText, forced: int) -> Tokens:
    """Remove the full stop from the translation of a piece whose sentence continues."""
    text, offsets = token_text(tokens)
    length = len(text.rstrip(" .…"))
    for count in range(forced, len(tokens)):
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
