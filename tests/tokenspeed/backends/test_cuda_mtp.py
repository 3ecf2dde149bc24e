"""Guesses of the GPU backend, against the layer in plain torch; they change no token."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tokenspeed.backends.test_cuda import rows
from tests.tokenspeed.backends.test_cuda_ahead import verifying
from tests.tokenspeed.kernels.support import DEVICE
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_ahead import behind_draft, draft_end_of, next_pairs
from tokenspeed.backends.cuda_memory import step_widths
from tokenspeed.backends.cuda_step import recorded_step
from tokenspeed.backends.cuda_weights import load_weights, random_mtp, random_weights, with_mtp
from tokenspeed.backends.reference import load_llama
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.engines.steps import NEVER
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Completion, Request
from tokenspeed.errors import CheckpointError
from tokenspeed.kernels.launch import Launch
from tokenspeed.model import mtp
from tokenspeed.model.checkpoint import Checkpoint, open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.llama import Llama, reach
from tokenspeed.model.mtp import MTP_FILE, Mtp, write_mtp

CONFIG = EngineConfig(num_slots=3, max_length=96, max_step_tokens=40)
Guess = Callable[[list[int], list[int]], Tensor]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models as small as those of tests have a layer beside them."""
    monkeypatch.setattr(mtp, "MIN_GUESSED_WEIGHTS", 0)


@pytest.fixture(scope="module")
def tensors(model: Path) -> dict[str, Tensor]:
    return random_mtp(open_checkpoint(model).config, "cpu", seed=5)


@pytest.fixture(scope="module")
def backend(model: Path, tensors: dict[str, Tensor]) -> Iterator[CudaBackend]:
    weights = load_weights(open_checkpoint(model), "bf16", DEVICE)
    backend = CudaBackend(with_mtp(weights, tensors), CONFIG)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def exact(model: Path, tensors: dict[str, Tensor]) -> Guess:
    """The layer in plain torch: (tokens, what follows each of them) -> logits of the guesses."""
    llama = load_llama(open_checkpoint(model), "cpu", torch.float32)
    layer = Mtp(llama.config)
    layer.load_state_dict(tensors)

    @torch.inference_mode()
    def logits(tokens: list[int], following: list[int]) -> Tensor:
        positions = torch.arange(len(tokens))
        states = llama.model.states(torch.tensor(tokens), positions, _attend)
        embedded = llama.model.embed_tokens(torch.tensor(following))
        return llama.logits(layer(states, embedded, positions, _attend))

    return logits


def _attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    group = q.shape[1] // k.shape[1]
    k, v = (part.repeat_interleave(group, 1).transpose(0, 1) for part in (k, v))
    mask = torch.ones(len(q), len(q), dtype=torch.bool).tril()
    return reach(q.transpose(0, 1), k, v, mask, 0.0).transpose(0, 1)


def assert_likely(guesses: Any, logits: Tensor) -> None:
    """Demand that each guess is the most likely token, or as good as that in bf16."""
    assert len(guesses) == len(logits)
    best = logits.max(-1).values
    found = logits.gather(-1, torch.tensor(np.asarray(guesses), dtype=torch.int64)[:, None])[:, 0]
    assert (best - found).max() < 0.1 * logits.std()


def test_guesses_are_those_of_the_layer(backend: CudaBackend, exact: Guess) -> None:
    """Behind every row of a prompt, behind its last one alone, and of several slots."""
    prompt = np.random.default_rng(0).integers(3, 90, 34).tolist()
    chosen = backend.step(rows((0, 0, prompt))).tolist()
    assert backend.guessed is not None
    logits = exact(prompt, chosen)
    assert_likely(backend.guessed, logits)
    assert len(set(backend.guessed.tolist())) > 5

    first = backend.step(rows((1, 0, prompt[:20]), (0, 0, prompt[:9]), outputs=[19, 28])).tolist()
    assert first == [chosen[19], chosen[8]]
    long = exact(prompt[:20], [*prompt[1:20], chosen[19]])[-1:]
    short = exact(prompt[:9], [*prompt[1:9], chosen[8]])[-1:]
    assert_likely(backend.guessed, torch.cat((long, short)))

    # The layer's own cache goes on from there, row by row.
    tokens = [*prompt[:20], first[0]]
    for _ in range(6):
        (token,) = backend.step(rows((1, len(tokens) - 1, tokens[-1:]))).tolist()
        assert_likely(backend.guessed, exact(tokens, [*tokens[1:], token])[-1:])
        tokens.append(token)


def test_guesses_have_the_same_bits_whatever_the_step(backend: CudaBackend) -> None:
    """The wide step, one row at a time, beside another slot, and from a copied slot."""
    prompt = np.random.default_rng(1).integers(3, 90, 29).tolist()
    backend.step(rows((0, 0, prompt)))
    whole = backend.guessed
    assert whole is not None
    cache = backend.memory.cache[:, -1, 0, :, :29].clone()
    for at in range(24, 29):
        if at == 24:
            backend.copy_slot(0, 1, 24)
        together = rows((1, at, prompt[at : at + 1]), (2, 0, [5, 6, 7][: at % 4]))
        backend.step(together)
        assert backend.guessed is not None
        assert backend.guessed[0] == whole[at]
    assert torch.equal(backend.memory.cache[:, -1, 1, :, :29], cache)


def test_the_layer_changes_no_token_and_no_logit(model: Path, backend: CudaBackend) -> None:
    plain = CudaBackend.from_checkpoint(open_checkpoint(model), CONFIG, "bf16")
    assert plain.guessed is None
    prompt = np.random.default_rng(2).integers(3, 90, 10).tolist()
    for step in (rows((0, 0, prompt)), rows((0, 10, [9, 8])), rows((0, 12, [7]))):
        assert np.array_equal(plain.logits(step), backend.logits(step))
        drafts = np.where(np.arange(len(step.outputs)) % 2, 5, step.drafts).astype(np.int32)
        biased = replace(step, drafts=drafts, biases=np.full(len(drafts), 0.4, np.float32))
        assert np.array_equal(plain.step(biased), backend.step(biased))
    plain.close()


def test_a_pair_behind_a_draft_is_launched_ahead(model: Path, backend: CudaBackend) -> None:
    """Where the draft ends, what is guessed there, and that rows of it alone are no pairs."""
    prompt = np.random.default_rng(4).integers(3, 90, 7).tolist()
    said = list[int]()
    for _ in range(4):
        said.append(int(backend.step(rows((0, 0, [*prompt, *said])))[-1]))
    drafts = [said[:4], [*said[:2], 91, 92], [91, 92, 93], [said[0], 91, 92]]
    # The whole prompt, or its last token: then all rows are outputs.
    for draft, known in zip(drafts, (0, 6, 6, 0), strict=True):
        whole = verifying(prompt, draft)
        parts = {k: getattr(whole, k)[known:] for k in ("tokens", "slots", "positions")}
        step = replace(whole, **parts, outputs=whole.outputs - known)
        backend.drop()
        backend.step(replace(step, num_ends=None, stops=None))
        chosen, guessed = backend.step(step), backend.guessed
        end = draft_end_of(step, chosen)
        assert end is not None
        assert guessed is not None
        behind = replace(behind_draft(step, chosen, guessed, end), stops=NEVER)
        found = []
        for is_ahead in (True, False):
            if not is_ahead:
                backend.step(replace(step, num_ends=None, stops=None))
            following = backend.step(behind)
            assert backend.was_ahead is is_ahead
            assert backend.guessed is not None
            said_there = [following.tolist(), backend.guessed.tolist()]
            # The pair behind it is ahead, too.
            pair = next_pairs(behind, following, backend.guessed)
            said_there += [backend.step(pair).tolist(), backend.guessed.tolist()]
            found.append(said_there)
            assert backend.was_ahead
        assert found[0] == found[1]


@pytest.mark.usefixtures("small")
def test_the_engine_says_the_same_in_fewer_steps(model: Path) -> None:
    """A layer beside the model is found and used; one that knows the model's own words helps."""
    checkpoint = open_checkpoint(model)
    requests = [Request((5 + i, 9, 14 + i), max_new_tokens=11) for i in range(2)]
    found: list[list[Completion]] = []
    for is_beside in (False, True):
        if is_beside:
            whole = [[*r.prompt, *one.tokens] for r, one in zip(requests, found[0], strict=True)]
            write_mtp(model / MTP_FILE, taught(checkpoint, whole))
        backend = CudaBackend.from_checkpoint(checkpoint, CONFIG, "bf16")
        assert backend.guesses == is_beside
        engine = Engine(backend, eos_token_ids=())
        found.append(engine.run(requests))
        assert engine.stats().guessed == sum(one.guessed for one in found[-1])
        engine.close()
    (model / MTP_FILE).unlink()
    for plain, helped in zip(*found, strict=True):
        assert helped.tokens == plain.tokens
        assert (plain.guessed, plain.decoded, plain.steps) == (0, 11, 11)
        assert helped.decoded == 11
        assert helped.steps == 11 - helped.guessed
    assert sum(one.guessed for one in found[1]) >= 7


def taught(checkpoint: Checkpoint, texts: list[list[int]]) -> Mtp:
    """A layer that has learned these outputs of the model by heart."""
    llama = load_llama(checkpoint, "cpu", torch.float32)
    torch.manual_seed(0)
    layer = Mtp(llama.config)
    optimizer = torch.optim.Adam(layer.parameters(), 3e-3)
    for _ in range(60):
        loss = torch.zeros(())
        for text in texts:
            tokens, positions = torch.tensor(text), torch.arange(len(text) - 2)
            with torch.no_grad():
                states = llama.model.states(tokens[:-2], positions, _attend)
                embedded = llama.model.embed_tokens(tokens[1:-1])
            logits = llama.logits(layer(states, embedded, positions, _attend))
            loss = loss + torch.nn.functional.cross_entropy(logits[2:], tokens[4:])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return layer


def test_a_small_model_gains_nothing(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = open_checkpoint(model)
    write_mtp(model / MTP_FILE, Mtp(checkpoint.config))
    assert load_weights(checkpoint, "bf16", "cpu").mtp is None
    (model / MTP_FILE).unlink()
    assert "too small to gain" in caplog.text


def test_a_layer_of_another_model_is_refused(model: Path) -> None:
    checkpoint = open_checkpoint(model)
    write_mtp(model / MTP_FILE, Mtp(replace(checkpoint.config, hidden_size=64)))
    with pytest.raises(CheckpointError, match=r"mtp\.safetensors.*another model's"):
        load_weights(checkpoint, "bf16", "cpu")
    (model / MTP_FILE).unlink()


@pytest.mark.parametrize("form", ["bf16", "int8", "int4", "fp8"])
def test_every_form_guesses_as_its_own_weights_do(model: Path, form: str) -> None:
    """The layer is stored as the model is, and guesses what its weights say as they are read."""
    config = replace(open_checkpoint(model).config, tie_word_embeddings=False)
    weights = with_mtp(random_weights(config, form, DEVICE, seed=3), random_mtp(config, DEVICE))
    assert weights.mtp is not None
    assert weights.mtp.join.format == form
    backend = CudaBackend(weights, replace(CONFIG, max_step_tokens=16))
    prompt = np.random.default_rng(3).integers(3, 90, 12).tolist()
    chosen = backend.step(rows((0, 0, prompt))).tolist()
    guessed = backend.guessed
    backend.close()
    assert guessed is not None
    assert_likely(guessed, _exact_of(weights, prompt, chosen))


@pytest.mark.parametrize("form", ["bf16", "int8", "int4", "fp8"])
@pytest.mark.parametrize("guessed", [[5], [*range(1, 90, 3)]])
def test_a_head_of_some_tokens_guesses_the_best_of_these(
    model: Path, form: str, guessed: list[int]
) -> None:
    config = replace(open_checkpoint(model).config, tie_word_embeddings=False)
    plain = random_weights(config, form, DEVICE, seed=3)
    weights = with_mtp(plain, random_mtp(config, DEVICE, guessed=guessed))
    assert weights.mtp is not None
    assert weights.nbytes == plain.nbytes + weights.mtp.nbytes
    backend = CudaBackend(weights, replace(CONFIG, max_step_tokens=16))
    prompt = np.random.default_rng(3).integers(3, 90, 12).tolist()
    chosen = backend.step(rows((0, 0, prompt))).tolist()
    found = backend.guessed
    backend.close()
    assert found is not None
    logits = _exact_of(weights, prompt, chosen)
    assert_likely([guessed.index(token) for token in found], logits[:, guessed])


@torch.inference_mode()
def _exact_of(weights: Any, tokens: list[int], following: list[int]) -> Tensor:
    """The guesses' logits in plain torch, over the weights as the kernels read them."""
    llama, layer = Llama(weights.config), Mtp(weights.config)
    beside = weights.mtp
    states = {"model.embed_tokens.weight": weights.embedding.float()}
    for i, own in enumerate(weights.layers):
        states |= {f"model.layers.{i}.{k}": v for k, v in _parts(own, weights.config).items()}
    states["model.norm.weight"] = weights.norm.float()
    states["lm_head.weight"] = weights.head.dequantize()
    llama.load_state_dict({name: t.cpu() for name, t in states.items()})
    own = {f"layer.{name}": t for name, t in _parts(beside.layer, beside.config).items()}
    own |= {"enorm.weight": beside.norms[0].float(), "hnorm.weight": beside.norms[1].float()}
    own |= {"eh_proj.weight": beside.join.dequantize(), "norm.weight": beside.norm.float()}
    layer.load_state_dict({name: t.cpu() for name, t in own.items()})
    positions = torch.arange(len(tokens))
    behind = llama.model.states(torch.tensor(tokens), positions, _attend)
    embedded = llama.model.embed_tokens(torch.tensor(following))
    return llama.logits(layer(behind, embedded, positions, _attend))


def _parts(layer: Any, config: Any) -> dict[str, Tensor]:
    """The parts of a layer by their names, taken out of the order that kernels read them in."""
    heads, kv, dim = config.num_heads, config.num_kv_heads, config.head_dim
    qkv = layer.qkv.dequantize().view(-1, dim // 2, 2, config.hidden_size)
    qkv = qkv.transpose(1, 2).reshape(-1, config.hidden_size)
    q, k, v = qkv.split([heads * dim, kv * dim, kv * dim])
    gate_up = layer.gate_up.dequantize()
    return {
        "input_layernorm.weight": layer.input_norm.float(),
        "self_attn.q_proj.weight": q,
        "self_attn.k_proj.weight": k,
        "self_attn.v_proj.weight": v,
        "self_attn.o_proj.weight": layer.out.dequantize(),
        "post_attention_layernorm.weight": layer.post_norm.float(),
        "mlp.gate_proj.weight": gate_up[0::2],
        "mlp.up_proj.weight": gate_up[1::2],
        "mlp.down_proj.weight": layer.down.dequantize(),
    }


def test_each_width_runs_the_layer_once() -> None:
    model = replace(SHAPES["default-38m"], num_layers=2)
    weights = with_mtp(random_weights(model, "int8", "meta"), random_mtp(model, "meta"))
    launches = recorded_step(weights, EngineConfig(2, 64, 96), Launch())
    names = [launch.kernel.fn.__name__.removesuffix("_kernel") for launch in launches]
    layer = ["qkv", "attention", "projection", "gate_up", "projection"]
    step = ["embedding", *layer, *layer, "lm_head", "select"]
    guess = ["join_rows", "projection", *layer, "lm_head", "select", "follow_pairs"]
    assert names == [*step, *guess] * len(step_widths(96)) + ["follow_draft"]
