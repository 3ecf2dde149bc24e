"""One segment in one language: its pieces put together into the one text that the wire sees.

A piece is settled in order: words of a later piece are appended only when all before it are done,
so the joined text grows at its end alone. Knows translations and text; does not know the wire's
messages, engines or clocks (times are arguments, in seconds).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from service.captions.glossary import Glossary, StandIns, certain_words
from service.captions.policy import Preset, Source, Tokens, TokenText, Translation, Work
from service.captions.words import erased_words

_WITHOUT_SPACES: Final = frozenset({"zh", "ja", "th", "lo", "km", "my"})

MAX_RETRIES: Final = 2  # of a final that lacks a term

ContextPair = tuple[str, Tokens]  # an earlier sentence and its translation


@dataclass(frozen=True, slots=True)
class Job:
    """A translation for the engine to run.

    Attributes:
        key: (session, segment, target, piece); a newer job of the same key supersedes this one.
        work: what to translate, with its forced beginning and its draft.
        rev: the revision that it answers. arrival: when that came, in seconds.
        source_language: a code, or None where it is not known.
        context: earlier sentence pairs that go along.
    """

    key: tuple[str, str, str, int]
    work: Work
    rev: int
    arrival: float
    source_language: str | None
    target: str
    context: tuple[ContextPair, ...] = ()


@dataclass(slots=True)
class _Piece:
    translation: Translation
    context: tuple[ContextPair, ...]
    stand_ins: StandIns
    source: str = ""
    rev: int = 0
    arrival: float = 0.0
    is_remembered: bool = False
    continues: bool = False  # its ids and text follow directly those of the piece before
    retries: int = 0
    best: tuple[int, Tokens, bool] | None = None  # terms missing, output, whether it is whole


class TargetStream:
    """The translation of one segment into one language.

    Attributes:
        committed: settled text that was given out with `take`. unstable: the tail then.
        updates: times that `take` found something new. erased: words taken back from a reader.
        terms: of the glossary and the like, in pieces that are done. violations: those missing.
        first_shown: when a reader first saw text, None before.
    """

    def __init__(
        self,
        session_id: str,
        segment_id: str,
        source_language: str | None,
        target: str,
        preset: Preset,
        token_text: TokenText,
        glossary: Glossary | None = None,
    ) -> None:
        self.segment_id = segment_id
        self.target = target
        self.committed = ""
        self.updates = 0
        self.erased = 0
        self.terms = 0
        self.violations = 0
        self.first_shown: float | None = None
        self._glossary = glossary or Glossary()
        self._session_id = session_id
        self._source_language = source_language
        self._preset = preset
        self._token_text = token_text
        self._joiner = "" if target in _WITHOUT_SPACES else " "
        self._pieces: list[_Piece] = []
        self.unstable = ""

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
    def glossary(self) -> Glossary:
        """Words that must come out as wanted; a change holds from the next revision on."""
        return self._glossary

    @glossary.setter
    def glossary(self, glossary: Glossary) -> None:
        self._glossary = glossary
        for piece in self._pieces:
            piece.stand_ins.glossary = glossary

    @property
    def is_done(self) -> bool:
        """Whether all pieces are through their final pass."""
        return all(piece.translation.is_done for piece in self._pieces)

    def covered_words(self, index: int) -> int:
        """Source words of a piece that settled text covers at most, a guess."""
        known = index < len(self._pieces)
        return self._pieces[index].translation.covered_words if known else 0

    def revise(
        self,
        sources: Sequence[Source],
        rev: int,
        arrival: float,
        context: Sequence[ContextPair] = (),
    ) -> tuple[list[Job], list[tuple[str, str, str, int]]]:
        """Take in a revision, cut into pieces.

        Args:
            sources: the pieces. rev, arrival: of the revision.
            context: earlier sentence pairs, for pieces that are new.
        Returns:
            The jobs to start, and the keys of jobs that nobody waits for any more.
        """
        dropped = [self._key(i) for i in range(len(sources), len(self._pieces))]
        del self._pieces[len(sources) :]
        jobs = []
        for index, source in enumerate(sources):
            if index == len(self._pieces):
                stand_ins = StandIns(self._glossary)
                token_text = stand_ins.token_text(self._token_text)
                translation = Translation(self._preset, token_text)
                self._pieces.append(_Piece(translation, tuple(context), stand_ins))
            piece = self._pieces[index]
            if piece.translation.is_done:
                continue
            piece.source, piece.rev, piece.arrival = source.text, rev, arrival
            if source.continues and index and not piece.continues:
                self._continue(piece, self._pieces[index - 1])
            work = piece.translation.revise(source)
            if work is not None:
                jobs.append(self._job(index, work))
        return jobs, dropped

    def _continue(self, piece: _Piece, before: _Piece) -> None:
        """Let a piece go on in the middle of the sentence that the piece before began.

        The model sees both, with the settled translation of the first as the forced beginning. That
        needs the first to be done; a piece that has settled something before stays on its own.
        """
        if not (before.translation.is_done and piece.translation.is_fresh):
            return
        settled = before.translation.committed
        older = piece.translation
        piece.stand_ins = before.stand_ins  # the settled ids hold its names
        token_text = _text_after(settled, piece.stand_ins.token_text(self._token_text))
        piece.translation = Translation(self._preset, token_text, older.number)
        if older.shown:  # stays in sight until the new translation is there
            piece.translation.shown = self._joiner + older.shown
        source = piece.stand_ins.replace(before.source, before.translation.committed_text)
        piece.context = ((source.strip(), settled),)
        piece.continues = True

    def progress(self, job: Job, tokens: Tokens) -> None:
        """Take in an output that is still being decoded."""
        piece = self._piece_of(job)
        if piece is not None:
            piece.translation.progress(job.work.number, tokens)

    def complete(self, job: Job, tokens: Tokens, *, is_whole: bool) -> Job | None:
        """Take in a finished output; return the job that waited for it, if any."""
        piece = self._piece_of(job)
        if piece is None or not piece.translation.awaits(job.work.number):
            return None
        token_text = piece.translation.token_text
        missing = piece.stand_ins.missing(piece.source, token_text(tokens)[0])
        if job.work.is_final:
            if piece.best is None or len(missing) < piece.best[0]:
                piece.best = (len(missing), tokens, is_whole)
            if missing and piece.retries < MAX_RETRIES:
                piece.retries += 1
                piece.stand_ins.give_up(missing)
                draft = tokens[len(job.work.forced) :]
                return self._job(job.key[3], replace(job.work, text=piece.source, draft=draft))
            violations, tokens, is_whole = piece.best
            self.terms += piece.stand_ins.count(piece.source)
            self.violations += violations
        work = piece.translation.complete(
            job.work.number,
            tokens,
            is_whole=is_whole,
            certain_words=certain_words(piece.source, missing),
        )
        return None if work is None else self._job(job.key[3], work)

    def fail(self, job: Job) -> None:
        """Take in that a job could not be run."""
        piece = self._piece_of(job)
        if piece is not None:
            piece.translation.fail(job.work.number)

    def stop(self) -> list[tuple[str, str, str, int]]:
        """Wait for no job any more; return the keys of those that were awaited."""
        keys = [self._key(i) for i, p in enumerate(self._pieces) if p.translation.is_running]
        for piece in self._pieces:
            piece.translation.stop()
        return keys

    def remember(self) -> list[ContextPair]:
        """Return the pairs of the pieces that became done since the last call."""
        found: list[ContextPair] = []
        for piece in self._pieces:
            translation = piece.translation
            if translation.is_done and not piece.is_remembered:
                piece.is_remembered = True
                found.append((piece.source.strip(), translation.committed))
        return found

    def take(self, now: float) -> tuple[str, str, bool]:
        """Return newly settled text, the unstable tail, and whether either is news."""
        committed, unstable = self._text()
        assert committed.startswith(self.committed)
        append = committed[len(self.committed) :]
        is_news = bool(append) or unstable != self.unstable
        if is_news:
            self.updates += 1
            self.erased += erased_words(self.committed + self.unstable, committed + unstable)
            if self.first_shown is None and (committed or unstable):
                self.first_shown = now
        self.committed, self.unstable = committed, unstable
        return append, unstable, is_news

    def _text(self) -> tuple[str, str]:
        """Join the pieces: (settled, unstable)."""
        committed = unstable = ""
        is_settled = True
        for piece in self._pieces:
            translation = piece.translation
            settled = translation.committed_text
            rest = translation.shown[len(settled) :]
            if is_settled:
                committed += self._join(committed, settled, piece)
                unstable += rest if settled else self._join(committed, rest, piece)
                is_settled = translation.is_done
            else:
                unstable += self._join(committed + unstable, settled + rest, piece)
        return committed, unstable if self._preset.shows_unstable else ""

    def _join(self, before: str, text: str, piece: _Piece) -> str:
        if piece.continues:  # it has its own space, or a comma
            return text if before else text.lstrip()
        return self._joiner + text if before and text else text

    def _piece_of(self, job: Job) -> _Piece | None:
        index = job.key[3]
        return self._pieces[index] if index < len(self._pieces) else None

    def _key(self, index: int) -> tuple[str, str, str, int]:
        return (self._session_id, self.segment_id, self.target, index)

    def _job(self, index: int, work: Work) -> Job:
        piece = self._pieces[index]
        settled = " ".join(each.translation.committed_text for each in self._pieces)
        text = piece.stand_ins.replace(work.text, settled)
        return Job(
            key=self._key(index),
            work=replace(work, text=text),
            rev=piece.rev,
            arrival=piece.arrival,
            source_language=self._source_language,
            target=self.target,
            context=piece.context,
        )


def _text_after(settled: Tokens, token_text: TokenText) -> TokenText:
    """Return what turns ids that follow `settled` into the text that follows its text."""

    def after(tokens: Sequence[int]) -> tuple[str, list[int]]:
        text, offsets = token_text((*settled, *tokens))
        start = offsets[len(settled)]
        return text[start:], [offset - start for offset in offsets[len(settled) :]]

    return after
