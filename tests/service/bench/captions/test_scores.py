"""The definitions, held against examples worked by hand, against properties, against SimulEval."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.captions.scores import (
    Display,
    Moment,
    SegmentLog,
    Unit,
    average_lagging,
    instance,
    mean_lagging,
    normalised_erasure,
    percentile,
    rewriting_share,
    share_within,
    word_delays,
    word_displays,
    words_taken_back,
)
from tokenspeed.bench.quality.text_score import score_text

MOMENTS: tuple[Moment, ...] = ("first", "stable", "committed")


def log_of(*shown: str, committed: tuple[int, ...] = (), reference: str = "a b c d") -> SegmentLog:
    """Display i answers i + 1 of the source words, each 100 ms long, 30 ms after the last."""
    displays = tuple(
        Display(
            text=text,
            committed=committed[i] if committed else 0,
            source_words=i + 1,
            source_ms=(i + 1) * 100.0,
            elapsed_ms=(i + 1) * 100.0 + 30,
        )
        for i, text in enumerate(shown)
    )
    source = " ".join(f"w{i}" for i in range(len(shown)))
    return SegmentLog(source, reference, 100.0 * len(shown), displays)


WORD = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def logs(draw: st.DrawFn, *, append_only: bool = False) -> SegmentLog:
    """Any reader's log whose committed words really are committed."""
    final = " ".join(draw(st.lists(WORD, min_size=1, max_size=12)))
    count = draw(st.integers(1, 8))
    committed = sorted(draw(st.lists(st.integers(0, len(final)), min_size=count, max_size=count)))
    read = sorted(draw(st.lists(st.integers(1, count), min_size=count, max_size=count)))
    lags = draw(st.lists(st.floats(0, 2000), min_size=count, max_size=count))
    displays = []
    elapsed = 0.0
    for i in range(count):
        tail = "" if append_only else draw(st.text("abc ", max_size=8))
        elapsed = max(elapsed, read[i] * 300.0 + lags[i])
        text = final[: committed[i]] + tail
        displays.append(Display(text, committed[i], read[i], read[i] * 300.0, elapsed))
    displays.append(Display(final, len(final), count, count * 300.0, elapsed + 1))
    source = " ".join("w" for _ in range(count))
    reference = " ".join(draw(st.lists(WORD, min_size=1, max_size=12)))
    return SegmentLog(source, reference, count * 300.0, tuple(displays))


def test_moments_of_a_word_that_was_taken_back() -> None:
    log = log_of("a", "a b", "x", "a b c", "a b c d", committed=(0, 1, 0, 1, 7))
    assert word_displays(log.displays, "first") == [0, 1, 3, 4]
    assert word_displays(log.displays, "stable") == [3, 3, 3, 4]
    assert word_displays(log.displays, "committed") == [1, 4, 4, 4]
    assert word_delays(log, "words") == [4, 4, 4, 5]
    assert word_delays(log, "ms", "first") == [100, 200, 400, 500]
    assert word_delays(log, "elapsed_ms", "first") == [130, 230, 430, 530]


def test_erasure_counts_words_taken_back() -> None:
    log = log_of("a", "a b c d", "x", "x y", "a b c d")
    assert words_taken_back(log.displays) == [0, 4, 0, 2]
    assert normalised_erasure([log, log_of("a", "a b c d")]) == 6 / 8
    assert rewriting_share([log]) == 1 / 4


def test_a_comma_that_joins_a_word_takes_nothing_back() -> None:
    log = log_of("Haus", "Haus, das", "Haus, das")
    assert words_taken_back(log.displays) == [0, 0]
    assert word_displays(log.displays, "first") == [1, 1]


def test_lagging_by_hand() -> None:
    # wait-3 on six words: every word three behind the diagonal, until the source ends.
    assert average_lagging([3, 4, 5, 6, 6, 6], 6, 6) == 3
    assert average_lagging([3, 4, 5, 6, 6, 6], 6, 6, adaptive=False) == 3
    # Ten words for a reference of five: AL rewards them, LAAL does not.
    delays = [5.0] * 10
    assert average_lagging(delays, 5, 5, adaptive=False) == 5
    assert average_lagging([1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 5, 5, adaptive=False) < 0
    assert average_lagging([1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 5, 5) > 0
    assert average_lagging([700.0, 900.0], 600, 2) == 700


def test_bad_lengths_are_refused() -> None:
    for delays, source, target in ([], 3, 3), ([1.0], 0, 3), ([1.0], 3, 0):
        with pytest.raises(ValueError, match="nothing to average"):
            average_lagging(delays, source, target)
    with pytest.raises(ValueError, match="without any display"):
        SegmentLog("a", "b", 1.0, ())
    with pytest.raises(ValueError, match="1 predictions for 0"):
        score_text(["a"], [])


@given(logs(append_only=True))
def test_append_only_text_erases_nothing(log: SegmentLog) -> None:
    assert normalised_erasure([log]) == 0
    assert rewriting_share([log]) == 0
    first = word_displays(log.displays, "first")
    assert first == word_displays(log.displays, "stable")
    assert first == word_displays(log.displays, "committed")


@given(logs())
def test_a_word_is_shown_then_stable_then_committed(log: SegmentLog) -> None:
    first, stable, committed = (word_displays(log.displays, moment) for moment in MOMENTS)
    assert len(first) == len(stable) == len(committed) == log.prediction_words
    assert all(a <= b <= c for a, b, c in zip(first, stable, committed, strict=True))
    assert stable == sorted(stable)


@given(logs(), st.integers(0, 7))
def test_showing_the_same_again_changes_nothing(log: SegmentLog, at: int) -> None:
    at = min(at, len(log.displays) - 1)
    displays = (*log.displays[: at + 1], *log.displays[at:])
    again = SegmentLog(log.source, log.reference, log.source_ms, displays)
    assert normalised_erasure([again]) == normalised_erasure([log])
    for moment in MOMENTS:
        assert word_delays(again, "elapsed_ms", moment) == word_delays(log, "elapsed_ms", moment)


@given(
    st.lists(st.floats(1, 5000), min_size=1, max_size=30).map(sorted),
    st.floats(1, 4000),
    st.integers(1, 30),
    st.floats(0.1, 10),
)
def test_lagging_scales_with_the_clock(
    delays: list[float], length: float, target: int, scale: float
) -> None:
    for adaptive in (False, True):
        one = average_lagging(delays, length, target, adaptive=adaptive)
        scaled = [d * scale for d in delays]
        if any((d >= length) != (s >= length * scale) for d, s in zip(delays, scaled, strict=True)):
            continue  # rounding moved a delay over the end of the source
        other = average_lagging(scaled, length * scale, target, adaptive=adaptive)
        assert other == pytest.approx(one * scale, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_reached_by_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert share_within(values, found) >= share - 1e-9


def test_no_updates_have_no_percentile() -> None:
    assert math.isnan(percentile([], 0.95))
    assert math.isnan(share_within([], 200))


def test_quality_is_sacrebleu_with_its_signature() -> None:
    found = score_text(["der Zug fährt ab ."], ["der Zug fährt ab ."])
    assert found.bleu == pytest.approx(100)
    assert found.chrf == pytest.approx(100)
    assert "tok:13a" in found.bleu_signature
    assert "nc:6" in found.chrf_signature


SIMULEVAL = """
import json, sys
from argparse import Namespace
from simuleval.evaluator import SentenceLevelEvaluator

evaluator = SentenceLevelEvaluator.from_args(Namespace(
    output=sys.argv[1], score_only=True, no_scoring=False, no_use_ref_len=False,
    no_progress_bar=True, computation_aware=sys.argv[2] == "elapsed",
    latency_metrics=["AL", "LAAL"], quality_metrics=["BLEU"], eval_latency_unit="word",
    sacrebleu_tokenizer="13a", source_type="speech", target_type="text",
))
print(json.dumps({**evaluator.latency, **evaluator.quality}))
"""


def simuleval_scores(
    lines: list[dict[str, object]], directory: Path, column: str = "delays"
) -> dict[str, float]:
    """Let SimulEval score a log, in a process of its own: it is not written for -W error."""
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (directory / "instances.log").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SIMULEVAL, str(directory), column], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_simuleval_reads_our_logs_and_agrees(tmp_path: Path) -> None:
    found = [
        log_of("a", "a b c d", "x", "x y", "a b c d"),
        log_of(
            "der", "der Zug fährt", "der Zug geht in die Stadt", reference="der Zug fährt jetzt"
        ),
        log_of("", "", "ja", reference="Ja, natürlich."),
        log_of("a b c d e f g h", "a b c d e f g h", reference="a b"),
    ]
    expected: dict[Unit, dict[str, float]] = {}
    units: tuple[Unit, ...] = ("words", "ms", "elapsed_ms")
    for unit in units:
        expected[unit] = {
            name: mean_lagging(found, unit, adaptive=name == "LAAL") for name in ("AL", "LAAL")
        }
    cases: list[tuple[Literal["words", "ms"], str]] = [
        ("words", "delays"),
        ("ms", "delays"),
        ("ms", "elapsed"),
    ]
    predictions = [log.prediction for log in found]
    bleu = score_text(predictions, [log.reference for log in found]).bleu

    for unit, column in cases:
        lines = [instance(i, log, unit) for i, log in enumerate(found)]
        scores = simuleval_scores(lines, tmp_path, column)
        by_us = expected["elapsed_ms" if column == "elapsed" else unit]
        for name in ("AL", "LAAL"):
            assert scores[name] == pytest.approx(by_us[name], abs=1e-6), (unit, column)
        assert scores["BLEU"] == pytest.approx(bleu, abs=1e-6)
