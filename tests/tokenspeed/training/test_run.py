"""A whole run in a tiny configuration: it learns, resumes bit for bit, and exports a model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file

from tests.conftest import SENTENCES
from tokenspeed.backends.reference import load_llama
from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.translate import translate
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.llama import reach
from tokenspeed.training.cli import CONFIGS
from tokenspeed.training.config import Recipe, load_recipe
from tokenspeed.training.corpus import Bitext
from tokenspeed.training.loop import Trainer
from tokenspeed.training.run import train
from tokenspeed.training.vocabulary import train_vocabulary


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    tiny = load_recipe(CONFIGS / "tiny.toml")
    model = replace(tiny.model, vocab_size=400)
    return replace(
        tiny,
        model=model,
        vocabulary_sample=1.0,
        batch_tokens=384,
        max_example_tokens=64,
        max_steps=12,
        warmup_steps=2,
        save_every=5,
        log_every=4,
        valid_every=6,
    )


@pytest.fixture(scope="module")
def straight(recipe: Recipe, toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 12 steps. Others take its vocabulary and lexicons."""
    out = tmp_path_factory.mktemp("straight")
    train(recipe, toy_corpus, out, "cpu")
    return out


def test_a_run_learns_a_toy_language(recipe: Recipe, toy_corpus: Path, tmp_path: Path) -> None:
    longer = replace(recipe, batch_tokens=768, max_steps=60, valid_every=10)
    train(longer, toy_corpus, tmp_path, "cpu")
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["valid"] for row in rows if "valid" in row]
    assert losses[-1] < losses[0] * 0.7
    assert "<polyline" in (tmp_path / "loss.svg").read_text()
    stored = open_checkpoint(tmp_path / "model").config
    assert stored == replace(longer.model, eos_token_ids=stored.eos_token_ids)
    model = load_engine(tmp_path / "int8")
    (found,) = translate(model, ["The train is small today."], "en", "de")
    model.close()
    assert found.tokens > 0


def test_a_run_can_begin_with_a_trained_model(
    recipe: Recipe, straight: Path, toy_corpus: Path, tmp_path: Path
) -> None:
    cache, model = straight / "cache", straight / "model"
    stopped = replace(recipe, max_steps=1, learning_rate=0.0, weight_decay=0.0)
    train(stopped, toy_corpus, tmp_path / "second", "cpu", cache, model)
    first, second = weights(model), weights(tmp_path / "second" / "model")
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = replace(recipe, model=replace(recipe.model, intermediate_size=96))
    with pytest.raises(ValueError, match="gate_proj.weight is .* expected"):
        train(other, toy_corpus, tmp_path / "third", "cpu", cache, model)
    (tmp_path / "cache").mkdir()
    bitext = Bitext("de", SENTENCES[:3], SENTENCES[3:6], ["talks"] * 3)
    train_vocabulary([bitext], tmp_path / "cache" / "tokenizer.model", 350, 1.0, seed=1)
    with pytest.raises(ValueError, match="is not the vocabulary of"):
        train(recipe, toy_corpus, tmp_path / "fourth", "cpu", tmp_path / "cache", straight / "int8")


def test_a_model_grows_into_a_larger_recipe_and_computes_what_it_did(
    recipe: Recipe, straight: Path, toy_corpus: Path, tmp_path: Path
) -> None:
    shape = replace(recipe.model, vocab_size=800, intermediate_size=192)
    stopped = replace(recipe, model=shape, max_steps=1, learning_rate=0.0, weight_decay=0.0)
    train(stopped, toy_corpus, tmp_path, "cpu", tmp_path / "cache", straight / "model")
    first, second = weights(straight / "model"), weights(tmp_path / "model")
    assert {"#", "€"} <= pieces(tmp_path) - pieces(straight)
    old, new = (
        load_llama(open_checkpoint(d / "model"), "cpu", torch.float32) for d in (straight, tmp_path)
    )
    ids = torch.tensor([1, 40, 41, 42, 43, 44])
    positions = torch.arange(len(ids))
    mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()

    def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        groups = q.shape[1] // k.shape[1]
        k, v = (x.repeat_interleave(groups, 1) for x in (k, v))
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        return reach(q, k, v, mask, 0.0).transpose(0, 1)

    with torch.no_grad():
        before, after = (m.logits(m.hidden_states(ids, positions, attend)) for m in (old, new))
    known = len(pieces(straight))
    assert torch.allclose(before[:, :known], after[:, :known], atol=1e-4)
    embedding = "model.embed_tokens.weight"
    assert torch.equal(first[embedding][:known], second[embedding][:known])


def pieces(run: Path) -> set[str]:
    found = sentencepiece.SentencePieceProcessor(model_file=str(run / "model" / "tokenizer.model"))
    return {found.id_to_piece(i) for i in range(found.vocab_size())}


class Stopped(Exception):
    pass


def test_an_interrupted_run_ends_with_the_same_bits(
    recipe: Recipe,
    straight: Path,
    toy_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Trainer.step

    def stop_at_7(self: Trainer, *arguments: object) -> torch.Tensor:
        if self.progress.step == 7:
            raise Stopped
        return step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "step", stop_at_7)
    with pytest.raises(Stopped):
        train(recipe, toy_corpus, tmp_path, "cpu", straight / "cache")
    monkeypatch.undo()
    train(recipe, toy_corpus, tmp_path, "cpu", straight / "cache")
    whole, resumed = weights(straight / "model"), weights(tmp_path / "model")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in directory.glob("*.safetensors"):
        found |= load_file(path)
    return found
