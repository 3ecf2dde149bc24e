"""A whole run in a tiny configuration: it learns, resumes bit for bit, and exports a model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.translate import translate
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.training.cli import CONFIGS
from tokenspeed.training.config import Recipe, load_recipe
from tokenspeed.training.loop import Trainer
from tokenspeed.training.run import train


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
    (tmp_path / "cache" / "tokenizer.model").write_bytes(b"another")
    with pytest.raises(ValueError, match="is not the vocabulary of"):
        train(recipe, toy_corpus, tmp_path / "fourth", "cpu", tmp_path / "cache", straight / "int8")


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
