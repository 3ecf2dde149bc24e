"""Replays in process, by every policy."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from service.bench.captions import simulated_replay
from service.bench.captions.documents import word_by_word
from service.bench.captions.policies import POLICIES
from service.bench.captions.scores import SegmentLog, normalised_erasure
from service.bench.captions.transcript import segment_logs, update_times
from tests.service.bench.captions.replays import REWRITTEN, Replay, finals, run
from tests.service.bench.lines import LINES
from tokenspeed.text.words import word_ends


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_ends_every_line(in_words: Callable[[str], Replay], name: str) -> None:
    transcripts, logs, usage = in_words(name)
    assert [log.source for log in logs] == [line.source for line in LINES[:4]]
    policy = POLICIES[name]
    for transcript in transcripts:
        times = update_times(
            transcript, policy.preset.min_source_words, has_partials=policy.has_partials
        )
        assert len(times.finals) == len(transcript.lines)
        updates = len(transcript.sent) - len(transcript.lines)
        assert len(times.partials) + times.skipped == updates
    assert usage.requests >= len(LINES[:4])
    is_append_only = not policy.preset.shows_unstable or not policy.has_partials
    assert not is_append_only or normalised_erasure(logs) == 0


@pytest.mark.parametrize("name", ["finals", "mask-2", "mask-4", "ssbd"])
def test_what_commits_nothing_early_ends_like_plain_retranslation(
    in_words: Callable[[str], Replay], plain: list[SegmentLog], name: str
) -> None:
    assert finals(in_words(name)[1]) == finals(plain)


def test_verification_without_a_bias_changes_no_answer(stage: simulated_replay.Stage) -> None:
    # Slow speech, so that no revision is overtaken and every display is comparable.
    slow = [(LINES[3:4], word_by_word(LINES[3:4], words_per_minute=12, pause_ms=5000))]
    _, plain, plain_usage = run(stage, "retranslation", slow)
    preset = replace(POLICIES["retranslation"].preset, verifies=True)
    policy = replace(POLICIES["retranslation"], preset=preset)
    transcripts, usage = simulated_replay.replay(stage, slow, policy, "en", "de")
    found = [log for t in transcripts for log in segment_logs(t)]
    assert [answers(log) for log in found] == [answers(log) for log in plain]
    assert usage.superseded == plain_usage.superseded == 0
    assert usage.draft_tokens > plain_usage.draft_tokens == 0


def answers(log: SegmentLog) -> list[str]:
    """What stood there after each revision; what was shown on the way depends on the pace."""
    last = [a.text for a, b in pairwise(log.displays) if a.source_words != b.source_words]
    return [*last, log.prediction]


def test_wait_k_waits(in_words: Callable[[str], Replay]) -> None:
    for k in (1, 5):
        for log in in_words(f"wait-{k}")[1]:
            for display in log.displays[:-1]:
                assert len(word_ends(display.text)) <= max(display.source_words - k + 1, 0)


def test_a_recogniser_s_mistakes_do_not_reach_the_finals(
    stage: simulated_replay.Stage, plain: list[SegmentLog]
) -> None:
    assert finals(run(stage, "retranslation", REWRITTEN)[1]) == finals(plain)
    assert len(run(stage, "balanced", REWRITTEN)[1]) == len(plain)
