"""The presets of captions and their neighbours: the same replays with one setting changed.

Computation takes no time here, so that the figures depend on weights, texts and settings alone and
another machine finds the same. Knows replays; the columns are defined in scores.py.
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any, Final

from service.bench.captions import simulated_replay
from service.bench.captions.documents import as_recogniser, deal, first_words, word_by_word
from service.bench.captions.policies import Policy
from service.bench.captions.rows import translate_offline
from service.bench.captions.scores import mean_lagging, normalised_erasure
from service.bench.captions.streaming import TRACES, load_set
from service.bench.captions.transcript import segment_logs
from service.captions.policy import PRESETS, Preset
from service.translator import Translator
from tokenspeed.bench.kept import SCORED, keep
from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.quality.text_score import score_text
from tokenspeed.bench.result import Row
from tokenspeed.engine.loading import load_engine

NUM_SPEAKERS: Final = 4
SHIPPED: Final = "as shipped"  # in place of what is changed

_TITLES: Final = {
    "agreement": "agreement of {}",
    "mask_words": "mask of {}",
    "bias": "bias {}",
    "wait_words": "committed {} words late",
}


def neighbours(preset: Preset) -> dict[str, Preset]:
    """Return presets that differ in one setting, by what is changed.

    Agreement goes from two up, as a single hypothesis agrees with nothing. A preset that waits for
    no words, because it shows what it commits alone, has no neighbour that does.
    """
    changes: list[tuple[str, Any]] = [
        *(("agreement", n) for n in _beside(preset.agreement) if n > 1),
        *(("mask_words", n) for n in _beside(preset.mask_words) if n >= 0),
        *(("bias", round(preset.bias + step, 1)) for step in (-0.1, 0.1)),
        *(("wait_words", n) for n in _beside(preset.wait_words) if preset.wait_words),
    ]
    return {
        _TITLES[name].format(value): replace(preset, **{name: value}) for name, value in changes
    }


def _beside(value: int) -> tuple[int, int]:
    return value - 1, value + 1


def measure_presets(options: argparse.Namespace) -> list[Row]:
    """Replay everything, write the files that were asked for, and return the rows.

    Raises:
        ServiceError: a replay failed.
        TokenSpeedError: the model cannot be used.
        OSError: a file cannot be read or written.
        ValueError: a set is unknown.
    """
    rows = [
        row
        for name in options.sets.split(",")
        for trace in TRACES
        for row in measure_place(options, name, trace)
    ]
    about = {
        "settings": {"max_words": options.max_words, "speakers": NUM_SPEAKERS},
        "presets": {name: asdict(preset) for name, preset in PRESETS.items()},
    }
    table = preset_tables(rows)
    keep(options, rows, table, packages=SCORED, about=about, is_of_model=True)
    return rows


def measure_place(options: argparse.Namespace, name: str, trace: str) -> list[Row]:
    """Return a row for each preset and neighbour on one set and trace.

    Raises:
        ServiceError, TokenSpeedError, OSError, ValueError: see `measure_presets`.
    """
    lines, source, target = load_set(options.corpus, name, 0)
    hands = deal(first_words(lines, options.max_words), NUM_SPEAKERS)
    say = word_by_word if trace == "words" else as_recogniser
    spoken = [(hand, say(hand)) for hand in hands]
    model = load_engine(options.model, device=options.device)
    with closing(model):
        length = model.engine.backend.max_length
        translator = Translator(model.engine, model.tokenizer, model.prompts, length, budget_s=60.0)
        texts = [line.source for hand in hands for line in hand]
        offline = translate_offline(translator, texts, source, target)
    rows = []
    with closing(simulated_replay.open_stage(options.model, options.device, _no_time)) as stage:
        for preset_name, shipped in PRESETS.items():
            for changed, preset in {SHIPPED: shipped, **neighbours(shipped)}.items():
                policy = Policy(preset, preset_name)
                transcripts, usage = simulated_replay.replay(stage, spoken, policy, source, target)
                logs = [log for transcript in transcripts for log in segment_logs(transcript)]
                finals = [log.prediction for log in logs]
                row = {
                    "preset": preset_name,
                    "changed": changed,
                    "set": name,
                    "trace": trace,
                    "segments": len(logs),
                    "source_words": sum(log.source_words for log in logs),
                    "erasure": round(normalised_erasure(logs), 4),
                    "laal_words": round(mean_lagging(logs, "words"), 3),
                    "committed_words": round(mean_lagging(logs, "words", "committed"), 3),
                    "chrf_offline": round(score_text(finals, offline).chrf, 2),
                    "steps_per_update": round(
                        usage.decoded / sum(len(t.sent) for t in transcripts), 3
                    ),
                }
                rows.append(row)
    return rows


def _no_time() -> float:
    return 0.0


_COLUMNS: Final = {
    "erasure": "{:.2f}",
    "laal_words": "{:.2f}",
    "committed_words": "{:.2f}",
    "chrf_offline": "{:.1f}",
}


def preset_tables(rows: Sequence[Row]) -> str:
    """Return a table in Markdown for each trace: means over the sets, each set weighing the same.

    The worst set's erasure stands beside the mean, as goals are for every set.
    """
    titles = "preset | changed | erasure | worst set | LAAL words | committed | chrF to offline"
    parts = []
    for trace in dict.fromkeys(row["trace"] for row in rows):
        lines = []
        chosen = [row for row in rows if row["trace"] == trace]
        for preset, changed in dict.fromkeys((row["preset"], row["changed"]) for row in chosen):
            of = [row for row in chosen if (row["preset"], row["changed"]) == (preset, changed)]
            mean = {name: sum(row[name] for row in of) / len(of) for name in _COLUMNS}
            cells = [form.format(mean[name]) for name, form in _COLUMNS.items()]
            cells.insert(1, f"{max(row['erasure'] for row in of):.2f}")
            label = f"**{preset}**" if changed == SHIPPED else preset
            lines.append([label, changed, *cells])
        sets = {row["set"]: row["source_words"] for row in chosen}
        told = ", ".join(f"{name} {words}" for name, words in sets.items())
        heading = "Word by word" if trace == "words" else "As a recogniser rewrites it"
        parts.append(
            f"{heading}; source words: {told}.\n\n{markdown_table(titles, 'llrrrrr', lines)}"
        )
    return "\n\n".join(parts)
