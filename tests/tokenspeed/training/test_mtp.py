"""The training step of an MTP layer: what is guessed from what, and that it is learnt."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tokenspeed.model.config import ModelConfig
from tokenspeed.model.llama import Llama, reach
from tokenspeed.training.attention import find_reach
from tokenspeed.training.mtp import MtpTrainer, Score, begun, frozen_states, guesses
from tokenspeed.training.mtp_data import batches
from tokenspeed.training.packing import IGNORED, Sequenced

END = 2
MODEL = ModelConfig(40, 32, 64, 2, 4, 2, 8, tie_word_embeddings=True)


def random_model(config: ModelConfig = MODEL) -> Llama:
    torch.manual_seed(0)
    llama = Llama(config).requires_grad_(False).eval()
    for parameter in llama.parameters():
        if parameter.dim() == 2:
            parameter.normal_(std=2 * parameter.shape[1] ** -0.5)
    return llama


def lists(count: int, seed: int = 0) -> list[Sequenced]:
    """Return prompts with outputs in which each token follows from the one before it."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        prompt = [rng.randrange(3, 16) for _ in range(rng.randrange(3, 9))]
        first = rng.randrange(13)
        output = [3 + (first + 5 * at) % 13 for at in range(rng.randrange(2, 9))]
        made.append(Sequenced((*prompt, *output, END), len(prompt)))
    return made


def trained(llama: Llama, examples: Sequence[Sequenced], num_steps: int) -> MtpTrainer:
    trainer, epoch = MtpTrainer(llama, frozenset({END}), 512, seed=3), 0
    trainer.rate = 0.01
    while trainer.num_steps < num_steps:
        for batch in batches(examples, trainer.shapes, np.random.default_rng(epoch)):
            trainer.step(batch, trainer.num_steps / num_steps)
        epoch += 1
    return trainer


def test_each_token_of_an_output_is_guessed_from_two_before_it_and_one_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    llama, examples = random_model(), lists(20)
    trainer = MtpTrainer(llama, frozenset({END}), 512)
    (batch,) = batches(examples, trainer.shapes, np.random.default_rng(0))
    seen: dict[str, Tensor] = {}

    def states(llama: Llama, tokens: Tensor, *rest: Any) -> Tensor:
        return torch.arange(len(tokens)).float()[:, None].expand(-1, 32)

    def rows_of(layer: Any, states: Tensor, embedded: Tensor, *rest: Any) -> Tensor:
        seen["at"], seen["embedded"] = (x[rest[-1]] for x in (states[:, 0].long(), embedded))
        return guesses(layer, states, embedded, *rest)

    monkeypatch.setattr(trainer, "_states", states)
    monkeypatch.setattr(trainer, "_guesses", rows_of)
    trainer.step(batch, 0.0)
    counted = batch.labels != IGNORED
    at, tokens = seen["at"][counted], batch.tokens.long()
    assert torch.equal(tokens[at + 2], batch.labels[counted])
    assert torch.equal(seen["embedded"][counted], llama.model.embed_tokens(tokens[at + 1]))
    # Of every example the output, all of it, and nothing else.
    outputs = [token for e in shuffled(examples) for token in e.ids[e.num_prompt :]]
    assert batch.labels[counted].tolist() == outputs
    wanted, start = [], 0
    for example in shuffled(examples):
        wanted += [start + i for i in range(example.num_prompt - 2, len(example.ids) - 2)]
        start += len(example.ids)
    assert at.tolist() == wanted


def shuffled(examples: Sequence[Sequenced]) -> list[Sequenced]:
    return [examples[i] for i in np.random.default_rng(0).permutation(len(examples))]


@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_states_of_a_packed_example_are_those_it_has_alone(softcap: float) -> None:
    llama = random_model(replace(MODEL, attention_softcap=softcap))
    trainer, examples = MtpTrainer(llama, frozenset({END}), 512), lists(20)
    (batch,) = batches(examples, trainer.shapes, np.random.default_rng(0))
    packed = frozen_states(llama, batch.tokens, batch.positions, find_reach(batch.borders, 512))

    def causal(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = torch.ones(len(q), len(q), dtype=torch.bool).tril()
        key, value = (x.transpose(0, 1).repeat_interleave(2, 0) for x in (k, v))
        return reach(q.transpose(0, 1), key, value, mask, softcap).transpose(0, 1)

    start = 0
    for example in shuffled(examples):
        tokens = torch.tensor(example.ids)
        alone = llama.model.states(tokens, torch.arange(len(tokens)), causal)
        assert torch.allclose(packed[start : start + len(tokens)], alone, atol=1e-4)
        start += len(tokens)


def test_only_outputs_count_in_the_loss() -> None:
    llama, examples = random_model(), lists(20)
    trainer = MtpTrainer(llama, frozenset({END}), 512)
    (batch,) = batches(examples, trainer.shapes, np.random.default_rng(0))
    with torch.no_grad():
        logits = llama.logits(trainer._guess(batch))
    chosen = logits.log_softmax(-1).gather(1, batch.labels.clamp(min=0)[:, None])[:, 0]
    counted = batch.labels != IGNORED
    assert int(counted.sum()) == sum(len(e.ids) - e.num_prompt for e in examples)
    loss = trainer.step(batch, 0.0)
    assert torch.allclose(loss, -chosen[counted].mean(), atol=1e-5)


def test_the_layer_learns_a_pattern_and_the_model_stays() -> None:
    llama, examples, others = random_model(), lists(300), lists(60, seed=1)
    before = {name: p.clone() for name, p in llama.named_parameters()}
    chance = MtpTrainer(llama, frozenset({END}), 512).judge(others)
    trainer = trained(llama, examples, 100)
    score = trainer.judge(others)
    assert chance.share < 0.2
    # The end of these outputs is random, and every other token certain.
    assert score.share > chance.share + 0.4
    assert all(torch.equal(before[name], p) for name, p in llama.named_parameters())
    assert all(p.grad is None for p in llama.parameters())


def test_the_loss_goes_down() -> None:
    llama, examples = random_model(), lists(30)
    trainer = MtpTrainer(llama, frozenset({END}), 512)
    (batch,) = batches(examples, trainer.shapes, np.random.default_rng(0))
    losses = [float(trainer.step(batch, 0.0)) for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]


def test_equal_seeds_give_equal_layers() -> None:
    llama, examples = random_model(), lists(60)
    one, same = (trained(llama, examples, 4).layer.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    other = begun(llama, seed=4).state_dict()
    assert not torch.equal(other["eh_proj.weight"], begun(llama, 3).state_dict()["eh_proj.weight"])


def test_a_score_leaves_out_first_tokens_which_no_engine_guesses() -> None:
    examples = lists(50)
    trainer = MtpTrainer(random_model(), frozenset({END}), 512)
    score = trainer.judge(examples)
    assert score.guesses == sum(len(e.ids) - e.num_prompt - 1 for e in examples)
    assert score.ends == len(examples)
    one = trainer.judge(examples[:1])  # alone in its batch
    assert one.guesses == len(examples[0].ids) - examples[0].num_prompt - 1


@pytest.mark.parametrize("is_right", [True, False])
def test_a_score_counts_what_is_right(is_right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = lists(50)
    trainer = MtpTrainer(random_model(), frozenset({END}), 512)

    def told(b: Any) -> Tensor:
        return torch.nn.functional.one_hot(b.labels.clamp(min=0) if is_right else b.labels * 0, 40)

    monkeypatch.setattr(trainer, "_guess", told)
    monkeypatch.setattr(trainer.llama, "logits", lambda made: made)
    score = trainer.judge(examples)
    assert (score.right, score.right_ends) == (score.guesses * is_right, score.ends * is_right)
    assert score.share == score.end_share == float(is_right)


def test_scores_add_up_and_say_what_they_are() -> None:
    score = Score(6, 3, 2, 2) + Score(4, 1, 2, 1)
    assert str(score) == "40.0% of guesses right, 75.0% of end marks"
    assert Score().share == Score().end_share == 0.0


def test_logits_computed_in_parts_teach_the_same() -> None:
    llama, examples = random_model(), lists(30)
    layers = []
    for head_rows in (256, 60):
        trainer = MtpTrainer(llama, frozenset({END}), 512)
        trainer._head_rows = head_rows
        (batch,) = batches(examples, trainer.shapes, np.random.default_rng(0))
        losses = [float(trainer.step(batch, 0.0)) for _ in range(3)]
        layers.append((losses, trainer.judge(examples)))
    assert layers[0][0] == pytest.approx(layers[1][0], rel=1e-4)
    assert layers[0][1] == layers[1][1]


def test_a_large_vocabulary_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenspeed.training.mtp._LOGITS", 40 * 100)
    trainer = MtpTrainer(random_model(), frozenset({END}), 512)
    assert trainer.shapes.targets == 256
    assert trainer._head_rows == 64


def test_a_layer_begins_as_the_last_of_the_model() -> None:
    llama = random_model()
    layer, last = begun(llama, 1), llama.model.layers[-1]
    weights = dict(layer.layer.named_parameters())
    assert all(torch.equal(p, weights[name]) for name, p in last.named_parameters())
    assert torch.equal(layer.norm.weight, llama.model.norm.weight)
    assert torch.equal(layer.eh_proj.weight[:, 32:], torch.eye(32))


def test_a_model_of_another_kind_begins_with_what_fits() -> None:
    varied = ModelConfig(40, 32, 64, 2, 4, 2, 8, norms="after", qk_norm="head", biases=("qkv",))
    llama = random_model(varied)
    layer, last = begun(llama, 1), dict(llama.model.layers[-1].named_parameters())
    q = layer.layer.self_attn.q_proj.weight
    assert torch.equal(q, last["self_attn.q_proj.weight"])
    assert torch.equal(layer.layer.input_layernorm.weight, torch.ones(32))
    examples = lists(20)
    trainer = MtpTrainer(llama, frozenset({END}), 512)
    (batch,) = batches(examples, trainer.shapes, np.random.default_rng(0))
    assert torch.isfinite(trainer.step(batch, 0.0))
