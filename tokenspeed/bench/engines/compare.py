"""Other engines compared with this one: the same weights, the same work, rounds in turns.

Every engine is a process of its own (`peers/worker.py`), loaded once. Engines take turns round by
round, so that a machine that slows down slows all of them; before each timed round an engine rests
and warms up.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.bench.engines.peers import Contestant
from tokenspeed.bench.result import Row
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.weights import weight_shapes

PROMPT_TOKENS, NEW_TOKENS, VERIFY_TOKENS = 40, 24, 24
_PEERS = Path(__file__).parent / "peers"
# What vLLM logs: whether weights were quantised at all shows there alone.
_LOADED = re.compile(r"Model loading took ([\d.]+) GiB")


@dataclass
class Times:
    """Times of one engine's rounds with so many streams, in ms."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    verify: list[float] = field(default_factory=list)
    memory_mib: float = 0.0

    def add(self, answer: dict[str, Any]) -> None:
        self.first.append(answer["first_token_ms"])
        self.between += answer["inter_token_ms"]
        self.verify.append(answer["verify_ms"])
        self.memory_mib = answer["memory_mib"]

    def summary(self, *more: int) -> Row:
        """Return medians, 10th and 90th percentiles of all three, and more of a token's."""
        row = {**spread("first_token", self.first), **spread("inter_token", self.between)}
        for percent in more:
            value = float(np.percentile(self.between, percent))
            row[f"inter_token_ms_p{percent}"] = round(value, 4)
        row |= spread(f"verify_{VERIFY_TOKENS}", self.verify)
        return row | {"rounds": len(self.first)}


class Worker:
    """One engine's process."""

    def __init__(
        self,
        who: Contestant,
        python: str,
        source: Path,
        work: Path,
        sizes: list[str],
        more_path: str = "",
    ) -> None:
        script, engine = _PEERS / "worker.py", _PEERS / who.file
        if who.peer == "tokenspeed":  # the others must not see our libraries, nor we theirs
            python = sys.executable
        folders = [more_path, str(Path(__file__).parents[3])]
        self.who = who
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [python, script, engine, source, work, who.dtype, *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
        )
        said = self._read()
        self.version: str | None = said.get("version")
        self.absent: str | None = said.get("absent")

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._read()

    def log(self) -> str:
        """Return all that its libraries have printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def weights_gib(self) -> float | None:
        """Return what its log says that the weights take on a GPU; None: it says nothing."""
        found = _LOADED.findall(self.log())
        return float(found[-1]) if found else None

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self._log.close()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        return {"absent": f"its process ended with status {self.process.wait(timeout=30)}"}


def compare(
    checkpoint: Checkpoint,
    contestants: Sequence[Contestant],
    *,
    python: str,
    work: Path,
    streams: Sequence[int],
    threads: int,
    rounds: int,
    progress: Callable[[], object] = lambda: None,
) -> tuple[list[Row], dict[str, str], dict[str, str]]:
    """Measure engines in turns.

    Args:
        python: the interpreter that has the peers installed.
        work: a folder for converted weights; existing ones are reused.
        progress: called after each round of one engine.
    Returns:
        The rows; the versions of those that ran; the reasons of those that are absent.
    """
    source, vocabulary = write_float(checkpoint, work / "float32"), checkpoint.config.vocab_size
    versions: dict[str, str] = {}
    absent: dict[str, str] = {}
    rows: list[Row] = []
    for count in streams:
        sizes = [str(threads), str(count)]
        workers = [Worker(who, python, source, work, sizes) for who in contestants]
        try:
            times = play(workers, vocabulary, count, rounds, progress)
            rows += [_row(who, count, threads, taken) for who, taken in times.items()]
        finally:
            for worker in workers:
                worker.close()
        for worker in workers:
            label = f"{worker.who.peer} {worker.who.dtype}"
            if worker.absent is not None:
                absent[f"{label}, {count} streams"] = worker.absent
            elif worker.version is not None:
                versions[worker.who.peer] = worker.version
    return rows, versions, absent


def play(
    workers: Sequence[Worker],
    vocabulary: int,
    streams: int,
    rounds: int,
    progress: Callable[[], object],
    prompt_tokens: int = PROMPT_TOKENS,
    new_tokens: int = NEW_TOKENS,
) -> dict[Contestant, Times]:
    """Let engines generate for all streams in turns; the first round warms up and does not count.

    Returns:
        The times of each engine, except those that failed in a round and are absent from then on.
    """
    generator = np.random.default_rng(1)

    def ids(count: int) -> list[int]:
        return [int(i) for i in generator.integers(3, vocabulary, count)]

    prompts = [[1, *ids(prompt_tokens - 1)] for _ in range(streams)]
    asked = {"prompts": prompts, "draft": ids(VERIFY_TOKENS), "new_tokens": new_tokens}
    times = {worker.who: Times() for worker in workers if worker.absent is None}
    for turn in range(rounds + 1):
        for worker in workers:
            if worker.absent is None:
                answer = worker.ask(asked)
                worker.absent = answer.get("absent")
                if worker.absent is not None:
                    del times[worker.who]
                elif turn > 0:
                    times[worker.who].add(answer)
            progress()
    return times


def _row(who: Contestant, streams: int, threads: int, times: Times) -> Row:
    return {
        "engine": who.peer,
        "dtype": who.dtype,
        "streams": streams,
        "threads": threads,
        **times.summary(),
        "memory_mib": round(times.memory_mib, 1),
    }


def spread(name: str, times: list[float]) -> Row:
    """Return the median, the 10th and the 90th percentile of times in ms, as fields of a row."""
    low, high = np.percentile(times, [10, 90])
    return {
        f"{name}_ms_p50": round(statistics.median(times), 3),
        f"{name}_ms_p10": round(float(low), 3),
        f"{name}_ms_p90": round(float(high), 3),
    }


def write_float(checkpoint: Checkpoint, directory: Path) -> Path:
    """Write a checkpoint's weights as float32 in one file, for engines that quantise themselves."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "stored").write_text(str(checkpoint.directory.resolve()), encoding="utf-8")
    if (directory / "model.safetensors").exists():
        return directory
    names = list(weight_shapes(checkpoint.config))
    tensors = {name: checkpoint.weight(name).contiguous() for name in names}
    raw = json.loads((checkpoint.directory / "config.json").read_text(encoding="utf-8"))
    raw.pop("quantization_config", None)
    config = checkpoint.config  # what peers need, even if the checkpoint leaves it out
    raw |= {"head_dim": config.head_dim, "num_key_value_heads": config.num_kv_heads}
    raw |= {"rope_theta": config.rope.theta, "torch_dtype": "float32"}
    raw |= {"rms_norm_eps": config.rms_norm_eps}
    (directory / "config.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    tokenizer = checkpoint.directory / "tokenizer.model"
    if tokenizer.exists():  # onnxruntime-genai's builder needs one, although no text is used here
        (directory / "tokenizer.model").write_bytes(tokenizer.read_bytes())
        described = {"tokenizer_class": "LlamaTokenizer", "legacy": True}
        described |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        path = directory / "tokenizer_config.json"
        path.write_text(json.dumps(described), encoding="utf-8")
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def floors(checkpoint: Checkpoint, machine: Row) -> Row:
    """Return the ms that reading the weights once takes, by precision and size of the buffer.

    Args:
        machine: has `read_gb_per_s_...` for each measured size.
    """
    found: Row = {}
    for bits in (8, 4):
        config = EngineConfig(num_slots=1, max_length=16, max_step_tokens=16)
        backend = CpuBackend(checkpoint, config, bits=bits, threads=1)
        size = backend.weight_bytes
        backend.close()
        found[f"int{bits}"] = {
            name.removeprefix("read_gb_per_s_").replace("_mib", " MiB"): round(
                size / value / 1e6, 4
            )
            for name, value in machine.items()
            if name.startswith("read_gb_per_s_")
        }
    return found


def ratios(rows: Sequence[Row]) -> Row:
    """Return our times divided by those of the fastest peers: below 1 is faster.

    Only ratios of which both sides were measured are included.
    """
    table = {(row["engine"], row["dtype"], row["streams"]): row for row in rows}
    peers = [row for row in rows if row["engine"] != "tokenspeed"]
    many = max((row["streams"] for row in rows), default=1)
    verify = f"verify_{VERIFY_TOKENS}_ms_p50"
    q8 = ("llama.cpp", "q8_0")
    found: Row = {}

    def against(name: str, dtype: str, streams: int, key: str, others: list[Row]) -> None:
        own = table.get(("tokenspeed", dtype, streams))
        if own and others:
            found[name] = round(own[key] / min(row[key] for row in others), 3)

    def only(streams: int, *dtypes: str) -> list[Row]:
        return [
            r for r in peers if r["streams"] == streams and (not dtypes or r["dtype"] in dtypes)
        ]

    def llama(streams: int) -> list[Row]:
        return [table[*q8, streams]] if (*q8, streams) in table else []

    token = "inter_token_ms_p50"
    against("token_int8_to_llama_q8", "int8", 1, token, llama(1))
    against("token_int4_to_best_int4", "int4", 1, token, only(1, "q4_0", "int4"))
    against("first_token_int8_to_best", "int8", 1, "first_token_ms_p50", only(1))
    against("verify_24_int8_to_best", "int8", 1, verify, only(1))
    against(f"step_{many}_int8_to_llama_q8", "int8", many, token, llama(many))
    against(f"step_{many}_int8_to_best", "int8", many, token, only(many))
    against("memory_int8_to_llama_q8", "int8", 1, "memory_mib", llama(1))
    return found
