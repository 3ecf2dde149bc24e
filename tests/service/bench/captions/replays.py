"""A few lines, spoken by two, and their replay by any policy."""

from service.bench.captions import simulated_replay
from service.bench.captions.documents import as_recogniser, deal, word_by_word
from service.bench.captions.policies import POLICIES
from service.bench.captions.scores import SegmentLog
from service.bench.captions.transcript import EngineUsage, Transcript, segment_logs
from tests.service.bench.lines import LINES

HANDS = deal(LINES[:4], 2)
WORDS = [(hand, word_by_word(hand, words_per_minute=900, pause_ms=100)) for hand in HANDS]
REWRITTEN = [(hand, as_recogniser(hand, words_per_minute=900, seed=2)) for hand in HANDS]


Replay = tuple[list[Transcript], list[SegmentLog], EngineUsage]


def run(
    stage: simulated_replay.Stage, name: str, spoken: simulated_replay.Spoken = WORDS
) -> Replay:
    transcripts, usage = simulated_replay.replay(stage, spoken, POLICIES[name], "en", "de")
    return transcripts, [log for t in transcripts for log in segment_logs(t)], usage


def finals(logs: list[SegmentLog]) -> list[str]:
    return [log.prediction for log in logs]
