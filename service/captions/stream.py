"""One segment in one language: its pieces joined into the one text that the wire sees.

Pieces are committed in order: words of a later piece are appended only when all earlier ones are
done, so the joined text only grows at its end. Knows translations and text; does not know the
wire's messages, engines or clocks (times are arguments, in seconds).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from service.captions.job import ContextPair, Job, JobKey, Tokens
from service.captions.piece import Counts, TargetPiece
from service.captions.policy import Preset, Source
from service.wire.protocol import Formality, Timing
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.languages import spaces_sentences
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.steps import never
from tokenspeed.text.words import count_words, erased_words

_STATE: Final = (
    "committed", "unstable", "updates", "erased", "is_parked", "is_final_sent", "formality",
    "_source_language",
)  # of every stream, besides its counts, pieces and times  # fmt: skip


class TargetStream:
    """The translation of one segment into one language.

    Attributes:
        committed: text returned by `take`, which never changes. unstable: the tail at that time.
        updates: times that `take` found something new. erased: words taken back from a reader.
        counts: what its pieces counted, those that are gone included.
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
        self.counts = Counts()
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
        self._pieces: list[TargetPiece] = []
        self._joined = (0, "")  # pieces at the beginning that are done, and their text

    @property
    def preset(self) -> Preset:
        """How eager the translation is; may change while it runs."""
        return self._preset

    @preset.setter
    def preset(self, preset: Preset) -> None:
        self._preset = preset
        for piece in self._pieces:
            piece.preset = preset

    @property
    def hygiene(self) -> Hygiene:
        """How texts are cleaned; a change applies from the next revision on."""
        return self._hygiene

    @hygiene.setter
    def hygiene(self, hygiene: Hygiene) -> None:
        self._hygiene = hygiene
        for piece in self._pieces:
            piece.hygiene = hygiene

    @property
    def is_done(self) -> bool:
        """Whether every piece has had its final pass."""
        rest = itertools.islice(self._pieces, self._joined[0], None)
        return all(piece.is_done for piece in rest)

    @property
    def num_pieces(self) -> int:
        """How many pieces it has."""
        return len(self._pieces)

    def is_piece_done(self, index: int) -> bool:
        """Whether a piece has had its final pass."""
        return index < len(self._pieces) and self._pieces[index].is_done

    def as_source(self, source: Source, index: int) -> Source:
        """Return this translation of a piece as the source of a second pass.

        What is committed here will not change, so it is stable source text there.
        """
        known = index < len(self._pieces)
        committed, rest = self._texts_of(index) if known else ("", "")
        is_done = known and self._pieces[index].is_done
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
        if len(sources) < self._joined[0]:
            self._joined = 0, ""
        jobs = []
        for index in range(len(sources)) if part is None else part:
            source = sources[index]
            if index == len(self._pieces):
                self._pieces.append(self._new_piece(index, source.language, context))
            before = self._pieces[index - 1] if index else None
            job, is_dropped = self._pieces[index].revise(source, rev, arrival_s, before)
            if is_dropped:
                dropped.append(self._key(index))
            if job is not None:
                jobs.append(self._filled(job))
        return jobs, dropped

    def progress(self, job: Job, tokens: Tokens) -> None:
        """Take an output that is still being decoded."""
        piece = self._piece_of(job)
        if piece is not None:
            piece.translation.progress(job.number, tokens)

    def complete(
        self, job: Job, tokens: Tokens, *, is_whole: bool, is_spent: Callable[[], bool] = never
    ) -> Job | None:
        """Take a finished output; return the job that was waiting for it, if any.

        Args:
            is_spent: whether there is no time for more then: the next piece waits for `release`.
        """
        piece = self._piece_of(job)
        if piece is None or not piece.translation.awaits(job.number):
            return None
        following = piece.complete(job, tokens, is_whole=is_whole)
        if following is not None:
            return self._filled(following)
        return None if is_spent() else self.release(job.key.piece + 1)

    def fail(self, job: Job) -> Job | None:
        """Note that a job could not be run; return the one that was waiting for it, if any."""
        piece = self._piece_of(job)
        if piece is None:
            return None
        piece.translation.fail(job.number)
        return self.release(job.key.piece + 1)

    def may_release(self, index: int) -> bool:
        """Whether a piece still waits for the previous one, although that is done."""
        is_waiting = index < len(self._pieces) and self._pieces[index].is_held
        return is_waiting and self._pieces[index - 1].is_done

    def release(self, index: int) -> Job | None:
        """Return the job of a piece that was waiting for the previous one."""
        if not self.may_release(index):
            return None
        job = self._pieces[index].release(self._pieces[index - 1])
        return self.release(index + 1) if job is None else self._filled(job)

    def stop(self) -> list[JobKey]:
        """Stop waiting for jobs; return the keys of those that were awaited."""
        keys = [self._key(i) for i, p in enumerate(self._pieces) if p.translation.is_running]
        for piece in self._pieces:
            piece.stop()
        return keys

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values, as it will be once no job is under way."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            **asdict(self.counts),
            "first_shown_s": self.first_shown_s,
            "pieces": [piece.dump() for piece in self._pieces],
        }

    def load(self, state: dict[str, Any], later_s: float) -> None:
        """Restore the state that another instance dumped.

        Args:
            later_s: added to its times.
        """
        for name in _STATE:
            setattr(self, name, state[name])
        for name in asdict(self.counts):
            setattr(self.counts, name, state[name])
        if state["first_shown_s"] is not None:
            self.first_shown_s = state["first_shown_s"] + later_s
        for index, each in enumerate(state["pieces"]):
            piece = self._new_piece(index)
            piece.load(each, self._pieces[-1] if self._pieces else None, later_s)
            self._pieces.append(piece)

    def restart(self, source_language: str | None) -> None:
        """Start over with a text that is not in the language it was said to be in."""
        assert not self.committed
        self._source_language = source_language
        self._pieces.clear()
        self._joined = 0, ""

    def remember(self) -> list[tuple[str | None, ContextPair]]:
        """Return language and pair of the pieces that were finished since the last call."""
        found = (piece.remember() for piece in self._pieces)
        return [each for each in found if each is not None]

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
        begin, committed = self._joined
        unstable = ""
        is_committed = True
        for index in range(begin, len(self._pieces)):
            piece = self._pieces[index]
            own, rest = self._texts_of(index)
            if is_committed:
                committed += self._join(committed, own, piece)
                unstable += rest if own else self._join(committed, rest, piece)
                is_committed = piece.is_done
                if is_committed:  # hundreds of pieces are not joined anew for each of them
                    self._joined = index + 1, committed
            else:
                unstable += self._join(committed + unstable, own + rest, piece)
        return committed, unstable if self._preset.shows_unstable else ""

    def _texts_of(self, index: int) -> tuple[str, str]:
        return self._pieces[index].texts(is_last=index == len(self._pieces) - 1)

    def _join(self, before: str, text: str, piece: TargetPiece) -> str:
        if piece.continues:  # it brings its own space, or a comma
            return text if before else text.lstrip()
        return self._joiner + text if before and text and not piece.touches else text

    def _new_piece(
        self, index: int, language: str | None = None, context: Sequence[ContextPair] = ()
    ) -> TargetPiece:
        return TargetPiece(
            self._key(index),
            self._preset,
            self._hygiene,
            self._new_detokenizer,
            self.counts,
            language,
            self._source_language,
            context,
        )

    def _piece_of(self, job: Job) -> TargetPiece | None:
        index = job.key.piece
        return self._pieces[index] if index < len(self._pieces) else None

    def _key(self, index: int) -> JobKey:
        return JobKey(self._session_id, self.segment_id, self.target, index, self.is_pivot)

    def _filled(self, job: Job) -> Job:
        """Return a job with what the policy does not know about it."""
        index = job.key.piece
        piece = self._pieces[index]
        # Pieces further back matter only if committed text may hold a placeholder.
        first = 0 if piece.has_placeholders else max(index - 1, 0)
        around = self._pieces[first:] if first == 0 else self._pieces[first : index + 1]
        committed = " ".join(each.translation.committed_text for each in around)
        return piece.filled(job, committed, self.formality)
