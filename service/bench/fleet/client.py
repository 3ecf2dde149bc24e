"""A simulated client: what it says, what is still unanswered, and when it tries again.

Does what the client libraries do: it sends the whole open segment each time; when its connection is
lost it waits, asks for another replica, and sends again what has no final. Knows no replica and no
clock.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from service.bench.captions.documents import Update
from service.bench.captions.transcript import client_event, segment_name
from service.bench.load.loadtest import script
from service.captions.policy import PRESETS
from service.wire.protocol import (
    ServerEvent,
    SourceCommit,
    SourceUpdate,
    TranslationDelta,
    TranslationFinal,
)
from tokenspeed.text.segmenter import cut
from tokenspeed.text.words import count_words, normalise

FIRST_DELAY_S: Final = 0.15
MAX_DELAY_S: Final = 10.0
MIN_WORDS: Final = PRESETS["balanced"].min_source_words


def next_delay_s(previous_s: float, random: Callable[[], float]) -> float:
    """Return how long a client waits before it tries again, as the client libraries do.

    The service may not import them; a test compares this with `tokenspeed_client.backoff`.
    """
    if previous_s == 0.0:
        return FIRST_DELAY_S * (0.5 + 0.5 * random())
    delay_s = max(previous_s, FIRST_DELAY_S) * (1.5 + 0.5 * random())
    return delay_s if delay_s < MAX_DELAY_S else MAX_DELAY_S * (0.75 + 0.25 * random())


@dataclass(slots=True)
class Tally:
    """What became of the updates of many clients.

    Attributes:
        said: updates in all, commits included.
        unneeded: those that need no translation, because they are too short or nothing is new.
        partials, finals: (when it was said in s, ms until it was answered).
        dropped: updates that were never answered, by cause.
        repeated_finals: finals of segments that had one; 0 unless a replica sends one twice.
    """

    said: int = 0
    unneeded: int = 0
    partials: list[tuple[float, float]] = field(default_factory=list)
    finals: list[tuple[float, float]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    repeated_finals: int = 0

    @property
    def updates(self) -> list[tuple[float, float]]:
        """Partials and finals."""
        return self.partials + self.finals


@dataclass(slots=True)
class _Waiting:
    """A segment without a final.

    Attributes:
        last: its newest update. unanswered: (rev, when) of partials. committed_s: when it was.
    """

    last: Update
    unanswered: list[tuple[int, float]] = field(default_factory=list)
    committed_s: float | None = None

    @property
    def num_unanswered(self) -> int:
        """Updates that wait for an answer."""
        return len(self.unanswered) + (self.committed_s is not None)


class Client:
    """One speaker.

    Args:
        number: also determines what it says, as in the load test.
        tally: where its answers are counted.
        seconds: that it speaks.
        words_per_minute: how fast.
    """

    def __init__(
        self, number: int, tally: Tally, seconds: float, words_per_minute: float = 180.0
    ) -> None:
        self.number = number
        self.delay_s = 0.0  # of the last wait between tries
        _, self.script = script(seconds, words_per_minute, number)
        self._tally = tally
        self._segments: dict[str, _Waiting] = {}
        self._done: set[str] = set()
        self._before = ""  # what was said before in the same segment

    @property
    def is_waiting(self) -> bool:
        """Whether something has no final yet."""
        return bool(self._segments)

    def say(self, update: Update, at_s: float) -> SourceUpdate | SourceCommit:
        """Note an update, and return what goes over the wire."""
        name = segment_name(update.line)
        waiting = self._segments.setdefault(name, _Waiting(update))
        waiting.last = update
        self._tally.said += 1
        if update.is_commit:
            waiting.committed_s = at_s
        elif self._needs_translation(update):
            waiting.unanswered.append((update.rev, at_s))
        else:
            self._tally.unneeded += 1
        self._before = "" if update.is_commit else update.text
        return client_event(update)

    def unfinished(self) -> Iterator[SourceUpdate | SourceCommit]:
        """Yield what is sent on a new connection: the newest of each segment without a final."""
        for waiting in self._segments.values():
            yield client_event(waiting.last)

    def hear(self, event: ServerEvent, at_s: float) -> None:
        """Take an event of the service."""
        if isinstance(event, TranslationDelta) and event.timing is not None:
            waiting = self._segments.get(event.segment_id)
            if waiting is not None:
                self._answer(waiting, event.source_rev, at_s)
        elif isinstance(event, TranslationFinal):
            if event.segment_id in self._done:
                self._tally.repeated_finals += 1
                return
            waiting = self._segments.pop(event.segment_id)
            self._done.add(event.segment_id)
            assert waiting.committed_s is not None
            self._answer(waiting, waiting.last.rev, at_s)
            self._tally.finals.append((waiting.committed_s, (at_s - waiting.committed_s) * 1e3))

    def give_up(self, cause: str) -> None:
        """Stop: what has no answer gets none."""
        lost = sum(waiting.num_unanswered for waiting in self._segments.values())
        self._tally.dropped[cause] = self._tally.dropped.get(cause, 0) + lost
        self._segments.clear()

    def _answer(self, waiting: _Waiting, rev: int, at_s: float) -> None:
        answered = [said for said in waiting.unanswered if said[0] <= rev]
        del waiting.unanswered[: len(answered)]
        self._tally.partials += [(said_s, (at_s - said_s) * 1e3) for _, said_s in answered]

    def _needs_translation(self, update: Update) -> bool:
        """Decide as `transcript.update_times` does for the load test."""
        is_short = count_words(cut(update.text)[-1]) < MIN_WORDS
        is_same = normalise(update.text) == normalise(self._before)
        return not (is_short or is_same)
