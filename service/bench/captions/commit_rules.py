"""Replays of one line in many ways: which words a rule would have committed, and when.

The policy is the product's own, `Translation`, with what it commits forced into what is asked next;
only the condition under which words are committed differs. All rules go through the lines side by
side, so that what several of them ask is decoded once, and in large batches. Knows ids, words and
margins; does not know models.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.bench.captions.documents import Line, Update
from service.bench.captions.scores import Display, SegmentLog
from service.captions.job import Job, JobKey, Tokens
from service.captions.policy import Preset, Source, Translation
from tokenspeed.model.decode import Decoded
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.words import word_ends

AGREEMENTS: Final = (2, 3, 4)
MORE_AGREEMENTS: Final = (1, *AGREEMENTS)  # 1: whatever the newest hypothesis says
WAITS: Final = (0, 5)  # those of the product's presets
MORE_WAITS: Final = (0, 3, 5, 7)  # of agreement alone, which has no other knob
MARGINS: Final = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
AGREEMENT: Final = "agreement"
FAMILIES: Final = ("margin", "2 and margin", "3, or 2 and margin")  # compared with agreement
MARKS: Final = ".,;:!?…\"'„“”«»()-–—"
_KEY: Final = JobKey("replay", "segment", "", 0)  # nothing depends on it


@dataclass(frozen=True, slots=True)
class Condition:
    """What words need to be committed.

    Attributes:
        agreement: so many hypotheses, the newest one included, have them.
        margin: of each token that is not committed yet, at least; in nats.
    """

    agreement: int
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that commits words.

    Attributes:
        family: of rules that differ in numbers only.
        conditions: one of them is enough.
        wait_words: as of `Preset`.
    """

    family: str
    conditions: tuple[Condition, ...]
    wait_words: int = 0


def all_rules() -> list[Rule]:
    """Return the rules that are compared."""
    rules = [Rule(AGREEMENT, (Condition(n),), k) for k in MORE_WAITS for n in MORE_AGREEMENTS]
    for k in WAITS:
        for x in MARGINS:
            both = Condition(2, x)
            alternatives = ((Condition(1, x),), (both,), (Condition(3), both))
            rules += [
                Rule(name, each, k) for name, each in zip(FAMILIES, alternatives, strict=True)
            ]
    return rules


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence as it is spoken.

    Attributes:
        line: all of it; its reference is the greedy translation of the whole.
        updates: the last one is its end.
        continues: whether the sentence goes on in the segment after it.
    """

    line: Line
    updates: tuple[Update, ...]
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What is decoded: a source, whether it may still grow, and how the output has to begin."""

    text: str
    is_open: bool
    forced: Tokens = ()


class Oracle:
    """What a model says; what was asked before is not decoded again.

    Args:
        decode: returns what follows the forced beginnings.
    """

    def __init__(self, decode: Callable[[Sequence[Ask]], list[Decoded]]) -> None:
        self._decode = decode
        self._known: dict[Ask, Decoded] = {}

    def ask(self, asks: Sequence[Ask]) -> list[Decoded]:
        """Return whole outputs, with the forced beginnings; their margins are infinite.

        A beginning that the model would have chosen itself changes nothing, so it costs nothing.
        """
        self._learn([Ask(ask.text, ask.is_open) for ask in asks])
        self._learn([ask for ask in asks if not self._is_free(ask)])
        return [
            self._known[Ask(ask.text, ask.is_open) if self._is_free(ask) else ask] for ask in asks
        ]

    @property
    def num_decoded(self) -> int:
        """How many outputs were decoded."""
        return len(self._known)

    def _is_free(self, ask: Ask) -> bool:
        said = self._known[Ask(ask.text, ask.is_open)].tokens
        return tuple(said[: len(ask.forced)]) == ask.forced

    def _learn(self, asks: Sequence[Ask]) -> None:
        new = [ask for ask in dict.fromkeys(asks) if ask not in self._known]
        for ask, found in zip(new, self._decode(new) if new else (), strict=True):
            count = len(ask.forced)
            self._known[ask] = Decoded(
                [*ask.forced, *found.tokens], [math.inf] * count + found.margins, found.is_whole
            )


@dataclass(slots=True)
class Replay:
    """One segment by one rule.

    Attributes:
        displays: what was committed after each update.
        early: what was committed before the end.
    """

    rule: Rule
    segment: Segment
    displays: list[Display] = field(default_factory=list)
    early: str = ""

    @property
    def log(self) -> SegmentLog:
        """The segment as a reader of committed words saw it."""
        line, last = self.segment.line, self.segment.updates[-1]
        return SegmentLog(line.source, line.reference, last.source_ms, tuple(self.displays))


class _Ruled(Translation):
    """A translation whose words are committed by a rule."""

    def __init__(self, rule: Rule, token_text: TokenText) -> None:
        most = max(condition.agreement for condition in rule.conditions)
        preset = Preset(
            most, 0, 0.0, 1, shows_unstable=False, verifies=False, wait_words=rule.wait_words
        )
        super().__init__(_KEY, preset, token_text)
        self.margins: Sequence[float] = ()  # of the hypothesis
        self._rule = rule

    def _is_agreed(self, prefix: Tokens) -> bool:
        surest = min(self.margins[len(self.committed) : len(prefix)], default=math.inf)
        return any(
            surest >= condition.margin and self._agree(prefix, condition.agreement)
            for condition in self._rule.conditions
        )


class _Run:
    """A replay under way."""

    def __init__(self, replay: Replay, token_text: TokenText) -> None:
        self.replay = replay
        self._translation = _Ruled(replay.rule, token_text)

    def revise(self, index: int) -> Job | None:
        """Take an update."""
        update, segment = self.replay.segment.updates[index], self.replay.segment
        stable = sum(end <= len(update.stable) for end in word_ends(update.text))
        is_end = update.is_commit
        source = Source(update.text, stable, not is_end, is_end, is_end and segment.continues)
        return self._translation.revise(source)

    def complete(self, job: Job, found: Decoded) -> None:
        """Take what the model said."""
        self._translation.margins = found.margins
        self._translation.complete(job.number, tuple(found.tokens), is_whole=found.is_whole)

    def show(self, index: int) -> None:
        """Note what is committed after an update."""
        update, text = self.replay.segment.updates[index], self._translation.committed_text
        if not update.is_commit:
            self.replay.early = text
        ms = update.source_ms
        self.replay.displays.append(Display(text, len(text), update.words, ms, ms))


def replay_rules(
    rules: Sequence[Rule], segments: Sequence[Segment], oracle: Oracle, token_text: TokenText
) -> list[Replay]:
    """Replay every segment by every rule; those of a rule come together, in order."""
    replays = [Replay(rule, segment) for rule in rules for segment in segments]
    read = functools.cache(token_text)  # many rules read the same outputs
    runs = [_Run(replay, read) for replay in replays]
    for index in range(max(len(segment.updates) for segment in segments)):
        going = [run for run in runs if index < len(run.replay.segment.updates)]
        jobs = [(run, job) for run in going if (job := run.revise(index)) is not None]
        found = oracle.ask([Ask(job.text, job.is_open, job.forced) for _, job in jobs])
        for (run, job), output in zip(jobs, found, strict=True):
            run.complete(job, output)
        for run in going:
            run.show(index)
    return replays


def contradicting_words(committed: str, whole: str) -> int:
    """Return how many committed words are not what a translation of the whole begins with.

    All that follow a different word count. Marks that the last one still gets do not.
    """
    words, others = committed.split(), whole.split()
    for i, word in enumerate(words):
        other = others[i] if i < len(others) else ""
        is_last = i == len(words) - 1
        if word != other and not (is_last and _differs_in_marks(word, other)):
            return len(words) - i
    return 0


@functools.cache
def differing_words(committed: str, whole: str) -> int:
    """Return how many committed words a translation of the whole does not have in that order.

    Marks make no difference. This is the longest common subsequence: a word in place of another
    counts once, whatever follows.
    """
    words, others = ([word.strip(MARKS) for word in text.split()] for text in (committed, whole))
    common = [0] * (len(others) + 1)  # of the words so far and the first of the others
    for word in words:
        before = common
        common = [0]
        for i, other in enumerate(others):
            same = before[i] + 1 if word == other else 0
            common.append(max(same, before[i + 1], common[i]))
    return len(words) - common[-1]


def _differs_in_marks(word: str, longer: str) -> bool:
    return longer.startswith(word) and not any(map(str.isalnum, longer[len(word) :]))
