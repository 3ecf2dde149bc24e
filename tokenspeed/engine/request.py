"""One request and its arithmetic: what is known, what is a draft, what a step taught us.

Pure: no clock, no device, no thread. Times are arguments, in seconds on the engine's clock.
"""

import math
from collections.abc import Hashable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenspeed.backends import ANY_TOKEN, NO_DRAFT

MAX_DRAFT_TOKENS = 64  # rows that one verification adds; more would widen the step for everybody


@dataclass(frozen=True)
class Request:
    """What the engine is asked for.

    Attributes:
        prompt: token ids, at least one.
        forced: ids that the output begins with, whatever the model predicts (committed prefix).
        draft: ids expected after `forced`; verified together in one pass.
        bias: in [0, 1), how much the draft is favoured; 0 is exactly greedy decoding.
        max_new_tokens: cap on the output, `forced` included.
        deadline_s: when the result is due, in seconds; earlier ones go first.
        is_final: finals go before partials of the same deadline, and no newer request of the same
            key ends them.
        key: a newer request of the same key supersedes an older partial one, and inherits its slot
            and what it has produced.
        client: who asks; the machine is shared equally between clients, not between requests.
        resync: length of the n-gram after which the rest of a refuted draft is offered again; 0
            never offers it again.
    """

    prompt: tuple[int, ...]
    forced: tuple[int, ...] = ()
    draft: tuple[int, ...] = ()
    bias: float = 0.0
    max_new_tokens: int = 128
    deadline_s: float = math.inf
    is_final: bool = False
    key: Hashable = None
    client: Hashable = None
    resync: int = 2

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("prompt is empty, expected at least one token")
        if not 0 <= self.bias < 1:
            raise ValueError(f"bias is {self.bias}, expected 0 <= bias < 1")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}, expected at least 1")


@dataclass(frozen=True)
class Completion:
    """How a request ended.

    Attributes:
        tokens: `forced`, then what was accepted and decoded, without an end mark.
        finish_reason: "stop" (end mark), "length", "superseded" or "cancelled".
        accepted, decoded: output tokens taken from a draft, and decoded.
        guessed: tokens that took no step of their own, as they came behind a guess of the backend
            that was right.
        draft_tokens: draft tokens that were verified, accepted or not.
        steps: steps that the request took part in.
        reused: tokens whose keys and values were found in the cache.
        queue_ms: from submission to the first step. first_token_ms: to the first new token.
        compute_ms: time of the steps that it took part in. total_ms: to the end.
    """

    tokens: tuple[int, ...]
    finish_reason: str
    accepted: int = 0
    decoded: int = 0
    guessed: int = 0
    draft_tokens: int = 0
    steps: int = 0
    reused: int = 0
    queue_ms: float = 0.0
    first_token_ms: float = 0.0
    compute_ms: float = 0.0
    total_ms: float = 0.0


class Rows(NamedTuple):
    """A sequence's part of one step: consecutive tokens of its slot, the last ones answered.

    An answered row is one whose prediction of the next token is used.
    """

    tokens: list[int]
    start: int  # position of the first token
    drafts: list[int]  # the expected next token of each answered row; these are the last rows
    is_guess: bool = False  # whether the backend expects them, not the client

    @property
    def only_decodes(self) -> bool:
        """Whether these are the last token of a sequence, or that and a guess."""
        is_plain = self.is_guess or self.drafts == [NO_DRAFT]
        return is_plain and len(self.tokens) == 1 + self.is_guess


@dataclass(eq=False)
class Sequence:
    """A request while it runs; compared by identity.

    The slot holds keys and values of `tokens[:computed]`. A step computes the known tokens that are
    missing, then the draft; each of these last rows predicts its next token, which confirms the
    draft or replaces it. Where there is no draft, the backend's guess is verified in its place.
    """

    request: Request
    eos_token_ids: frozenset[int]
    arrival_s: float = 0.0
    waiting_since_s: float = math.inf  # arrival of the first request whose place this one took
    slot: int = -1
    computed: int = 0
    reused: int = 0
    lost: int = 0  # tokens that its slot held when it had to give that up
    tokens: list[int] = field(default_factory=list)  # prompt, forced, output: all known
    draft: list[int] = field(default_factory=list)  # on offer, after `tokens`
    refuted: list[int] = field(default_factory=list)  # old draft from the first difference on
    guess: int | None = None  # what the backend expects after `tokens`
    finish_reason: str | None = None
    accepted: int = 0
    decoded: int = 0
    guessed: int = 0
    draft_tokens: int = 0
    steps: int = 0
    started_s: float | None = None
    first_token_s: float | None = None
    compute_s: float = 0.0
    _full_at: int = 0  # as many `tokens` as there may be
    _stops: NDArray[np.int32] | None = None  # of `refuted` as it is
    _last_answer: int = -1  # of the last step: its last prediction that was used
    failures_alone: int = 0  # steps of its own that raised since it last made progress
    failed_at: tuple[int, int] = (0, 0)  # (known tokens, computed tokens) when it failed

    def __post_init__(self) -> None:
        request = self.request
        self.waiting_since_s = min(self.waiting_since_s, self.arrival_s)
        self.tokens = [*request.prompt, *request.forced]
        self.draft = list(request.draft)
        self._full_at = len(request.prompt) + request.max_new_tokens
        if len(request.forced) >= request.max_new_tokens:
            self.finish_reason = "length"

    @property
    def output(self) -> tuple[int, ...]:
        """The output so far, `forced` included."""
        return tuple(self.tokens[len(self.request.prompt) :])

    @property
    def num_output(self) -> int:
        """Tokens of the output so far, `forced` included."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def missing(self) -> int:
        """Sure tokens that the slot does not hold yet."""
        return len(self.tokens) - self.computed

    @property
    def may_guess(self) -> bool:
        """Whether it can use one row more than `missing`, for a guess."""
        return self.guess is not None and not self.draft

    @property
    def remaining_steps(self) -> int:
        """Steps that this request will probably still take; short requests go first.

        A draft that holds costs one step; without one, each token costs a step, and an output is
        about as long as its prompt.
        """
        expected = len(self.request.prompt) - self.num_output - len(self.draft)
        return 1 + max(expected, 0)

    def begin(self, slot: int, reused: int, now_s: float) -> None:
        """Take a slot that already holds the first `reused` tokens."""
        self.slot = slot
        # The last known token is computed in any case: its row predicts the first new one.
        self.computed = self.reused = min(reused, len(self.tokens) - 1)
        if self.started_s is None:
            self.started_s = now_s

    @property
    def may_lose_slot(self) -> bool:
        """Whether it has got half as far again as when it last gave up a slot.

        So whoever takes slots from each other comes to an end all the same, and no token is
        computed more than three times on average.
        """
        return 2 * self.computed >= 3 * self.lost

    def fail_alone(self) -> int:
        """Count a step of its own that raised; return how many did since it last progressed."""
        place = (len(self.tokens), self.computed)
        if place > self.failed_at:
            self.failed_at, self.failures_alone = place, 0
        self.failures_alone += 1
        return self.failures_alone

    def rows(self, max_rows: int) -> Rows:
        """Choose the rows of the next step, at most `max_rows`.

        No row is answered while known tokens are still missing afterwards (a chunk of a prompt).
        """
        missing = self.tokens[self.computed : self.computed + max_rows]
        if len(missing) < self.missing:
            return Rows(missing, self.computed, [])
        if not self.draft:
            if self.guess is None or len(missing) == max_rows:
                return Rows(missing, self.computed, [NO_DRAFT])
            # Also where only one token may follow: so all steps that follow each other are alike.
            drafts = [self.guess, NO_DRAFT]
            return Rows([*missing, self.guess], self.computed, drafts, is_guess=True)
        room = self._full_at - len(self.tokens) - 1
        width = min(max_rows - len(missing), room, MAX_DRAFT_TOKENS)
        draft = self.draft[: max(width, 0)]
        following = self.draft[len(draft) : len(draft) + 1] or [NO_DRAFT]
        return Rows([*missing, *draft], self.computed, [*draft, *following])

    def decodes_on(self, before: Rows) -> bool:
        """Whether its next rows decode like these, for which it had `stops`.

        Its next `stops`, if it has any, are then the same.
        """
        return (
            before.only_decodes
            and self.missing == 1
            and (self.guess is not None) == before.is_guess
            and self._stops is not None  # since then no draft was refuted or offered again
        )

    def advance(self, rows: Rows, predicted: Seq[int]) -> tuple[int, ...]:
        """Take in what a step predicted.

        Args:
            rows: what the step computed for this sequence.
            predicted: the next token of each answered row, as many as `rows.drafts`.
        Returns:
            The tokens that became known, end mark excluded.
        """
        self.steps += 1
        if not rows.drafts:
            self.computed += len(rows.tokens)
            return ()
        before = held = len(self.tokens)
        accepted = self.accepted
        self.guess, self._last_answer = None, -1
        for token, expected in zip(predicted, rows.drafts, strict=True):
            self._append(token)
            self._last_answer += 1
            # A draft that is on offer again has a favour that the row of a guess did not give it.
            is_unfavoured = rows.is_guess and bool(self.draft) and self.request.bias > 0
            if token != expected or is_unfavoured:
                break
            held = len(self.tokens)
            if self.finish_reason:
                break
        if rows.is_guess:
            self.guessed += self._last_answer
            self.draft_tokens += self.accepted - accepted  # an old draft may be on offer again
        else:
            self.draft_tokens += len(rows.drafts) - (rows.drafts[-1] == NO_DRAFT)
        # Rows after the first difference are in the slot too, but belong to another text; and the
        # last prediction may have confirmed a draft token for which there was no row.
        self.computed = min(held, rows.start + len(rows.tokens))
        return tuple(self.tokens[before:])

    def expect(self, guesses: Seq[int]) -> None:
        """Take in what the backend expects after each prediction of the last step.

        Args:
            guesses: as many as `advance` had predictions; none: it was a part of a prompt.
        """
        if guesses:
            self.guess = guesses[self._last_answer]

    def stops(self, rows: Rows) -> NDArray[np.int32] | None:
        """Return when the step behind one with these rows will not simply decode on.

        The end marks, and each place of the refuted draft from which the rest would be offered.

        Returns:
            [stops, 2], see `Step.stops`; None: it will not in any case.
        """
        if not rows.only_decodes:
            return None
        most = 2 if rows.is_guess else 1  # tokens that the step may add
        if len(self.tokens) + most >= self._full_at:
            return None
        return self._known_stops()

    def stops_behind_draft(self, rows: Rows) -> tuple[NDArray[np.int32], int] | None:
        """Return when the step behind one that verifies these rows will not simply decode on.

        It would go on behind the first answer that differs from what was expected.

        Returns:
            stops, [stops, 2], and how many of them hold behind any answer: see `Step.num_ends`;
            None: it will not decode on in any case, or these rows do that themselves.
        """
        is_plain = len(rows.tokens) == 1 and rows.drafts == [NO_DRAFT]
        if is_plain or rows.is_guess or not rows.drafts:
            return None
        if self.num_output + len(rows.drafts) >= self.request.max_new_tokens:
            return None
        if not self.eos_token_ids.isdisjoint(rows.drafts):  # it may end where the draft holds
            return None
        if self.draft:  # it takes the place of whatever was refuted before
            return self._stops_of(self.draft), len(self.eos_token_ids)
        stops = self._known_stops()
        return stops, len(stops)

    def _known_stops(self) -> NDArray[np.int32]:
        if self._stops is None:
            self._stops = self._stops_of(self.refuted)
        return self._stops

    def _stops_of(self, old: list[int]) -> NDArray[np.int32]:
        """Return the end marks, then the places of an old draft, in order."""
        width = self.request.resync
        ends = old[width - 1 : -1] if width else []  # of each n-gram that has something behind
        before = old[width - 2 : -2] if width > 1 else [ANY_TOKEN] * len(ends)
        marks = list(self.eos_token_ids)
        return np.array([[ANY_TOKEN] * len(marks) + before, marks + ends], np.int32).T

    def _append(self, token: int) -> None:
        is_accepted = bool(self.draft) and self.draft[0] == token
        if is_accepted:
            self.draft.pop(0)
            self.accepted += 1
        else:
            self.decoded += 1
            if self.draft:
                self.refuted, self.draft, self._stops = self.draft, [], None
        if token in self.eos_token_ids:
            self.finish_reason = "stop"
            return
        self.tokens.append(token)
        if self.refuted and not is_accepted:
            self._resync()
        if len(self.tokens) >= self._full_at:
            self.finish_reason = "length"

    def _resync(self) -> None:
        """Offer the rest of the refuted draft again once the newest tokens occur in it."""
        width = self.request.resync
        if not width or self.num_output - len(self.request.forced) < width:
            return
        tail = self.tokens[-width:]
        for i in range(len(self.refuted) - width):
            if self.refuted[i : i + width] == tail:
                self.draft, self.refuted = self.refuted[i + width :], []
                self._stops = None
                return

    def hypothesis(self) -> tuple[int, ...]:
        """The output so far and what was still expected after it: a successor's draft."""
        return (*self.output, *(self.draft or self.refuted))

    def completion(self, now_s: float) -> Completion:
        """Sum up; `finish_reason` must be set."""
        assert self.finish_reason is not None
        started_s = now_s if self.started_s is None else self.started_s
        first = now_s if self.first_token_s is None else self.first_token_s
        return Completion(
            tokens=self.output,
            finish_reason=self.finish_reason,
            accepted=self.accepted,
            decoded=self.decoded,
            guessed=self.guessed,
            draft_tokens=self.draft_tokens,
            steps=self.steps,
            reused=self.reused,
            queue_ms=(started_s - self.arrival_s) * 1e3,
            first_token_ms=(first - self.arrival_s) * 1e3,
            compute_ms=self.compute_s * 1e3,
            total_ms=(now_s - self.arrival_s) * 1e3,
        )
