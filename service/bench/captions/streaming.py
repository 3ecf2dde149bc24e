"""Replays documents by several policies, over sockets or in process: rows, logs and a plot."""

import argparse
import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal

from tqdm import tqdm

from service.bench.captions import retention, simulated_replay, socket_replay
from service.bench.captions.documents import (
    Line,
    Update,
    as_recogniser,
    deal,
    first_words,
    load_lines,
    word_by_word,
)
from service.bench.captions.policies import POLICIES
from service.bench.captions.rows import (
    OFFLINE,
    Task,
    make_row,
    offline_row,
    policy_plot,
    policy_tables,
    translate_offline,
)
from service.bench.captions.scores import SegmentLog, instance
from service.bench.captions.simulated_replay import Spoken
from service.bench.captions.transcript import EngineUsage, Transcript
from service.translator import Translator
from tokenspeed.bench.kept import keep
from tokenspeed.bench.page import put_into_page
from tokenspeed.bench.result import Row, describe_cpu, describe_model, make_result, write_result
from tokenspeed.engine.loading import load_engine

TRACES: Final = ("words", "recogniser")


def measure_policies(options: argparse.Namespace) -> list[Row]:
    """Replay everything and write the files that were asked for; return the rows.

    Raises:
        ServiceError: a replay failed.
        TokenSpeedError: the model cannot be used.
        OSError: a file cannot be read or written.
        ValueError: a set, policy or trace is unknown.
    """
    for name in (*_names(options.policies), *_names(options.traces)):
        if name not in POLICIES and name not in TRACES:
            known = f"policies {', '.join(POLICIES)}; traces {', '.join(TRACES)}"
            raise ValueError(f"{name!r} is not known; {known}")
    started, load = time.perf_counter(), os.getloadavg()[0]
    rows = asyncio.run(_rows(options))
    if options.json:
        about = _about(options) | {
            "load_before": round(load, 2),
            "seconds": round(time.perf_counter() - started, 1),
        }
        rows = merge_result(options.json, about, rows, keep=options.keep)
    if options.plot:
        first = (rows[0]["set"], rows[0]["trace"])
        chosen = [row for row in rows if (row["set"], row["trace"]) == first]
        options.plot.write_text(policy_plot(chosen), encoding="utf-8")
    if options.page:
        assert options.json, "the parser asks for it"
        put_into_page(options.page, options.json.name, policy_tables(rows))
    return rows


def merge_result(
    path: Path, about: dict[str, Any], rows: Sequence[Row], *, keep: bool
) -> list[Row]:
    """Write a result file; return all rows.

    Args:
        about: the run, besides machine, versions, date and command.
        keep: whether to keep the file's rows; new ones replace those of the same set, trace and
            policy. How the older ones were made is kept under "earlier".
    Raises:
        OSError: the file cannot be written.
    """

    def place(row: Row) -> tuple[Any, ...]:
        return row["set"], row["trace"], row["policy"]

    old: dict[str, Any] = {"rows": []}
    if keep and path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
    found = {place(row): row for row in (*old["rows"], *rows)}
    sets = list(dict.fromkeys((row["set"], row["trace"]) for row in found.values()))
    policies = [OFFLINE, *POLICIES]
    merged = sorted(
        found.values(),
        key=lambda row: (sets.index((row["set"], row["trace"])), policies.index(row["policy"])),
    )
    packages = ("torch", "numpy", "sacrebleu", "websockets", "uvicorn")
    result = about | make_result(merged, machine=describe_cpu(), packages=packages)
    if old["rows"]:
        earlier = {key: value for key, value in old.items() if key not in ("rows", "earlier")}
        result["earlier"] = [*old.get("earlier", []), earlier]
    write_result(result, path)
    return merged


def measure_retention(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Count what comes through, write the files that were asked for, and return the rows.

    Raises:
        ServiceError: a sentence could not be translated.
        OSError: a file cannot be read or written.
        ValueError: a set is unknown.
    """
    rows: list[dict[str, Any]] = []
    sets = [(name, *load_set(options.corpus, name, options.limit)) for name in _names(options.sets)]
    with closing(simulated_replay.open_stage(options.model, options.device)) as stage:
        for name, lines, source, target in tqdm(sets, unit="set", leave=False):
            cases = retention.find_cases(lines, target)
            rows += [
                {"set": name, **row} for row in retention.count_kept(stage, cases, source, target)
            ]
    table = retention.retention_table(rows)
    keep(options, rows, table, packages=("torch", "numpy"), is_of_model=True)
    return rows


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay that was asked for."""

    policy: str
    name: str  # of the set
    trace: str
    source: str
    target: str
    spoken: Spoken


Done = tuple[Replay, list[Transcript], EngineUsage]


def _plan(options: argparse.Namespace) -> list[Replay]:
    """Return what to replay, the replays of one policy together.

    Raises:
        OSError: a set cannot be read.
        ValueError: a set's name or file cannot be understood.
    """
    plan = []
    for name in _names(options.sets):
        lines, source, target = load_set(options.corpus, name, options.limit)
        lines = first_words(lines, options.max_words)
        hands = deal(lines, options.speakers)
        for trace in _names(options.traces):
            spoken = [(hand, _updates(options, hand, trace)) for hand in hands]
            plan += [
                Replay(policy, name, trace, source, target, spoken)
                for policy in _names(options.policies)
            ]
    return sorted(plan, key=lambda replay: _names(options.policies).index(replay.policy))


async def _over_sockets(options: argparse.Namespace, plan: Sequence[Replay]) -> AsyncIterator[Done]:
    for policy, replays in groupby(plan, lambda replay: replay.policy):
        async with socket_replay.running_server(policy, options.model, options.device) as server:
            for replay in replays:
                done = await socket_replay.replay(
                    server, replay.spoken, POLICIES[policy], replay.source, replay.target
                )
                yield replay, *done


async def _in_process(options: argparse.Namespace, plan: Sequence[Replay]) -> AsyncIterator[Done]:
    source = time.process_time if options.clock == "cpu" else time.perf_counter
    stage = simulated_replay.open_stage(options.model, options.device, source)
    with closing(stage):
        for replay in plan:
            done = simulated_replay.replay(
                stage, replay.spoken, POLICIES[replay.policy], replay.source, replay.target
            )
            yield replay, *done


async def _rows(options: argparse.Namespace) -> list[Row]:
    """Run and measure all replays; return the rows of one set and trace together."""
    plan = _plan(options)
    offline = await asyncio.to_thread(_offline, options, plan)
    run_all = _over_sockets if options.clock == "socket" else _in_process
    rows = []
    for replay in {(r.name, r.trace): r for r in plan}.values():
        lines = [line for hand, _ in replay.spoken for line in hand]
        task = Task(replay.name, replay.trace, options.clock, len(replay.spoken))
        rows.append(offline_row(task, lines, offline[replay.name]))
    with tqdm(total=len(plan), unit="replay", leave=False) as progress:
        async for replay, transcripts, usage in run_all(options, plan):
            task = Task(replay.name, replay.trace, options.clock, len(replay.spoken))
            row, logs = make_row(task, replay.policy, transcripts, usage, offline[replay.name])
            rows.append(row)
            if options.logs:
                write_logs(options.logs / f"{replay.name}.{replay.trace}.{replay.policy}", logs)
            progress.set_postfix_str(f"{replay.name} {replay.trace} {replay.policy}")
            progress.update()
    places = list(dict.fromkeys((replay.name, replay.trace) for replay in plan))
    names, traces = _names(options.sets), _names(options.traces)
    places.sort(key=lambda place: (names.index(place[0]), traces.index(place[1])))
    return sorted(rows, key=lambda row: places.index((row["set"], row["trace"])))


def _offline(options: argparse.Namespace, plan: Sequence[Replay]) -> dict[str, list[str]]:
    """Translate the complete lines of each set, with an engine of its own."""
    model = load_engine(options.model, device=options.device)
    length = model.engine.backend.max_length
    translator = Translator(model.engine, model.tokenizer, model.prompts, length, budget_s=60.0)
    found: dict[str, list[str]] = {}
    with closing(model):
        for replay in plan:
            if replay.name not in found:
                texts = [line.source for lines, _ in replay.spoken for line in lines]
                found[replay.name] = translate_offline(
                    translator, texts, replay.source, replay.target
                )
    return found


def find_set(corpus: Path, name: str) -> tuple[Path, str, str]:
    """Return the file of a set and its direction.

    Args:
        name: "ted-talks.en-de", or "ted-talks.de-en" for the same file the other way.
    Raises:
        ValueError: the name has no pair, or the corpus no such file.
    """
    found = re.fullmatch(r"(.+)\.([a-z]{2})-([a-z]{2})", name)
    if found is None:
        raise ValueError(f"set is {name!r}, expected NAME.en-de or the like")
    stem, source, target = found.groups()
    for pair in (f"{source}-{target}", f"{target}-{source}"):
        path = corpus / f"{stem}.{pair}.tsv"
        if path.is_file():
            return path, source, target
    raise ValueError(f"{corpus} has no {stem}.{source}-{target}.tsv, nor the other way round")


def load_set(corpus: Path, name: str, limit: int) -> tuple[list[Line], str, str]:
    """Return the first lines of a set (0: all) and its direction.

    Raises:
        ValueError: see `find_set` and `load_lines`.
        OSError: the file cannot be read.
    """
    path, source, target = find_set(corpus, name)
    is_reversed = not path.name.endswith(f"{source}-{target}.tsv")
    return load_lines(path, reverse=is_reversed)[: limit or None], source, target


def write_logs(directory: Path, logs: Sequence[SegmentLog]) -> None:
    """Write SimulEval's `instances.log`, in words and in ms, each in a folder of its own."""
    units: tuple[Literal["words", "ms"], ...] = ("words", "ms")
    for unit in units:
        folder = directory / unit
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(instance(i, log, unit), ensure_ascii=False) for i, log in enumerate(logs)
        ]
        (folder / "instances.log").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _updates(options: argparse.Namespace, hand: Sequence[Line], trace: str) -> list[Update]:
    pace = options.words_per_minute
    if trace == "words":
        return word_by_word(hand, words_per_minute=pace)
    return as_recogniser(
        hand, seed=options.seed, rewriting_share=options.rewriting_share, words_per_minute=pace
    )


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _about(options: argparse.Namespace) -> dict[str, Any]:
    """Return the model and the settings that the numbers were made with."""
    asked = {
        name: getattr(options, name)
        for name in (
            "sets", "policies", "traces", "limit", "max_words", "speakers", "clock",
            "words_per_minute", "rewriting_share", "seed", "device",
        )
    }  # fmt: skip
    presets = {name: asdict(POLICIES[name].preset) for name in _names(options.policies)}
    return {"model": describe_model(options.model), "settings": asked, "presets": presets}
