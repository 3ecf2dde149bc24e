"""A caption update: the source has grown, and most of the last translation still holds.

The source grew from 64 to 68 tokens, the first 64 of which are in a slot already; 20 of the last
translation's 24 tokens hold, which the engine has to find out; the new output has 27. Random
weights will do, because the draft is made to hold.
"""

import statistics
import time
from collections.abc import Sequence

import numpy as np

from tokenspeed.backends import Backend
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Completion, Request

SOURCE, GROWN, KNOWN, HOLD, TOTAL = 64, 4, 24, 20, 27  # tokens


def update_ms(
    backend: Backend, repeats: int = 12, said: set[int] | None = None
) -> dict[str, float]:
    """Time caption updates as the engine runs them; closes the backend.

    Args:
        said: the tokens of all outputs are added.
    Returns:
        Milliseconds, median, mean and largest; mean steps, and how many came with a guess that
        held; accepted and reused tokens of the last update.
    """
    engine = Engine(backend, eos_token_ids=())
    generator = np.random.default_rng(2)
    times, found = list[float](), list[Completion]()
    for i in range(repeats):
        source = generator.integers(3, backend.config.vocab_size, SOURCE + GROWN).tolist()
        ms, completion = one_update(engine, source, i)
        times.append(ms)
        found.append(completion)
        if said is not None:
            said.update(completion.tokens)
    engine.close()  # and the backend with it
    return {
        "update_ms_p50": statistics.median(times),
        "update_ms_mean": statistics.fmean(times),
        "update_ms_max": max(times),
        "steps": statistics.fmean(one.steps for one in found),
        "guessed": statistics.fmean(one.guessed for one in found),
        "accepted": found[-1].accepted,
        "reused": found[-1].reused,
    }


def one_update(engine: Engine, source: Sequence[int], key: int) -> tuple[float, Completion]:
    """Time one caption update, in milliseconds.

    Args:
        source: SOURCE + GROWN tokens that the engine has not seen.
        key: of the caption; no other one has it.
    """
    source = tuple(source)
    # The output is known from another request, so that the draft can be made to hold.
    (known,) = engine.run([Request(source, max_new_tokens=TOTAL)])
    engine.run([Request(source[:SOURCE], max_new_tokens=4, key=key)])
    vocab_size = engine.backend.config.vocab_size
    wrong = tuple((t + 1) % vocab_size for t in known.tokens[HOLD:KNOWN])
    draft = known.tokens[:HOLD] + wrong
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
