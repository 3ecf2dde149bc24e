"""The whole step of the GPU backend against the reference backend, on tiny models."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.tokenspeed.kernels.support import DEVICE, assert_as_exact
from tokenspeed.backends import NO_DRAFT, Step, cuda, cuda_persistent
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import FORMS, load_weights
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Request
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels import tuned
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.kernels.blocks import share_exponent_ref
from tokenspeed.kernels.tile import TileConfig
from tokenspeed.kernels.tuned import SPLIT_K
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

CONFIG = EngineConfig(num_slots=3, max_length=96, max_step_tokens=72)


def rows(*parts: tuple[int, int, list[int]], outputs: list[int] | None = None) -> Step:
    """Build a step of (slot, first position, tokens)."""
    tokens = [t for _, _, ts in parts for t in ts]
    wanted = list(range(len(tokens))) if outputs is None else outputs
    return Step(
        np.array(tokens, np.int32),
        np.array([slot for slot, _, ts in parts for _ in ts], np.int32),
        np.array([at + i for _, at, ts in parts for i in range(len(ts))], np.int32),
        np.array(wanted, np.int32),
        np.full(len(wanted), NO_DRAFT, np.int32),
        np.zeros(len(wanted), np.float32),
    )


@pytest.fixture(scope="module")
def backend(model: Path) -> Iterator[CudaBackend]:
    with pytest.MonkeyPatch.context() as patch:
        if INTERPRETED:
            # numpy rounds to float32 once for each BLOCK_K, a GPU for each 16 columns.
            def same(kernel: str, form: str, *_: int) -> TileConfig:
                if form == "int4":
                    return TileConfig(128 if kernel == "gate_up" else 64, 256, 4, 2)
                return TileConfig(64, 64, 4, 2)

            patch.setattr(tuned, "tile_config", same)
        yield CudaBackend.from_checkpoint(open_checkpoint(model), CONFIG)


def test_logits_are_those_of_the_reference(model: Path, backend: CudaBackend) -> None:
    checkpoint = open_checkpoint(model)
    exact = ReferenceBackend(checkpoint, CONFIG)
    torch_bf16 = ReferenceBackend(checkpoint, CONFIG, backend.device, torch.bfloat16)
    prompt = np.random.default_rng(0).integers(3, 90, 70).tolist()
    for step in (
        rows((0, 0, prompt)),
        rows((0, 70, [5]), (2, 0, prompt[:9]), outputs=[0, 4, 9]),
        rows((2, 9, [7, 8]), (0, 71, [9, 9, 9])),
    ):
        wanted = exact.logits(step)
        allowed = 2 * np.abs(torch_bf16.logits(step) - wanted).max() + 1e-5
        logits = backend.logits(step)
        assert np.abs(logits - wanted).max() <= allowed
        if len(step.tokens) < len(prompt):  # the longest takes seconds on the interpreter
            assert (backend.step(step) == logits.argmax(-1)).all()


def test_a_row_has_the_same_bits_at_every_width(backend: CudaBackend) -> None:
    prompt = np.random.default_rng(1).integers(3, 90, 70).tolist()
    whole = backend.logits(rows((0, 0, prompt)))
    backend.copy_slot(0, 1, 20)
    middle = backend.logits(rows((1, 20, prompt[20:53])))
    narrow = backend.logits(rows((1, 53, prompt[53:69])))
    alone = backend.logits(rows((1, 69, prompt[69:])))
    assert np.array_equal(np.concatenate((middle, narrow, alone)), whole[20:])
    together = backend.logits(rows((2, 0, prompt[:30]), (1, 70, [5]), (0, 70, [5])))
    assert np.array_equal(together[:30], whole[:30])
    assert np.array_equal(together[30], together[31])


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_cut_matrices_keep_a_rows_bits_too(
    model: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernel, n, k in (("qkv", 256, 128), ("out", 128, 128), ("down", 128, 128)):
        monkeypatch.setitem(SPLIT_K, (kernel, form, n, k), 2)
    if INTERPRETED:
        monkeypatch.setattr(tuned, "tile_config", lambda *_: TileConfig(64, 64, 4, 2))
    backend = CudaBackend.from_checkpoint(open_checkpoint(model), CONFIG, form)
    prompt = np.random.default_rng(1).integers(3, 90, 36).tolist()
    whole = backend.logits(rows((0, 0, prompt)))
    backend.copy_slot(0, 1, 16)
    parts = [
        backend.logits(rows((1, 16, prompt[16:35]))),
        backend.logits(rows((1, 35, [prompt[35]]))),
    ]
    assert np.array_equal(np.concatenate(parts), whole[16:])
    ref, exact = (
        step_ref(backend.weights, prompt, d).cpu() for d in (torch.bfloat16, torch.float32)
    )
    assert_as_exact(torch.from_numpy(whole), ref, exact)
    backend.close()


def test_int4_keeps_a_rows_bits_in_tiles_of_its_own_for_each_height(model: Path) -> None:
    """And whatever an int4 matrix reads lies on the grids of its blocks."""
    backend = CudaBackend.from_checkpoint(open_checkpoint(model), CONFIG, "int4")
    prompt = np.random.default_rng(1).integers(3, 90, 36).tolist()
    whole, memory = backend.logits(rows((0, 0, prompt))), backend.memory
    for read in (memory.scaled, memory.values, memory.inner):
        assert read[:36].any()
        assert torch.equal(read[:36], share_exponent_ref(read[:36]))
    backend.copy_slot(0, 1, 16)
    parts = [
        backend.logits(rows((1, 16, prompt[16:35]))),
        backend.logits(rows((1, 35, [prompt[35]]))),
    ]
    assert np.array_equal(np.concatenate(parts), whole[16:])
    backend.close()


def test_a_fork_goes_on_like_its_source(backend: CudaBackend) -> None:
    backend.step(rows((0, 0, [5, 6, 7, 8])))
    backend.copy_slot(0, 2, 3)
    alone, fork = backend.logits(rows((0, 3, [9]))), backend.logits(rows((2, 3, [9])))
    assert np.array_equal(alone, fork)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_runs_and_says_what_it_reads(model: Path, form: str) -> None:
    checkpoint = open_checkpoint(model)
    backend = CudaBackend.from_checkpoint(checkpoint, CONFIG, form)
    got = torch.from_numpy(backend.logits(rows((0, 0, [5, 6, 7]))))
    ref, exact = (
        step_ref(backend.weights, [5, 6, 7], dtype).cpu()
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert_as_exact(got, ref, exact)
    layers = 2 * (128 * 32 * 8 + 128 * 128 + 3 * 128 * 128)
    elements, padded = layers + 96 * 128, layers + 128 * 128  # the head lies in panels of 128 rows
    bits = {"bf16": 16, "int8": 8, "fp8": 8, "int4": 4}[form]
    assert elements * bits / 8 <= backend.weight_bytes < padded * bits / 8 * 1.08
    backend.close()


class Uncompiled(CudaBackend):
    """Whose one kernel does not compile."""

    def _prepare(self) -> None:
        if self.persistent is not None:
            raise BackendUnavailable("a kernel does not compile")
        self.start_s["graphs"] = 1.0


def test_it_starts_with_graphs_where_one_kernel_does_not_compile(
    model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_weights(open_checkpoint(model), "bf16", DEVICE)
    made = Uncompiled(weights, CONFIG, persistent=False)
    for wanted, ranks, starts in ((None, 1, True), (True, 1, False), (None, 2, False)):
        made.persistent, made.start_s = cast(Any, "one kernel"), {}
        member = made.memory.member
        shared = member._replace(group=member.group._replace(ranks=ranks))
        monkeypatch.setattr(made.memory, "member", shared)
        with nullcontext() if starts else pytest.raises(BackendUnavailable):
            made._start(wanted)
        assert (made.persistent is None) == bool(made.start_s) == starts
    assert caplog.messages == ["steps run as graphs, not as one kernel: a kernel does not compile"]


def test_it_starts_with_graphs_where_one_kernel_cannot_copy_what_it_reads(
    model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("strides must be 16-byte aligned")

    monkeypatch.setattr(cuda, "persistent_rows", lambda *_: 1)
    monkeypatch.setattr(cuda_persistent, "tile_layers", lambda weights: weights)
    monkeypatch.setattr(cuda_persistent, "PersistentStep", refuse)
    weights = load_weights(open_checkpoint(model), "bf16", DEVICE)
    made = CudaBackend(weights, CONFIG)
    assert made.persistent is None
    assert made.step(rows((0, 0, [5, 6]))).shape == (2,)
    made.close()
    assert caplog.messages == [
        "steps run as graphs, not as one kernel: strides must be 16-byte aligned"
    ]
    with pytest.raises(BackendUnavailable, match="no persistent kernel here: strides must be"):
        CudaBackend(weights, CONFIG, persistent=True)


def test_the_engine_runs_on_it(model: Path) -> None:
    backend = CudaBackend.from_checkpoint(open_checkpoint(model), CONFIG)
    engine = Engine(backend, eos_token_ids=())
    prompts = [tuple(range(10, 19)), tuple(range(40, 44))]
    alone = [engine.run([Request(p, max_new_tokens=4)])[0].tokens for p in prompts]
    again = engine.run(
        [
            Request(p, draft=(*tokens[:2], 1, tokens[3]), max_new_tokens=4)
            for p, tokens in zip(prompts, alone, strict=True)
        ]
    )
    engine.close()
    assert [c.tokens for c in again] == alone
    assert all(c.accepted >= 2 for c in again)
