"""From transcripts to the rows of the comparison: one for each (set, trace, policy).

The numbers in the columns are defined in service/bench/captions/scores.py.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from service.bench.captions.documents import Line
from service.bench.captions.plot import Point, scatter
from service.bench.captions.policies import POLICIES
from service.bench.captions.scores import (
    SegmentLog,
    mean_lagging,
    normalised_erasure,
    percentile,
    rewriting_share,
    share_within,
)
from service.bench.captions.transcript import EngineUsage, Transcript, segment_logs, update_times
from service.translator import Translator
from service.wire.protocol import TranslationFinal
from tokenspeed.bench.page import cell, markdown_table
from tokenspeed.bench.quality.text_score import TextScore, score_text
from tokenspeed.bench.result import Row

BUDGET_MS: Final = 200.0
OFFLINE: Final = "offline"  # in place of a policy's name


@dataclass(frozen=True, slots=True)
class Task:
    """What is replayed.

    Attributes:
        name: of the test set, with its pair, e.g. "ted-talks.en-de".
        trace: "words" or "recogniser".
        clock: "socket", "simulated" or "cpu".
        speakers: that talk side by side.
    """

    name: str
    trace: str
    clock: str
    speakers: int


def make_row(
    task: Task,
    policy_name: str,
    transcripts: Sequence[Transcript],
    usage: EngineUsage,
    offline: Sequence[str],
) -> tuple[Row, list[SegmentLog]]:
    """Return the numbers of one replay, and its logs.

    Args:
        offline: greedy translations of the complete lines with the same weights, in order.
    Raises:
        ValueError: a line has no final.
    """
    policy = POLICIES[policy_name]
    logs = [log for transcript in transcripts for log in segment_logs(transcript)]
    times = [
        update_times(t, policy.preset.min_source_words, has_partials=policy.has_partials)
        for t in transcripts
    ]
    partials = [ms for one in times for ms in one.partials]
    coalesced = sum(len(one.coalesced) for one in times)
    finals = [ms for one in times for ms in one.finals]
    predictions = [log.prediction for log in logs]
    against_reference = score_text(predictions, [log.reference for log in logs])
    against_offline = score_text(predictions, list(offline))
    sent = sum(len(t.sent) for t in transcripts)
    source_words = sum(log.source_words for log in logs)
    row = _about(policy_name, task, len(logs), source_words, sent, against_reference) | {
        "bleu_offline": against_offline.bleu,
        "chrf_offline": against_offline.chrf,
        "al_words": mean_lagging(logs, "words", adaptive=False),
        "laal_words": mean_lagging(logs, "words"),
        "al_ms": mean_lagging(logs, "elapsed_ms", adaptive=False),
        "laal_ms": mean_lagging(logs, "elapsed_ms"),
        "laal_ideal_ms": mean_lagging(logs, "ms"),
        "first_shown_ms": mean_lagging(logs, "elapsed_ms", "first"),
        "committed_ms": mean_lagging(logs, "elapsed_ms", "committed"),
        "erasure": normalised_erasure(logs),
        "rewrites_over_2": rewriting_share(logs),
        "update_ms_p50": percentile(partials, 0.50),
        "update_ms_p95": percentile(partials, 0.95),
        "update_ms_p99": percentile(partials, 0.99),
        "final_lag_ms_p50": percentile(finals, 0.50),
        "final_lag_ms_p95": percentile(finals, 0.95),
        "within_200": share_within(partials + finals, BUDGET_MS),
        "coalesced": coalesced / len(partials) if partials else 0.0,
        "accepted": usage.accepted / usage.draft_tokens if usage.draft_tokens else 0.0,
        "steps_per_update": usage.decoded / sent,
        "steps_unverified": (usage.decoded + usage.accepted) / sent,
        "violations": sum(_violations(t) for t in transcripts),
    }
    return {name: _plain(value) for name, value in row.items()}, logs


def _violations(transcript: Transcript) -> int:
    events = (item.event for item in transcript.received)
    return sum(event.stats.violations for event in events if isinstance(event, TranslationFinal))


def offline_row(task: Task, lines: Sequence[Line], offline: Sequence[str]) -> Row:
    """Return the row of greedy translations of complete lines by the same weights."""
    against_reference = score_text(list(offline), [line.reference for line in lines])
    words = sum(len(line.source.split()) for line in lines)
    about = _about(OFFLINE, task, len(lines), words, 0, against_reference)
    row = dict.fromkeys(COLUMNS) | about | {"bleu_offline": 100.0, "chrf_offline": 100.0}
    return {name: _plain(value) for name, value in row.items()}


def _about(
    policy: str, task: Task, segments: int, source_words: int, updates: int, scored: TextScore
) -> Row:
    """Return the columns that all rows have."""
    return {
        "policy": policy,
        "set": task.name,
        "trace": task.trace,
        "clock": task.clock,
        "speakers": task.speakers,
        "segments": segments,
        "source_words": source_words,
        "updates": updates,
        **asdict(scored),
    }


def _plain(value: Any) -> Any:
    """Round numbers for JSON, which has no nan."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def translate_offline(
    translator: Translator, texts: Sequence[str], source: str, target: str
) -> list[str]:
    """Translate complete lines greedily, as the service's REST endpoint does.

    Raises:
        TranslationFailed: a piece could not be translated.
    """

    async def run() -> list[str]:
        return await asyncio.gather(*(translator.whole(t, source, target) for t in texts))

    return asyncio.run(run())


COLUMNS: Final = {
    "bleu": ("BLEU", "{:.1f}"),
    "chrf": ("chrF", "{:.1f}"),
    "chrf_offline": ("chrF to offline", "{:.1f}"),
    "al_words": ("AL words", "{:.2f}"),
    "laal_words": ("LAAL words", "{:.2f}"),
    "al_ms": ("AL ms", "{:.0f}"),
    "laal_ms": ("LAAL ms", "{:.0f}"),
    "first_shown_ms": ("first shown ms", "{:.0f}"),
    "committed_ms": ("committed ms", "{:.0f}"),
    "erasure": ("erasure", "{:.2f}"),
    "rewrites_over_2": ("rewrites > 2", "{:.1%}"),
    "update_ms_p50": ("update p50", "{:.0f}"),
    "update_ms_p95": ("p95", "{:.0f}"),
    "update_ms_p99": ("p99", "{:.0f}"),
    "final_lag_ms_p95": ("final p95", "{:.0f}"),
    "within_200": ("in 200 ms", "{:.1%}"),
    "accepted": ("accepted", "{:.0%}"),
    "steps_per_update": ("steps/update", "{:.2f}"),
    "steps_unverified": ("unverified", "{:.2f}"),
}


def policy_tables(rows: Sequence[Row]) -> str:
    """Return the rows as a table for each (set, trace)."""
    titles = " | ".join(["policy", *(title for title, _ in COLUMNS.values())])
    parts = []
    for key in dict.fromkeys((row["set"], row["trace"]) for row in rows):
        chosen = [row for row in rows if (row["set"], row["trace"]) == key]
        cells = [
            [_title(row["policy"]), *(cell(row[name], form) for name, (_, form) in COLUMNS.items())]
            for row in chosen
        ]
        first = chosen[-1]
        parts.append(
            f"### {key[0]}, {_TRACES[key[1]]}\n\n"
            f"{first['segments']} segments, {first['source_words']} source words, "
            f"{first['updates']} updates, {first['speakers']} speakers at a time, "
            f"{first['clock']} clock.\n\n"
            f"{markdown_table(titles, 'l' + 'r' * len(COLUMNS), cells)}\n"
        )
    return "\n".join(parts)


_TRACES: Final = {"words": "word by word", "recogniser": "as a recogniser rewrites it"}


def _title(name: str) -> str:
    if name == OFFLINE:
        return "offline, greedy"
    policy = POLICIES[name]
    return f"**{policy.title}**" if policy.is_ours else policy.title


def policy_plot(rows: Sequence[Row]) -> str:
    """Return the plot of one (set, trace): quality against latency, flicker as size.

    Raises:
        ValueError: there are no rows.
    """
    points = [
        Point(
            f"{POLICIES[row['policy']].title} ({row['erasure']:.2f})",
            row["laal_ms"],
            row["chrf"],
            row["erasure"],
            POLICIES[row["policy"]].is_ours,
        )
        for row in rows
        if row["policy"] != OFFLINE
    ]
    first = rows[0] if rows else {"set": "", "trace": "words"}
    return scatter(
        points,
        title=f"{first['set']}, {_TRACES[first['trace']]}",
        x_label="LAAL in ms, computation and network included (less is earlier)",
        y_label="chrF of finals",
        note="size and number in brackets: words taken back for each word of the final text",
    )
