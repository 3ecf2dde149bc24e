"""The persistent step compared with the graph of kernels, on a Hopper GPU: equal bits, and time.

    python -m tokenspeed.bench.engines.persistent_step check bf16 int8 int4 small
    python -m tokenspeed.bench.engines.persistent_step time llama-3-8b:bf16 --widths 1,16

Prints JSON lines; with OUT set, also appends them to $OUT/persistent.jsonl.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton

from tokenspeed.backends import ANY_TOKEN, NO_DRAFT, Backend, Step, cuda_persistent
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_ahead import behind_draft, next_pairs
from tokenspeed.backends.cuda_persistent import InFlight, PersistentStep, Ring, default_ring
from tokenspeed.backends.cuda_weights import random_mtp, random_weights, with_mtp
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import NEVER
from tokenspeed.bench.engines.update import update_ms
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Request
from tokenspeed.kernels.lm_head import count_of
from tokenspeed.kernels.timing import event_ms, read_bandwidth
from tokenspeed.model.config import EngineConfig

POSITION = 80  # of a timed row
UPDATES = 40  # so many that chance does not decide how many guesses are right
GUESSED = 1 << 15  # tokens that a layer can guess
MAX_DRAFT = 40  # tokens of a draft that is checked
SMALL = 1e-3  # scale of what is added to the residual, where tokens are to be predictable


def say(**row: Any) -> None:
    print(json.dumps(row), flush=True)
    if "OUT" in os.environ:
        with (Path(os.environ["OUT"]) / "persistent.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def rows(*parts: tuple[int, int, list[int]]) -> Step:
    """Build a step of (slot, first position, tokens), every row an output."""
    count = sum(len(tokens) for _, _, tokens in parts)
    return Step(
        np.array([t for _, _, ts in parts for t in ts], np.int32),
        np.array([slot for slot, _, ts in parts for _ in ts], np.int32),
        np.array([at + i for _, at, ts in parts for i in range(len(ts))], np.int32),
        np.arange(count, dtype=np.int32),
        np.full(count, NO_DRAFT, np.int32),
        np.zeros(count, np.float32),
    )


def check(form: str) -> None:
    """Compare a small model's logits at widths of 1 to 16 with those of one wide step.

    Only steps that are one kernel; `graph_equal` says that a graph of one row has them, too.
    """
    shape = replace(SHAPES["llama-3.2-1b"], num_layers=3, vocab_size=24064)
    config = EngineConfig(num_slots=16, max_length=512, max_step_tokens=256)
    backend = CudaBackend(random_weights(shape, form, "cuda", seed=7), config, persistent=True)
    tokens = np.random.default_rng(3).integers(3, shape.vocab_size, 240).tolist()
    whole = backend.logits(rows((0, 0, tokens)))
    plain, backend.persistent = backend.persistent, None
    reference = backend.logits(rows((0, 239, [tokens[239]])))
    backend.persistent = plain
    say(check=form, graph_equal=bool(np.array_equal(reference[0], whole[239])))
    assert backend.persistent is not None
    most = backend.persistent.max_width
    for begin in (16, 80, 200):
        for width in [w for w in (1, 2, 3, 4, 5, 8, 16, 32, 64) if w <= most]:
            backend.copy_slot(0, 1, begin)
            got = np.concatenate(
                [
                    backend.logits(rows((1, at, tokens[at : at + width])))
                    for at in range(begin, min(begin + max(width, 16 - 16 % width), 240), width)
                ]
            )
            want = whole[begin : begin + len(got)]
            error = float(np.abs(got - want).max())
            equal = bool(np.array_equal(got, want))
            say(check=form, width=width, position=begin, equal=equal, largest_difference=error)
    for i in range(1, 16):
        backend.copy_slot(0, i, 100 + i)
    # Rows of slots of their own, then runs of rows of several slots.
    for count in [count for count in (2, 3, 4, 16) if count <= most]:
        got = backend.logits(rows(*((i, 100 + i, [tokens[100 + i]]) for i in range(count))))
        say(check=form, streams=count, equal=bool(np.array_equal(got, whole[100 : 100 + count])))
    for runs in ((1, 1), (2, 1), (1, 2), (1, 3), (2, 2), (1, 1, 2)):
        if sum(runs) > most:
            continue
        parts = [(i, 100 + i, tokens[100 + i : 100 + i + run]) for i, run in enumerate(runs)]
        got = backend.logits(rows(*parts))
        want = np.concatenate([whole[at : at + len(ts)] for _, at, ts in parts])
        say(check=form, runs=runs, equal=bool(np.array_equal(got, want)))
    for count in [count for count in (1, 2, 3, 4, 16) if count <= most]:
        together = rows(*((i, 100 + i, [tokens[100 + i]]) for i in range(count)))
        logits = whole[100 : 100 + count]
        drafts = logits.argmax(-1).astype(np.int32)
        drafts[::2] = np.argsort(logits, -1)[::2, -2]
        biased = replace(together, drafts=drafts, biases=np.full(count, 0.05, np.float32))
        plain, backend.persistent = backend.persistent, None
        backend._upload(biased)
        backend._run(16, backend.launch)
        torch.cuda.synchronize()
        chosen = backend.memory.read(backend._parity, count)
        backend.persistent = plain
        same = bool((chosen == backend.step(biased)).all())
        say(check=form, rows=count, drafts_and_biases_equal=same)
    backend.close()


def check_small() -> None:
    """Compare a small model's logits, row after row, with those that the graph gives for the row.

    The graph's steps come first, as they count as steps of one row: behind 256 of them the kernel
    would take words of its own step before them for those of this one.
    """
    shape = SHAPES["default-40m"]
    config = EngineConfig(num_slots=2, max_length=512, max_step_tokens=256)
    backend = CudaBackend(random_weights(shape, "int8", "cuda", seed=7), config, persistent=True)
    tokens = np.random.default_rng(3).integers(3, shape.vocab_size, 440).tolist()
    steps = [rows((1, at, [token])) for at, token in enumerate(tokens)]
    kernel, backend.persistent = backend.persistent, None
    graph = [backend.logits(step) for step in steps]
    backend.persistent = kernel
    found = [backend.logits(step) for step in steps]
    backend.close()
    for begin in range(0, len(steps), 40):
        part = range(begin, min(begin + 40, len(steps)))
        errors = [float(np.abs(found[i] - graph[i]).max()) for i in part]
        equal = all(np.array_equal(found[i], graph[i]) for i in part)
        say(check="small", position=begin, equal=equal, largest_difference=max(errors))


def graph_of(run: Any) -> torch.cuda.CUDAGraph:
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def median_ms(run: Any, repeats: int = 20) -> float:
    return statistics.median(event_ms(run, repeats))


def whole_engine(model: str, form: str) -> None:
    """Time tokens and caption updates in the engine: with and without what makes them faster.

    As a graph; as one kernel, where there is one; and with the next step launched before this one
    has been read.
    """
    config = EngineConfig(num_slots=32, max_length=512, max_step_tokens=64)
    weights = random_weights(SHAPES[model], form, "cuda", seed=7)
    has_kernel = cuda_persistent.why_not(weights) is None
    ways = [(False, False), (False, True), (has_kernel, False), (has_kernel, True)]
    for persistent, ahead in dict.fromkeys(ways):
        backend = CudaBackend(weights, config, persistent=persistent, launch_ahead=ahead)
        times, token = list[float](), 9
        for i in range(100):
            step = replace(rows((0, 64 + i, [token])), stops=NEVER if i < 99 else None)
            began = time.perf_counter()
            (token,) = backend.step(step).tolist()
            times.append((time.perf_counter() - began) * 1e3)
        say(
            model=model,
            form=form,
            persistent=persistent,
            launched_ahead=ahead,
            token_ms=statistics.median(times),
            **update_ms(backend),
        )


def check_guesses(form: str) -> None:
    """Compare the guesses behind rows of steps of every width with those of one wide step."""
    shape = replace(SHAPES["llama-3.2-1b"], num_layers=3, vocab_size=24064)
    config = EngineConfig(num_slots=4, max_length=512, max_step_tokens=256)
    weights = with_mtp(random_weights(shape, form, "cuda", seed=7), random_mtp(shape, "cuda"))
    backend = CudaBackend(weights, config, persistent=True)
    tokens = np.random.default_rng(3).integers(3, shape.vocab_size, 240).tolist()
    backend.step(rows((0, 0, tokens)))
    whole, path = backend.guessed, backend.persistent
    assert whole is not None
    for persistent in (path, None):
        # What was captured is the kernel's step; without it, steps are launched one by one.
        backend.persistent = persistent
        for width in (1, 2, 3, 4, 8, 16, 64):
            backend.copy_slot(0, 1, 80)
            got = list[int]()
            for at in range(80, 80 + max(16, width), width):
                batch = rows((1, at, tokens[at : at + width]))
                if persistent is None:
                    backend._upload(batch)
                    backend._run(backend._width(width), backend.launch)
                    backend._run_guess(backend._width(width), backend.launch)
                    torch.cuda.synchronize()
                    own = backend.memory.mtp
                    assert own is not None
                    got += own.guessed[1 - backend._parity, :width].tolist()
                else:
                    backend.step(batch)
                    assert backend.guessed is not None
                    got += backend.guessed.tolist()
            is_equal = got == whole[80 : 80 + len(got)].tolist()
            different = len(set(got))
            say(
                check=form,
                one_kernel=persistent is not None,
                width=width,
                guesses_equal=is_equal,
                different=different,
            )
    backend.persistent = path
    backend.close()


def check_drafts(form: str) -> None:
    """Compare what goes on behind a draft with the same steps launched one by one.

    The whole prompt is in the step, or its last token alone; the draft holds up to each place.
    """
    shape = replace(SHAPES["llama-3.2-1b"], num_layers=3, vocab_size=24064)
    config = EngineConfig(num_slots=4, max_length=512, max_step_tokens=256)
    plain = random_weights(shape, form, "cuda", seed=7)
    prompt = np.random.default_rng(3).integers(3, shape.vocab_size, 40).tolist()
    for has_guesses in (False, True):
        weights = with_mtp(plain, random_mtp(shape, "cuda")) if has_guesses else plain
        backend = CudaBackend(weights, config, persistent=True)
        said = list[int]()
        for _ in range(MAX_DRAFT):
            said.append(int(backend.step(rows((0, 0, [*prompt, *said])))[-1]))
        steps, wrong, not_ahead, in_vain = 0, 0, 0, 0
        for length in (1, 2, 3, 7, 24, MAX_DRAFT):
            for end in range(length + 1):
                others = [(token + 1) % shape.vocab_size for token in said[end:length]]
                for known in (0, len(prompt) - 1):
                    step = verifying(prompt, [*said[:end], *others], known)
                    alone = on_behind(backend, step, end, is_ahead=False)
                    ahead = on_behind(backend, step, end, is_ahead=True)
                    stop = np.array([(ANY_TOKEN, alone[0][end])], np.int32)
                    void = replace(step, stops=stop, num_ends=1)
                    voided = on_behind(backend, void, end, is_ahead=True)
                    steps += 1
                    wrong += ahead[:-1] != alone[:-1] or voided[:-1] != alone[:-1]
                    not_ahead += not ahead[-1]
                    in_vain += voided[-1]
        say(
            check=form,
            guesses=has_guesses,
            behind_drafts=steps,
            wrong=wrong,
            not_ahead=not_ahead,
            in_vain=in_vain,
        )
        backend.close()


def verifying(prompt: list[int], draft: list[int], known: int) -> Step:
    """Verify a draft behind a prompt, the first `known` tokens of which a slot holds already."""
    first = len(prompt) - 1 - known
    step = rows((0, known, [*prompt[known:], *draft]))
    return replace(
        step,
        outputs=np.arange(first, first + len(draft) + 1, dtype=np.int32),
        drafts=np.array([*draft, NO_DRAFT], np.int32),
        biases=np.zeros(len(draft) + 1, np.float32),
        stops=NEVER,
        num_ends=0,
    )


def on_behind(backend: CudaBackend, step: Step, end: int, *, is_ahead: bool) -> list[Any]:
    """Run a step and two behind the output where its draft ends.

    Returns:
        What each said and guessed, then whether the second one was ahead.
    """
    backend._launch_ahead = is_ahead
    chosen, guessed = backend.step(step), backend.guessed
    found = [chosen.tolist(), None if guessed is None else guessed.tolist()]
    behind = replace(behind_draft(step, chosen, guessed, end), stops=NEVER)
    chosen, guessed = backend.step(behind), backend.guessed
    was_ahead = backend.was_ahead
    found += [chosen.tolist(), None if guessed is None else guessed.tolist()]
    if guessed is None:
        behind = replace(behind, tokens=chosen, positions=behind.positions + 1)
    else:
        behind = next_pairs(behind, chosen, guessed)
    found += [backend.step(replace(behind, stops=None)).tolist(), was_ahead]
    return found


def guesses(model: str, form: str, rights: list[float], layers: int) -> None:
    """Time tokens and updates with an MTP layer, some of whose guesses are right, and without one.

    The weights are random, but what is added to the residual is small: so the next token depends
    on the last one alone, and a layer of the exact shape can know the one after it. It does where
    that is among the tokens that it can guess.

    Args:
        rights: shares of the guesses that are right.
        layers: of the model; 0: all.
    """
    shape = SHAPES[model]
    if layers:
        shape = replace(shape, num_layers=layers)
    config = EngineConfig(num_slots=32, max_length=512, max_step_tokens=64)
    plain = random_weights(shape, form, "cuda", seed=7, residual=SMALL)
    said = measured(CudaBackend(plain, config), model=model, form=form, right=None)
    for right in rights:
        tokens = guessable(said, shape.vocab_size, right)
        layer = random_mtp(shape, "cuda", guessed=tokens, residual=SMALL)
        again = CudaBackend(with_mtp(plain, layer), config)
        said_again = measured(again, model=model, form=form, right=right, guessed_of=len(tokens))
        assert said_again == said


def guessable(said: set[int], vocab_size: int, right: float) -> list[int]:
    """Return tokens that a layer can guess, ascending: a share of those that are said, and others.

    Args:
        right: that share, and so of the guesses that are right.
    """
    known = random.Random(5).sample(sorted(said), round(right * len(said)))
    others = set(range(vocab_size)) - said
    more = min(GUESSED, vocab_size) - len(known)
    return sorted([*known, *random.Random(6).sample(sorted(others), min(more, len(others)))])


def measured(backend: CudaBackend, **row: Any) -> set[int]:
    """Time steps, tokens and updates of a backend; return the tokens that were said."""
    for width in (1, 2):
        step = rows((0, 64, [9, 10][:width]))
        times = list[float]()
        for _ in range(60):
            began = time.perf_counter()
            backend.step(step)
            times.append((time.perf_counter() - began) * 1e3)
        row[f"step_ms_{width}"] = statistics.median(times)
        row[f"device_ms_{width}"] = median_ms(backend._graphs[width].replay)
        if backend.guesses:
            row[f"guess_ms_{width}"] = median_ms(backend._guess_graphs[width].replay)
    said = engine_ms(backend, row)
    say(**row, **update_ms(backend, UPDATES, said))
    return said


def engine_ms(backend: Backend, row: dict[str, Any]) -> set[int]:
    """Time a token in the engine; return the tokens that were said."""
    engine = Engine(backend, eos_token_ids=())
    request = Request(tuple(range(5, 69)), max_new_tokens=400)
    engine.run([request])
    began = time.perf_counter()
    (found,) = engine.run([request])
    row["token_ms"] = (time.perf_counter() - began) * 1e3 / 400
    row["token_steps"] = found.steps
    return set(found.tokens)


def streams(width: int) -> Step:
    return rows(*((i, POSITION, [7 + i]) for i in range(width)))


def step_ms(backend: CudaBackend, width: int) -> float:
    """Return the time of a step's graph on the device."""
    backend.step(streams(width))
    return median_ms(backend._graphs[backend._width(width)].replay)


def timing(model: str, form: str, widths: list[int], in_flights: list[int], layers: int) -> None:
    shape = SHAPES[model]
    if layers:
        shape = replace(shape, num_layers=layers)
    config = EngineConfig(num_slots=max(16, *widths), max_length=512, max_step_tokens=max(widths))
    weights = random_weights(shape, form, "cuda", seed=7)
    graphs = CudaBackend(weights, config, persistent=False)
    graph_ms = {width: step_ms(graphs, width) for width in widths}
    graphs.close()
    began = time.monotonic()
    one = CudaBackend(weights, config, persistent=True)
    say(model=model, form=form, start_s=one.start_s, total_s=time.monotonic() - began)
    gigabytes = one.weight_bytes / 1e9
    for width in widths:
        # If wider than the kernel allows, this is the graph, over weights in the kernel's layout.
        ms = step_ms(one, width)
        say(
            model=model,
            form=form,
            width=width,
            graph_ms=graph_ms[width],
            persistent_ms=ms,
            persistent_tb_per_s=gigabytes / ms,
        )
        path = one.persistent
        if not isinstance(path, PersistentStep) or width > path.max_width:
            continue
        words = cuda_persistent.word_rows(form, width, path.max_width)
        base = default_ring(form, width, words, shape.head_dim)
        for in_flight in in_flights:
            path.ring = Ring(base.slots, base.row_slots, InFlight(*[in_flight] * 3))
            one._upload(streams(width))

            def run(width: int = width, path: PersistentStep = path) -> None:
                count_of(one.memory.launched, width).add_(1)
                path.run(width)

            graph = graph_of(run)
            ms = median_ms(graph.replay)
            say(
                model=model,
                form=form,
                width=width,
                in_flight=in_flight,
                slots=base.slots,
                kernel_ms=ms,
                tb_per_s=gigabytes / ms,
            )
        path.ring = None
    one.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["check", "time", "engine", "guess", "read"])
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--widths", default="1,8,16")
    parser.add_argument("--rings", default="")
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--right", default="0.66", help="shares of guesses that are right")
    parser.add_argument("--max-width", type=int, default=cuda_persistent.MAX_WIDTH)
    args = parser.parse_args()
    cuda_persistent.MAX_WIDTH = args.max_width
    if args.what == "read":
        gpu, versions = torch.cuda.get_device_name(), (torch.__version__, triton.__version__)
        say(
            gpu=gpu,
            torch=versions[0],
            triton=versions[1],
            date=time.strftime("%Y-%m-%d"),
            command=" ".join(sys.argv),
            read_tb_per_s=read_bandwidth() / 1e12,
        )
    for case in args.cases:
        if args.what == "check" and case == "small":
            check_small()
        elif args.what == "check":
            check(case)
            check_guesses(case)
            check_drafts(case)
        else:
            model, form = case.split(":")
            if args.what == "engine":
                whole_engine(model, form)
                continue
            if args.what == "guess":
                guesses(model, form, [float(share) for share in args.right.split(",")], args.layers)
                continue
            flights = [int(i) for i in args.rings.split(",") if i]
            timing(model, form, [int(w) for w in args.widths.split(",")], flights, args.layers)
