"""What `tokenspeed quantize` says about the loss, on a small random translator."""

import math
import re
from pathlib import Path

import pytest
import torch

from tests.conftest import MakeModel
from tokenspeed.bench.quality.loss import Sample, measure_quality, read_lines, sample_lines
from tokenspeed.cli import main
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer


def test_perplexity_is_that_of_transformers(tiny_translator: Path) -> None:
    from transformers import LlamaForCausalLM

    tokenizer = Tokenizer.load(tiny_translator)
    prompts = load_prompt_format(tiny_translator, tokenizer)
    lines = [line for line in sample_lines() if line.direction in prompts.pairs][:5]
    theirs = LlamaForCausalLM.from_pretrained(tiny_translator, dtype=torch.float32)
    total, count = 0.0, 0
    for line in lines:
        assert line.direction
        prompt = prompts.build(line.source, *line.direction, is_open=False)
        target = [*tokenizer.encode(line.text), tokenizer.eos_ids[0]]
        labels = torch.tensor([[*[-100] * len(prompt), *target]])
        with torch.inference_mode():
            loss = theirs(torch.tensor([[*prompt, *target]]), labels=labels).loss.item()
        total, count = total + loss * len(target), count + len(target)
    found = measure_quality(open_checkpoint(tiny_translator), lines)
    assert found.tokens == count
    assert found.perplexity == pytest.approx(math.exp(total / count), rel=1e-4)
    assert found.bleu is not None
    assert len(found.translations) == len(lines)


def test_a_model_that_does_not_translate_is_read_plainly(
    make_model: MakeModel, sentencepiece_model: Path
) -> None:
    model = make_model(vocab_size=400)
    (model / "tokenizer.model").write_bytes(sentencepiece_model.read_bytes())
    found = measure_quality(open_checkpoint(model), [Sample("The train.")])
    assert found.bleu is None
    assert found.tokens == len(Tokenizer.load(model).encode("The train.")) + 1


def test_the_command_says_what_is_lost(
    tiny_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "lines.tsv"
    text.write_text("The train.\tDer Zug.\n\nThe city.\tDie Stadt.\n", encoding="utf-8")
    asked = ["quantize", "--bits", "8", str(tiny_translator), str(tmp_path / "8")]
    assert main([*asked, "--text", str(text), "--direction", "en-de"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"perplexity over \d+ tokens: [\d.]+ -> [\d.]+ \([+-][\d.]+%\)", said)
    assert re.search(r"BLEU of 2 translations: [\d.]+ -> [\d.]+; \d+% of them stay", said)
    with pytest.raises(ValueError, match="holds no text"):
        read_lines(Path("/dev/null"), ("en", "de"), 0)
