"""What quality fewer bits cost: perplexity and BLEU of two checkpoints over the same text.

Both run in plain torch over their weights as stored, so that nothing but the weights differs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tokenspeed.backends.reference import load_llama
from tokenspeed.bench.quality.text_score import bleu
from tokenspeed.errors import CheckpointError, ProfileError
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.model.llama import Attend, Llama, reach
from tokenspeed.model.prompt import PromptFormat, load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.model.weights import weight_shapes

LARGE_BYTES = 4 << 30  # of float32 weights; larger models are run in bf16

# Measured if no text is given: a few lines of our own, in every language.
SAMPLE: tuple[dict[str, str], ...] = (
    {
        "en": "The train to the city leaves in ten minutes.",
        "de": "Der Zug in die Stadt fährt in zehn Minuten ab.",
        "fr": "Le train pour la ville part dans dix minutes.",
        "es": "El tren a la ciudad sale en diez minutos.",
    },
    {
        "en": "Please tell me where the next station is.",
        "de": "Bitte sagen Sie mir, wo der nächste Bahnhof ist.",
        "fr": "Dites-moi, s'il vous plaît, où se trouve la prochaine gare.",
        "es": "Por favor, dígame dónde está la próxima estación.",
    },
    {
        "en": "We are going to the mountains tomorrow morning.",
        "de": "Wir fahren morgen früh in die Berge.",
        "fr": "Nous allons à la montagne demain matin.",
        "es": "Mañana por la mañana vamos a las montañas.",
    },
    {
        "en": "She has been working in this office for three years.",
        "de": "Sie arbeitet seit drei Jahren in diesem Büro.",
        "fr": "Elle travaille dans ce bureau depuis trois ans.",
        "es": "Ella trabaja en esta oficina desde hace tres años.",
    },
)


@dataclass(frozen=True)
class Sample:
    """A text and, for models that translate, its source."""

    text: str
    source: str = ""
    direction: tuple[str, str] | None = None


@dataclass(frozen=True)
class Quality:
    """How well a checkpoint predicts some lines.

    Attributes:
        perplexity: of the lines' tokens, each given those before it.
        tokens: their number.
        bleu: of greedy translations of the sources; None for a model that does not translate.
    """

    perplexity: float
    tokens: int
    bleu: float | None
    translations: tuple[str, ...]


def read_lines(path: Path, direction: tuple[str, str], limit: int) -> list[Sample]:
    """Read lines of `source TAB target`, or of plain text.

    Raises:
        ValueError: the file has no text.
    """
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        source, tab, target = line.partition("\t")
        if line.strip():
            lines.append(Sample(target, source, direction) if tab else Sample(line))
    if not lines:
        raise ValueError(f"{path}: holds no text")
    return lines[: limit or None]


def sample_lines() -> list[Sample]:
    """Return the built-in lines in every direction."""
    pairs = permutations(SAMPLE[0], 2)
    return [Sample(text[b], text[a], (a, b)) for a, b in pairs for text in SAMPLE]


def measure_quality(checkpoint: Checkpoint, lines: Sequence[Sample]) -> Quality:
    """Run a checkpoint over the lines in its directions; if there are none, over all as plain text.

    Raises:
        CheckpointError: it cannot be loaded, or has no tokenizer.
    """
    tokenizer = Tokenizer.load(checkpoint.directory)
    prompts = _prompts(checkpoint, tokenizer)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    count = sum(math.prod(shape) for shape in weight_shapes(checkpoint.config).values())
    dtype = torch.bfloat16 if 4 * count > LARGE_BYTES else torch.float32
    model = load_llama(checkpoint, device, dtype).eval()
    asked = [line for line in lines if prompts and line.direction in prompts.pairs]
    total, tokens = 0.0, 0
    for line in asked if asked else lines:
        ids = _prompt(prompts, line) if asked else _begin(tokenizer)
        target = [*tokenizer.encode(line.text), *tokenizer.eos_ids[:1]]
        total += _surprise(model, ids, target)
        tokens += len(target)
    translations, score = _translate(model, tokenizer, prompts, asked) if asked else ((), None)
    return Quality(math.exp(total / tokens), tokens, score, translations)


def _begin(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the token before a text: its start mark, or else the end of a previous text."""
    return tokenizer.eos_ids[:1] if tokenizer.bos_id is None else (tokenizer.bos_id,)


def _prompts(checkpoint: Checkpoint, tokenizer: Tokenizer) -> PromptFormat | None:
    try:
        return load_prompt_format(checkpoint.directory, tokenizer)
    except (CheckpointError, ProfileError):  # a plain language model, whose vocabulary has no marks
        return None


def _prompt(prompts: PromptFormat | None, line: Sample) -> tuple[int, ...]:
    assert prompts is not None
    assert line.direction is not None
    return prompts.build(line.source, *line.direction, is_open=False)


@torch.inference_mode()
def _surprise(model: Llama, prompt: Sequence[int], target: Sequence[int]) -> float:
    """Return the sum of -log p of the target's tokens after the prompt, in nats."""
    device = next(model.parameters()).device
    ids = torch.tensor([*prompt, *target], device=device)
    positions = torch.arange(len(ids) - 1, device=device)
    hidden = model.hidden_states(ids[:-1], positions, _causal(model))
    logits: Tensor = model.logits(hidden[len(prompt) - 1 :]).float()
    return float(F.cross_entropy(logits, ids[len(prompt) :], reduction="sum"))


def _causal(model: Llama) -> Attend:
    config = model.config
    groups = config.num_heads // config.num_kv_heads

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (t.repeat_interleave(groups, 1) for t in (k, v))
        mask = torch.ones(len(q), len(q), dtype=torch.bool, device=q.device).tril()
        q, k, v = (t.transpose(0, 1) for t in (q, k, v))  # [heads, tokens, head_dim]
        return reach(q, k, v, mask, config.attention_softcap).transpose(0, 1)

    return attend


def _translate(
    model: Llama, tokenizer: Tokenizer, prompts: PromptFormat | None, lines: Sequence[Sample]
) -> tuple[tuple[str, ...], float | None]:
    """Return the greedy translations and, if sacreBLEU is installed, their BLEU."""
    decoder = BatchDecoder(model, tokenizer.eos_ids[0], 64)
    ids = decoder.greedy([_prompt(prompts, line) for line in lines])
    texts = tuple(tokenizer.decode(one) for one in ids)
    try:
        return texts, bleu(texts, [line.text for line in lines])
    except ImportError:
        return texts, None


def compare_quality(source: Quality, target: Quality) -> str:
    """Describe what the target loses, in one or two lines."""
    growth = target.perplexity / source.perplexity - 1
    text = f"perplexity over {source.tokens} tokens: {source.perplexity:.3f} -> "
    text += f"{target.perplexity:.3f} ({growth:+.2%})\n"
    if source.bleu is not None and target.bleu is not None:
        pairs = zip(source.translations, target.translations, strict=True)
        same = sum(a == b for a, b in pairs) / len(source.translations)
        text += f"BLEU of {len(source.translations)} translations: {source.bleu:.2f} -> "
        text += f"{target.bleu:.2f}; {same:.0%} of them stay the same\n"
    return text
