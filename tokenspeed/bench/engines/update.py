"""A caption update: the source has grown, and most of the last translation still holds.

The source grew from 64 to 68 tokens, the first 64 of which are in a slot already; 20 of the last
translation's 24 tokens hold, which the engine has to find out; the new output has 27. Random
weights will do, because the draft is made to hold.
"""

import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenspeed.backends import Backend, Step
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Completion, Request

SOURCE, GROWN, KNOWN, HOLD, TOTAL = 64, 4, 24, 20, 27  # tokens


class Told:
    """A backend whose guesses are replaced by others, so that random weights have right ones.

    Its MTP layer runs all the same.

    Args:
        backend: with such a layer.
        right: the share of the guesses that are to be right.
    Attributes:
        prompt: tokens of the prompt of the only request that runs. output: what will be said.
    """

    def __init__(self, backend: Any, right: float) -> None:
        self._backend, self._right, self._random = backend, right, random.Random(5)
        self.prompt, self.output = 0, tuple[int, ...]()
        self.guessed: NDArray[np.int32] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step; see `Backend.step`."""
        chosen: NDArray[np.int32] = self._backend.step(batch)
        self.guessed = None
        if self.output:
            at = (batch.positions[batch.outputs] + 2 - self.prompt).tolist()
            self.guessed = np.array([self._guess(i) for i in at], np.int32)
        return chosen

    def _guess(self, at: int) -> int:
        is_known = at < len(self.output)
        return self.output[at] if is_known and self._random.random() < self._right else 0


def update_ms(backend: Backend, repeats: int = 12, right: float | None = None) -> dict[str, float]:
    """Time caption updates as the engine runs them; closes the backend.

    Args:
        right: of the guesses of a backend that guesses, this share is right; None: its own.
    Returns:
        Milliseconds, median, mean and largest; mean steps; accepted and reused tokens of the last
        update.
    """
    told = None if right is None else Told(backend, right)
    engine = Engine(told or backend, eos_token_ids=())
    generator = np.random.default_rng(2)
    times, steps, completion = list[float](), list[int](), None
    for i in range(repeats):
        source = generator.integers(3, backend.config.vocab_size, SOURCE + GROWN).tolist()
        ms, completion = one_update(engine, source, i, told)
        times.append(ms)
        steps.append(completion.steps)
    assert completion is not None
    engine.close()  # and the backend with it
    return {
        "update_ms_p50": statistics.median(times),
        "update_ms_mean": statistics.fmean(times),
        "update_ms_max": max(times),
        "steps": statistics.fmean(steps),
        "accepted": completion.accepted,
        "reused": completion.reused,
    }


def one_update(
    engine: Engine, source: Sequence[int], key: int, told: Told | None = None
) -> tuple[float, Completion]:
    """Time one caption update, in milliseconds.

    Args:
        source: SOURCE + GROWN tokens that the engine has not seen.
        key: of the caption; no other one has it.
        told: the engine's backend, if its guesses are to be replaced.
    """
    source = tuple(source)
    if told is not None:
        told.output = ()
    # The output is known from another request, so that the draft can be made to hold.
    (known,) = engine.run([Request(source, max_new_tokens=TOTAL)])
    engine.run([Request(source[:SOURCE], max_new_tokens=4, key=key)])
    vocab_size = engine.backend.config.vocab_size
    wrong = tuple((t + 1) % vocab_size for t in known.tokens[HOLD:KNOWN])
    draft = known.tokens[:HOLD] + wrong
    if told is not None:
        told.prompt, told.output = len(source), known.tokens
    began = time.perf_counter()
    (completion,) = engine.run([Request(source, draft=draft, max_new_tokens=TOTAL, key=key)])
    ms = (time.perf_counter() - began) * 1e3
    if completion.tokens != known.tokens:
        (again,) = engine.run([Request(source, max_new_tokens=TOTAL)])
        raise AssertionError(
            "the draft changed the output: "
            f"{known.tokens}, as an update {completion.tokens}, decoded again {again.tokens}"
        )
    return ms, completion
