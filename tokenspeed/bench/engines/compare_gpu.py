"""Other engines compared with this one on a GPU: all processes loaded, rounds in turns.

The shape is a named one with random weights, or a checkpoint. Unlike on a CPU, an engine is started
once for all numbers of streams, as some need a minute to start. Engines that do not fit the memory
together run one after another.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokenspeed.bench.engines.compare import Times, Worker, play, spread
from tokenspeed.bench.engines.peers import Contestant
from tokenspeed.bench.engines.shapes import ARCHITECTURES, FAMILY_WORDS, SHAPES, step_weights
from tokenspeed.bench.engines.update import GROWN, HOLD, SOURCE, TOTAL
from tokenspeed.bench.result import Row
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.config import ModelConfig

PROMPT_TOKENS, NEW_TOKENS = 64, 32
_BITS = {
    "fp8": 8,
    "int8": 8,
    "int4": 4.125,
}  # int4 with a half-precision scale for each 128 weights
# The file of each peer that runs on a GPU, and the forms of weights in which it is compared.
GPU_PEERS = {"tokenspeed": "own_gpu.py", "transformers": "hf_gpu.py", "vllm": "vllm.py"}
# "ngram" is bf16 that guesses tokens.
PEER_FORMS = {"transformers": ("bf16",), "vllm": ("bf16", "ngram", "fp8", "int8", "int4")}


def contestants(names: Sequence[str], forms: Sequence[str]) -> list[Contestant]:
    """Return ours in every form, then the peers in bf16, or as "vllm:int4" says.

    Raises:
        ValueError: a peer is unknown, or is not compared in that form.
    """
    asked = [name.partition(":")[::2] for name in names]
    unknown = sorted({name for name, _ in asked} - set(GPU_PEERS))
    if unknown:
        known = ", ".join(GPU_PEERS)
        raise ValueError(f"peers on a GPU are {', '.join(unknown)}, expected some of {known}")
    who = [Contestant("tokenspeed", GPU_PEERS["tokenspeed"], form) for form in forms]
    for name, form in asked:
        if name == "tokenspeed":
            continue
        if form and form not in PEER_FORMS[name]:
            known = ", ".join(PEER_FORMS[name])
            raise ValueError(f"{name} in {form} is not compared, expected some of {known}")
        dtype = "bfloat16" if form in ("", "bf16") else form
        who.append(Contestant(name, GPU_PEERS[name], dtype))
    return who


def write_shape(config: ModelConfig, directory: Path) -> Path:
    """Write the config.json of a shape without weights, as peers read it."""
    directory.mkdir(parents=True, exist_ok=True)
    described = _family(config) or _llama(config)
    (directory / "config.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    return directory


def _family(config: ModelConfig) -> Row | None:
    """Return the config.json of a named shape of another family than LLaMA; None if it is none."""
    names = [name for name in FAMILY_WORDS if SHAPES[name] == config]
    if not names:
        return None
    words = FAMILY_WORDS[names[0]]
    # Some peers need the name of the class.
    named = {"architectures": [ARCHITECTURES[words["model_type"]]], "torch_dtype": "bfloat16"}
    return words | named


def _llama(config: ModelConfig) -> Row:
    """Return the config.json of a LLaMA.

    Raises:
        BackendUnavailable: it is of another family.
    """
    if config.switches:
        raise BackendUnavailable(f"no peer knows a LLaMA with {', '.join(config.switches)}")
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": config.vocab_size, "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size, "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads, "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim, "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope.theta, "torch_dtype": "bfloat16",
        "max_position_embeddings": min(config.max_position_embeddings, 8192),
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def compare_on_gpu(
    config: ModelConfig,
    source: Path,
    who: Sequence[Contestant],
    *,
    python: str,
    paths: Mapping[str, str],
    streams: Sequence[int],
    rounds: int,
    read_bytes_per_s: float,
    label: str,
    gpus: int = 1,
    is_apart: bool = False,
    progress: Callable[[], object] = lambda: None,
) -> tuple[list[Row], dict[str, str], dict[str, str]]:
    """Measure engines on one GPU, or on several that share each model.

    Args:
        source: a folder with config.json, with or without weights.
        python: the interpreter that has the peers installed.
        paths: folders to put first on a peer's PYTHONPATH, by its name.
        read_bytes_per_s: measured on this machine; 0 leaves shares out.
        gpus: that each engine uses; transformers always uses one.
        is_apart: each engine is alone, one after another, in place of all in turns.
        label: the shape's or the model's name in the rows.
    Returns:
        The rows, one for each engine and number of streams, then one for the caption updates of
        each engine; the versions of those that ran; the reasons of those that are absent.
    """
    rows: list[Row] = []
    ran: list[Worker] = []
    for together in [[one] for one in who] if is_apart else [who]:
        workers, starts = [], {}
        try:
            for one in together:
                began = time.perf_counter()
                sizes = [str(gpus), str(max(streams))]  # GPUs in place of threads
                worker = Worker(one, python, source, source, sizes, paths.get(one.peer, ""))
                starts[one] = time.perf_counter() - began
                workers.append(worker)
            for count in streams:
                times = play(
                    workers, config.vocab_size, count, rounds, progress, PROMPT_TOKENS, NEW_TOKENS
                )
                loaded = {worker.who: worker.weights_gib() for worker in workers}
                for one, taken in times.items():
                    row = _row(one, config, count, taken, starts[one], read_bytes_per_s)
                    if loaded[one] is not None:
                        row["weights_gib"] = loaded[one]  # as it reports itself
                    rows.append({"engine": one.peer, "shape": label, **row})
            updates = play_updates(workers, config.vocab_size, rounds, progress)
            rows += [_update_row(one, label, taken) for one, taken in updates.items()]
        finally:
            for worker in workers:
                worker.close()
        ran += workers
    absent = {f"{w.who.peer} {w.who.dtype}": w.absent for w in ran if w.absent is not None}
    versions = {w.who.peer: w.version for w in ran if w.version is not None}
    return rows, versions, absent


def play_updates(
    workers: Sequence[Worker], vocab_size: int, rounds: int, progress: Callable[[], object]
) -> dict[Contestant, dict[str, list[float]]]:
    """Let engines answer the same caption updates (see `update`) in turns, after all else.

    Returns:
        The times of each engine that knows updates, in ms, by their names; the first round warms up
        and does not count.
    """
    generator = np.random.default_rng(2)

    def ids(count: int) -> list[int]:
        return [int(i) for i in generator.integers(3, vocab_size, count)]

    times: dict[Contestant, dict[str, list[float]]] = {}
    for turn in range(rounds + 1):
        asked = {"source": ids(SOURCE + GROWN), "other": ids(SOURCE + GROWN), "held": ids(HOLD)}
        for worker in workers:
            if worker.absent is None:
                answer = worker.ask({"update": asked | {"grown": GROWN, "new_tokens": TOTAL}})
                worker.absent = answer.get("absent")
                if worker.absent is not None:
                    times.pop(worker.who, None)
                elif turn > 0:
                    for name, ms in answer["update"].items():
                        times.setdefault(worker.who, {}).setdefault(name, []).append(ms)
            progress()
    return times


def _update_row(who: Contestant, label: str, times: dict[str, list[float]]) -> Row:
    row: Row = {"engine": who.peer, "shape": label, **_form(who)}
    for name, each in times.items():
        row |= spread(name.removesuffix("_ms"), each) | {"rounds": len(each)}
    return row


def _form(who: Contestant) -> Row:
    """Return the form of an engine's weights, and what else tells it from others."""
    if who.dtype == "ngram":
        best = "guesses by n-grams, the best case: random weights soon repeat themselves"
        return {"dtype": "bf16", "detail": best}
    return {"dtype": "bf16" if who.dtype == "bfloat16" else who.dtype}


def _row(
    who: Contestant, config: ModelConfig, streams: int, times: Times, start_s: float, read: float
) -> Row:
    row: dict[str, Any] = _form(who)
    row |= {"streams": streams, "prompt_tokens": PROMPT_TOKENS, "new_tokens": NEW_TOKENS}
    row |= times.summary(95)
    if read:
        weight_bytes = _step_bytes(who, config)
        row["bandwidth_share"] = round(weight_bytes / (row["inter_token_ms_p50"] / 1e3) / read, 3)
    row |= {"memory_mib": round(times.memory_mib) or None, "start_s": round(start_s, 1)}
    return row


def _step_bytes(who: Contestant, config: ModelConfig) -> float:
    head = config.vocab_size * config.hidden_size
    bits = _BITS.get(who.dtype, 16)
    head_bits = bits if who.peer == "tokenspeed" else 16  # vLLM's head stays in 16 bits
    return ((step_weights(config) - head) * bits + head * head_bits) / 8
