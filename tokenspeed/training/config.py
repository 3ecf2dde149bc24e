"""A training run as one TOML file: the shape, the mix of the data, and the schedule.

Knows names and bounds; does not know tensors or files of the corpus.
"""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenspeed.model.config import ModelConfig


@dataclass(frozen=True)
class Mix:
    """How examples are made. A share is the probability that an example has a property."""

    auto_share: float = 0.2  # source mark `<auto>` in place of the language
    prefix_share: float = 0.3  # source cut at a word, target cut by alignment, `<open>`
    draft_share: float = 1.0  # of the prefixes: cut where a teacher's translation was, if it was
    half_word_share: float = 0.25  # of the prefixes: cut within the last source word
    open_whole_share: float = 0.06  # whole sentence without its final mark, `<open>`
    stripped_share: float = 0.25  # source without case and punctuation
    joined_share: float = 0.15  # 2 to 4 sentences in one segment
    placeholder_share: float = 0.0  # with characters in place of what must be copied
    formality_share: float = (
        0.0  # of those that address someone: with the mark of their form of address
    )
    capitals_share: float = 0.0  # source in capitals
    familiar_weight: float = 0.15  # of a familiar translation beside a formal one, en to xx
    formal_odds: float = 0.0  # fewest formal draws of an English "you" for each familiar one
    weights: dict[str, float] = field(default_factory=dict)  # by name of the source; 1 for others


@dataclass(frozen=True)
class Recipe:
    """All that a run depends on, except for the data."""

    languages: tuple[str, ...]  # foreign languages, each paired with English
    model: ModelConfig
    mix: Mix
    seed: int = 1
    batch_tokens: int = 65536  # positions of one packed batch
    max_example_tokens: int = 320
    max_steps: int = 20000
    max_seconds: float = 0.0  # the schedule ends by then at the latest; 0: only by steps
    warmup_steps: int = 1000
    optimizer: str = "muon"  # or "adamw"
    learning_rate: float = 1.5e-3
    final_share: float = 0.01  # of the learning rate, at the end of the cosine
    weight_decay: float = 0.1
    dropout: float = 0.1
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    average_decay: float = 0.999  # of the moving average that is exported
    log_every: int = 100  # steps
    valid_every: int = 1000  # 0: only at the end
    save_every: int = 5000
    num_workers: int = 2  # processes that make batches; 0: in this process
    rules_scale: float = 0.0  # of pairs made by rule; 1: about 50,000 per language
    vocabulary_sample: float = 0.5  # share of Tatoeba sentences that the vocabulary is trained on


def load_recipe(path: Path | str) -> Recipe:
    """Read a TOML file.

    Raises:
        ValueError: a field is unknown, missing or out of range; names it.
    """
    raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    model = _build(ModelConfig, raw.pop("model", {}), "model")
    mix = _build(Mix, raw.pop("mix", {}), "mix")
    languages = tuple(raw.pop("languages", ()))
    if not languages:
        raise ValueError("languages is empty, expected codes such as ['de', 'fr']")
    recipe = _build(Recipe, {**raw, "languages": languages, "model": model, "mix": mix}, "recipe")
    if recipe.max_example_tokens > recipe.batch_tokens:
        raise ValueError(
            f"max_example_tokens is {recipe.max_example_tokens}, "
            f"expected at most batch_tokens ({recipe.batch_tokens})"
        )
    if recipe.optimizer not in ("muon", "adamw"):
        raise ValueError(f"optimizer is {recipe.optimizer!r}, expected muon or adamw")
    return recipe


def _build(kind: Any, values: dict[str, Any], where: str) -> Any:
    names = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"{where} has unknown fields: {', '.join(unknown)}")
    try:
        return kind(**values)
    except TypeError as exc:
        raise ValueError(f"{where}: {exc}") from exc
