"""What a step of a backend costs: first token, one token, several streams, a verification.

Times the backend's steps themselves, with as many tokens as a live translation has; knows no
scheduler and no sockets.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenspeed.backends import NO_DRAFT, Backend, Step
from tokenspeed.bench.result import Row


@dataclass(frozen=True)
class Workload:
    """Lengths in tokens, and how often everything is repeated."""

    prompt_tokens: int = 40
    new_tokens: int = 24
    verify_tokens: int = 24
    rounds: int = 15


def measure_backend(backend: Backend, streams: int, workload: Workload) -> Row:
    """Time one backend with so many streams side by side.

    Returns:
        Milliseconds: `first_token_ms_p50` (prompts of all streams in one step),
        `inter_token_ms_p50`, `_p95` and `_min` (a step of one token per stream), `verify_N_ms_p50`
        (N tokens of a draft in a filled slot, with an output for every row); and
        `weight_gb_per_s`, the weights divided by the median time of a token.
    """
    first: list[float] = []
    between: list[float] = []
    verified: list[float] = []
    for is_first in [True] + [False] * workload.rounds:
        prompts = [_tokens(backend, workload.prompt_tokens, seed) for seed in range(streams)]
        first.append(_timed(backend.step, prefill_step(prompts)))
        current = backend.step(prefill_step(prompts))
        for i in range(workload.new_tokens - 1):
            is_last = i == workload.new_tokens - 2
            step = decode_step(current, workload.prompt_tokens + i, is_last=is_last)
            started = time.perf_counter()
            current = backend.step(step)
            between.append((time.perf_counter() - started) * 1e3)
        draft = _tokens(backend, workload.verify_tokens, 99)
        verified.append(_timed(backend.step, verify_step(draft, workload.prompt_tokens)))
        if is_first:  # warming up
            for times in (first, between, verified):
                times.clear()
    token_ms = statistics.median(between)
    return {
        "streams": streams,
        "prompt_tokens": workload.prompt_tokens,
        "new_tokens": workload.new_tokens,
        "first_token_ms_p50": _round(statistics.median(first)),
        "inter_token_ms_p50": _round(token_ms),
        "inter_token_ms_p95": _round(float(np.percentile(between, 95))),
        "inter_token_ms_min": _round(min(between)),
        f"verify_{workload.verify_tokens}_ms_p50": _round(statistics.median(verified)),
        "weight_gb_per_s": _round(backend.weight_bytes / token_ms / 1e6),
    }


def _timed(run: Callable[[Step], NDArray[np.int32]], step: Step) -> float:
    started = time.perf_counter()
    run(step)
    return (time.perf_counter() - started) * 1e3


def _tokens(backend: Backend, count: int, seed: int) -> NDArray[np.int32]:
    generator = np.random.default_rng(seed)
    return generator.integers(3, backend.config.vocab_size, count, dtype=np.int32)


NEVER = np.zeros((0, 2), np.int32)  # the `stops` of who decodes on whatever comes


def make_step(
    tokens: ArrayLike,
    slots: ArrayLike,
    positions: ArrayLike,
    outputs: ArrayLike,
    stops: NDArray[np.int32] | None = None,
) -> Step:
    """Return a step without drafts and biases; see `Step`."""
    tokens, slots, positions, outputs = (
        np.ascontiguousarray(values, np.int32) for values in (tokens, slots, positions, outputs)
    )
    drafts = np.full(len(outputs), NO_DRAFT, np.int32)
    biases = np.zeros(len(outputs), np.float32)
    return Step(tokens, slots, positions, outputs, drafts, biases, stops)


def prefill_step(prompts: list[NDArray[np.int32]], first_slot: int = 0) -> Step:
    """Return a step over prompts of equal length, one per slot, with an output for each."""
    length = len(prompts[0])
    return make_step(
        np.concatenate(prompts),
        np.repeat(first_slot + np.arange(len(prompts)), length),
        np.tile(np.arange(length), len(prompts)),
        np.arange(1, len(prompts) + 1) * length - 1,
    )


def decode_step(current: NDArray[np.int32], position: int, *, is_last: bool = False) -> Step:
    """Return a step of one more token in each slot.

    Args:
        is_last: the step behind it is another one.
    """
    rows = np.arange(len(current))
    stops = None if is_last else NEVER
    return make_step(current, rows, np.full(len(current), position), rows, stops)


def verify_step(draft: NDArray[np.int32], start: int) -> Step:
    """Return a step over a draft in slot 0, with an output for every row."""
    rows = np.arange(len(draft))
    return make_step(draft, np.zeros(len(draft)), start + rows, rows)


def _round(value: float) -> float:
    return round(value, 4)
