"""Verified re-translation of one piece of source into one language: what to ask, commit and show.

The state is the committed prefix C (token ids, only ever grows), the last hypothesis H and the
source. Each revision asks for the whole piece again with C forced and the rest of H as a draft;
the words that enough hypotheses agree on move into C; the last words stay hidden while the source
is open. C ends at a word boundary that is also the end of a token, so its text is exactly the text
of its ids. Knows ids and words; does not know engines, clocks, pieces or the wire.

Sources: re-translation with masks, arXiv 2004.03643; biased verification, arXiv 2509.21740; local
agreement, whisper_streaming.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from service.captions.job import Job, JobKey, Tokens
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.words import count_words, has_words, normalise, skip_words, word_ends

MAX_SUPERSEDED: Final = 3  # partials superseded in a row; after that the next one may finish
MAX_OLDER: Final = 8  # hypotheses to compare the newest one with
MAX_REPEATS: Final = 3  # of the same ids at the end of a stopped output: this many are a loop
_STATE: Final = (
    "committed", "committed_text", "shown", "covered_words", "is_done", "_number",
    "_certain_words",
)  # of every translation; an unfinished one has more  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preset:
    """How eager a translation is.

    Attributes:
        agreement: hypotheses of different sources that must agree before words are committed.
        mask_words: words at the end that are hidden while the source is open. They are not
            committed either, and the very last word never is: it may still be half of a word.
        bias: how much the previous hypothesis is favoured, 0 is plain greedy decoding.
        min_source_words: an open source with fewer words is not translated.
        shows_unstable: whether words that may still change are shown.
        verifies: whether the previous hypothesis is offered as a draft. With a bias of 0 this
            changes the cost alone, not what is shown; off for comparison.
        wait_words: k of wait-k (arXiv 1810.08398): word t is committed once k + t - 1 source words
            have come, whatever the agreement; 0 leaves it to agreement.
    """

    agreement: int
    mask_words: int
    bias: float
    min_source_words: int
    shows_unstable: bool = True
    verifies: bool = True
    wait_words: int = 0


PRESETS: Final = {
    # Chosen by `tokenspeed eval streaming`, benchmarks/streaming.md. Where uncommitted words are
    # shown anyway, committing them six source words late is barely visible, and brings finals 0.2
    # to 0.3 chrF nearer to offline than five where the recogniser rewrites. A bias above 0.2 clings
    # to what the recogniser got wrong. Without words that may change, two hypotheses that agree
    # and two hidden words are as early as three and one, and 0.2 chrF nearer.
    "low": Preset(3, 0, 0.2, 1, wait_words=6),
    "balanced": Preset(3, 2, 0.2, 2, wait_words=6),
    "high": Preset(3, 3, 0.2, 3, wait_words=6),
    "append_only": Preset(2, 2, 0.2, 1, shows_unstable=False),
}


@dataclass(frozen=True, slots=True)
class Source:
    """One revision of a piece.

    Attributes:
        text: the piece.
        stable_words: leading words that will not be revised.
        is_open: whether the piece may still grow.
        is_cut: whether it is complete but its sentence continues in the next piece.
        continues: whether its sentence began in the piece before.
        touches: whether the piece before it ends where it begins, without a space: "one.<br>two".
        is_final: whether it can no longer change, so that all of it can be committed.
        language: of the text, None if unknown.
    """

    text: str
    stable_words: int
    is_open: bool = True
    is_final: bool = False
    is_cut: bool = False
    continues: bool = False
    language: str | None = None
    touches: bool = False


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    """An output with its words.

    Attributes:
        ends: offsets in `text` at which words end.
        boundaries: for each word, the number of ids up to its end; None if it ends inside an id.
        spans: where protected words begin and end; no word ends within one.
    """

    tokens: Tokens
    text: str
    ends: list[int]
    boundaries: list[int | None]
    spans: list[tuple[int, int]]


def _hypothesis(state: dict[str, Any]) -> _Hypothesis:
    spans = [(start, end) for start, end in state["spans"]]
    return _Hypothesis(**state | {"tokens": tuple(state["tokens"]), "spans": spans})


_NOTHING: Final = _Hypothesis((), "", [], [], [])
_NO_SOURCE: Final = Source("", 0)


def _none_protected(text: str) -> list[tuple[int, int]]:
    return []


def _read_no_more(tokens: Sequence[int]) -> tuple[str, list[int]]:
    raise AssertionError("the final pass has ended")


class Translation:
    """One piece in one language.

    Attributes:
        committed: C, ids that are committed. committed_text: their text.
        shown: what a reader sees; begins with committed_text.
        covered_words: upper bound on the source words that C covers, estimated by proportion.
        is_done: whether the final pass has ended.

    Args:
        key: of its jobs.
        preset: how eager it is. token_text: turns ids into text.
        number: of the newest job of its predecessor; its own jobs are numbered on from there.
        protected: returns where the protected words of an output begin and end, in order.
    """

    def __init__(
        self,
        key: JobKey,
        preset: Preset,
        token_text: TokenText,
        number: int = 0,
        protected: Callable[[str], list[tuple[int, int]]] = _none_protected,
    ) -> None:
        self.key = key
        self.preset = preset
        self.committed: Tokens = ()
        self.committed_text = ""
        self.shown = ""
        self.covered_words = 0
        self.is_done = False
        self.token_text = token_text
        self._protected = protected
        self._hypothesis = _NOTHING
        self._older: list[_Hypothesis] = []
        self._source = _NO_SOURCE
        self._job: Job | None = None
        self._answered = _NO_SOURCE  # what the hypothesis translates
        self._pending: Source | None = None
        self._number = number
        self._job_is_open = True
        self._superseded = 0
        self._certain_words: int | None = None  # of the source; None: all

    @property
    def is_running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is committed and no final pass is under way."""
        is_committing = self._job is not None and self._job.is_final
        return not (self.committed or self.is_done or is_committing)

    @property
    def number(self) -> int:
        """Number of its newest job."""
        return self._number

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values, as it will be once no job is under way."""
        state: dict[str, Any] = {name: getattr(self, name) for name in _STATE}
        if not self.is_done:  # otherwise no more hypotheses will be compared
            older = self._older[-self.preset.agreement :]
            state |= {
                "hypothesis": asdict(self._hypothesis),
                "older": [asdict(each) for each in older],
                "answered": asdict(self._answered),
            }
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state that another instance dumped."""
        for name in _STATE:
            setattr(self, name, state[name])
        self.committed = tuple(self.committed)
        if not self.is_done:
            self._hypothesis = _hypothesis(state["hypothesis"])
            self._older.extend(_hypothesis(each) for each in state["older"])
            self._answered = Source(**state["answered"])

    def revise(self, source: Source) -> Job | None:
        """Take a revision; return the job that it needs, if any."""
        if self.is_done or (self._job is not None and self._job.is_final):
            return None
        before, self._source = self._source, source
        if source.is_final:
            self._pending = None
            if has_words(source.text):
                return self._start(source)
            self._job = None
            self._commit_all(self._prefix_hypothesis())
            return None
        self._shrink(source)
        # A source that differs only in punctuation or case needs no new translation.
        is_same = normalise(source.text) == normalise(before.text)
        if is_same and source.is_open == before.is_open:
            if self._job is None and normalise(self._answered.text) == normalise(source.text):
                self._answered = source
                self._commit()  # more of the source may be stable now
            return None
        if self._is_too_short(source):
            return None
        if self._job is not None and self._superseded >= MAX_SUPERSEDED:
            self._pending = source
            return None
        return self._start(source)

    def progress(self, number: int, tokens: Tokens) -> bool:
        """Take an output that is still being decoded; return whether it changed `shown`.

        It is shown once it is as long as what is shown already: until then words would vanish, and
        most of them would be back a moment later.
        """
        if self._job is None or self._job.number != number or not self.preset.shows_unstable:
            return False
        found = self._read(tokens)
        if not found.text.startswith(self.committed_text):
            return False
        # Masked even if the source is complete: the last word may be half decoded.
        visible = self._visible(found, max(self._mask_words(self._source), 1))
        if len(visible) < len(self.shown) or visible == self.shown:
            return False
        self.shown = visible
        return True

    def awaits(self, number: int) -> bool:
        """Whether the result of a job would be taken."""
        return self._job is not None and self._job.number == number and not self.is_done

    def complete(
        self,
        number: int,
        tokens: Tokens,
        *,
        is_whole: bool = True,
        certain_words: int | None = None,
    ) -> Job | None:
        """Take a finished output; return the job that was waiting for it, if any.

        Args:
            number: of the job; results of older jobs are ignored.
            tokens: the output, C first. Of one that does not begin with C, only
                C is kept.
            is_whole: whether it ended by itself rather than at its length.
            certain_words: the source is known to be wrong from this word on: translations of those
                words are not committed while the source is open. None: nothing is known.
        """
        job = self._job
        if job is None or not self.awaits(number):
            return None
        self._job = None
        self._certain_words = certain_words
        self._superseded = 0
        if tokens[: len(self.committed)] != self.committed:
            tokens = self.committed
        if not is_whole:
            tokens = trim_repetition(tokens, len(self.committed))
        found = self._read(tokens)
        if job.is_final:
            self._commit_all(found)
            return None
        if _whole_words(job.text) != _whole_words(self._answered.text):
            # Revisions that differ only in the word being typed count as one source: agreement
            # between their translations would prove nothing.
            self._older = [*self._older[1 - MAX_OLDER :], self._hypothesis]
        self._hypothesis = found
        self._answered = Source(job.text, self._source.stable_words, self._job_is_open)
        self._commit()
        pending, self._pending = self._pending, None
        if pending is not None and not self._is_too_short(pending):
            return self._start(pending)
        return None

    def fail(self, number: int) -> None:
        """The job could not be run: a final one commits what there is."""
        job = self._job
        if job is None or job.number != number:
            return
        self._job = None
        if job.is_final:
            self._commit_all(self._hypothesis)

    def stop(self) -> None:
        """Stop waiting for jobs; the next revision asks for one even if its text is the same."""
        self._job = self._pending = None
        self._source = _NO_SOURCE

    def _start(self, source: Source) -> Job:
        self._superseded = self._superseded + 1 if self._job is not None else 0
        self._number += 1
        self._job_is_open = source.is_open
        self._job = Job(
            key=self.key,
            number=self._number,
            text=source.text,
            is_open=source.is_open or source.is_cut,
            is_final=source.is_final,
            forced=self.committed,
            draft=self._hypothesis.tokens[len(self.committed) :] if self.preset.verifies else (),
            bias=0.0 if source.is_final else self.preset.bias,
        )
        return self._job

    def _is_too_short(self, source: Source) -> bool:
        if not source.text.strip() or not source.is_open:
            return not source.text.strip()
        return count_words(source.text) < self.preset.min_source_words

    def _shrink(self, source: Source) -> None:
        """Take back what is shown of a source that was deleted."""
        if not source.text.strip():
            self._job = self._pending = None
            self._hypothesis = self._prefix_hypothesis()
            self.shown = self.committed_text

    def _prefix_hypothesis(self) -> _Hypothesis:
        return self._read(self.committed)

    def _read(self, tokens: Tokens) -> _Hypothesis:
        text, offsets = self.token_text(tokens)
        first: dict[int, int] = {}
        for count, offset in enumerate(offsets):
            first.setdefault(offset, count)
        ends, spans = word_ends(text), self._protected(text)
        if spans:
            ends = [end for end in ends if not any(a < end < b for a, b in spans)]
        return _Hypothesis(tokens, text, ends, [first.get(end) for end in ends], spans)

    def _mask_words(self, source: Source) -> int:
        return self.preset.mask_words if source.is_open else 0

    def _visible(self, found: _Hypothesis, mask_words: int) -> str:
        """Return what a reader sees of an output: everything except the last `mask_words` words.

        Protected words that are already visible stay: they will not be translated differently.
        """
        count = len(found.ends) - mask_words
        end = found.ends[count - 1] if count > 0 else 0
        for start, stop in found.spans:
            word = found.text[start:stop]
            if stop > end and self.shown.count(word) >= found.text.count(word, 0, stop):
                end = stop
        visible = found.text[:end]
        return visible if len(visible) >= len(self.committed_text) else self.committed_text

    def _commit(self) -> None:
        """Move what is agreed on from H into C, and show the rest."""
        found, source = self._hypothesis, self._answered
        if not found.text.startswith(self.committed_text):
            return  # the same ids, but what follows changes how they read
        limit = len(found.ends)
        if source.is_open:
            limit -= max(self.preset.mask_words, 1)
        words = count_words(source.text)
        if self.preset.wait_words and source.is_open:
            limit = min(limit, words - self.preset.wait_words + 1)
        stable_words = source.stable_words
        if self._certain_words is not None:
            stable_words = min(stable_words, self._certain_words)
        if stable_words < words:
            limit = min(limit, len(found.ends) * stable_words // words)
        for j in range(limit, 0, -1):
            count = found.boundaries[j - 1]
            if count is None:
                continue
            if count <= len(self.committed):
                break
            if self._is_agreed(found.tokens[:count]):
                self.committed = found.tokens[:count]
                self.committed_text = found.text[: found.ends[j - 1]]
                self.covered_words = -(-words * j // len(found.ends))
                break
        is_seen = self.preset.shows_unstable
        mask_words = self._mask_words(self._source)
        self.shown = self._visible(found, mask_words) if is_seen else self.committed_text

    def _is_agreed(self, prefix: Tokens) -> bool:
        """Whether a prefix of the hypothesis may be committed."""
        return self._agree(prefix, self.preset.agreement)

    def _agree(self, prefix: Tokens, count: int) -> bool:
        """Whether `count` hypotheses, the newest one included, have the same words there.

        They end at the same place.
        """
        needed = count - 1
        older = self._older[-needed:] if needed else []
        return len(older) == needed and all(
            item.tokens[: len(prefix)] == prefix and len(prefix) in item.boundaries
            for item in older
        )

    def _commit_all(self, found: _Hypothesis) -> None:
        text = found.text
        if not text.startswith(self.committed_text):  # what follows changes how it reads
            text = self.committed_text + text[skip_words(text, count_words(self.committed_text)) :]
        self.committed, self.committed_text = found.tokens, text
        self.shown = self.committed_text
        self.is_done = True
        # Nothing more will be read or compared. What was kept for that goes now: letting go of what
        # hundreds of pieces hold takes milliseconds, and they end together.
        self._hypothesis, self._older = _NOTHING, []
        self._source = self._answered = _NO_SOURCE
        self.token_text, self._protected = _read_no_more, _none_protected


def _whole_words(text: str) -> str:
    """The text without its last word, which may be half typed."""
    ends = word_ends(text)
    return normalise(text[: ends[-2]]) if len(ends) > 1 else ""


def trim_repetition(tokens: Tokens, start: int) -> Tokens:
    """Cut a loop at the end back to its first round; `tokens[:start]` is left alone."""
    for period in range(1, 1 + (len(tokens) - start) // MAX_REPEATS):
        length = period
        while (
            start <= len(tokens) - length - 1 and tokens[-length - 1] == tokens[period - length - 1]
        ):
            length += 1
        if length >= MAX_REPEATS * period:
            return tokens[: len(tokens) - length + period]
    return tokens
