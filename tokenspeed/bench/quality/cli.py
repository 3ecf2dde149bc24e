"""`tokenspeed eval quality`."""

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from tokenspeed.arguments import add_model_argument
from tokenspeed.backends.reference import load_llama
from tokenspeed.bench.quality.sets import (
    VARIANTS,
    AddressScore,
    Ask,
    PrefixScore,
    Score,
    Translate,
    load_sets,
    prefix_table,
    score_address,
    score_prefixes,
    score_sets,
    score_table,
    translate_sets,
)
from tokenspeed.bench.result import describe_cpu, make_result, write_result
from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.request import Request
from tokenspeed.errors import told
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.model.prompt import PromptFormat, load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer

_SLOTS = 32  # texts translated side by side on a CPU


def add_quality(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval quality`."""
    add_model_argument(parser)
    parser.add_argument(
        "--corpus", type=Path, required=True, help="folder with test sets, NAME.en-xx.tsv"
    )
    parser.add_argument("--sets", nargs="*", default=(), help="names of sets (default: all)")
    parser.add_argument("--directions", nargs="*", default=(), help="such as en-de (default: all)")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu: the engine as users get it; reference: PyTorch in float32 on the CPU; or cuda",
    )
    parser.add_argument("--limit", type=int, default=0, help="lines to take of each set; 0: all")
    parser.add_argument("--beam", type=int, default=1, help="beam width; 1: greedy")
    parser.add_argument(
        "--prefix-lines",
        type=int,
        default=50,
        help="lines of each set that are also translated word by word; 0: none",
    )
    parser.add_argument(
        "--variants",
        nargs="*",
        default=VARIANTS,
        choices=(*VARIANTS, "context"),
        help="forms of the source (default: whole stripped auto); context: with the line before it",
    )
    parser.add_argument("--batch-size", type=int, default=256, help="texts translated together")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="processes for scoring"
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--outputs", type=Path, help="write all translations to this file")
    parser.set_defaults(run=run_quality)


def run_quality(arguments: argparse.Namespace) -> int:
    """Translate, score and print."""
    started = time.perf_counter()
    with told(OSError):
        sets = load_sets(arguments.corpus, arguments.sets, arguments.directions, arguments.limit)
    translate = make_translator(
        arguments.model, arguments.device, arguments.batch_size, arguments.beam
    )
    variants = list(dict.fromkeys(("whole", *arguments.variants)))
    outputs = translate_sets(sets, translate, variants)
    if arguments.outputs:
        named = {
            v: {f"{s.name}.{s.source}-{s.target}": t for s, t in zip(sets, texts, strict=True)}
            for v, texts in outputs.items()
        }
        arguments.outputs.write_text(json.dumps(named, ensure_ascii=False), encoding="utf-8")
    prefixes: list[PrefixScore] = []
    if arguments.prefix_lines:
        for test_set in sets:
            for marked, stripped in ((True, False), (False, False), (True, True)):
                lines = arguments.prefix_lines
                prefixes.append(
                    score_prefixes(test_set, translate, lines, marked=marked, stripped=stripped)
                )
    scores = score_sets(sets, outputs, arguments.processes)
    print(score_table(scores))
    print(f"\n{scores[0].bleu_signature}\n{scores[0].chrf_signature}\n")
    if prefixes:
        print(prefix_table(prefixes))
    addresses = [
        found
        for s, texts in zip(sets, outputs["whole"], strict=True)
        if (found := score_address(s, texts)) is not None
    ]
    if arguments.json:
        on_gpu = arguments.device.startswith("cuda")
        machine = {"gpu": torch.cuda.get_device_name()} if on_gpu else describe_cpu()
        result = make_result((), machine=machine, packages=["torch", "sacrebleu"])
        del result["rows"]  # replaced by three kinds of rows
        result |= {"seconds": round(time.perf_counter() - started, 1), "beam": arguments.beam}
        kinds: dict[str, Sequence[Score | PrefixScore | AddressScore]]
        kinds = {"scores": scores, "prefixes": prefixes, "addresses": addresses}
        result |= {name: [asdict(row) for row in rows] for name, rows in kinds.items()}
        write_result(result, arguments.json)
    return 0


def make_translator(
    directory: Path, device: str, batch_size: int = 256, beam: int = 1
) -> Translate:
    """Open a model directory for translating many texts.

    On "cpu" the engine itself translates greedily, in the precision that users get. "reference", a
    GPU, and a beam go through plain torch in float32 over the weights as stored.

    Raises:
        CheckpointError: the directory cannot be used.
    """
    if device == "cpu" and beam == 1:
        return _engine_translator(directory)
    checkpoint = open_checkpoint(directory)
    tokenizer = Tokenizer.load(directory)
    prompts = load_prompt_format(directory, tokenizer)
    place = "cpu" if device == "reference" else device
    model = load_llama(checkpoint, place, torch.float32).eval()
    decoder = BatchDecoder(model, tokenizer.eos_ids[0], batch_size)

    def translate(asks: Sequence[Ask]) -> list[str]:
        ids = [_prompt(a, prompts, tokenizer) for a in asks]
        found = decoder.greedy(ids) if beam == 1 else decoder.beam(ids, beam)
        return [tokenizer.decode(out) for out in found]

    return translate


def _engine_translator(directory: Path) -> Translate:
    config = EngineConfig(num_slots=_SLOTS, max_length=1024, max_step_ms=math.inf)
    model = load_engine(directory, device="auto", config=config)

    def translate(asks: Sequence[Ask]) -> list[str]:
        texts: list[str] = []
        for at in tqdm(range(0, len(asks), _SLOTS * 8), desc="translating", unit_scale=_SLOTS * 8):
            requests = []
            for ask in asks[at : at + _SLOTS * 8]:
                prompt = _prompt(ask, model.prompts, model.tokenizer)
                cap = min(
                    model.prompts.length_cap(len(prompt), ask.source, ask.target),
                    1024 - len(prompt),
                )
                requests.append(Request(prompt, max_new_tokens=cap))
            texts += [model.tokenizer.decode(c.tokens) for c in model.engine.run(requests)]
        return texts

    return translate


def _prompt(ask: Ask, prompts: PromptFormat, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the prompt to continue; with context, it ends with the translations of that."""
    source = " ".join([*(text for text, _ in ask.context), ask.text])
    said = " ".join(translation for _, translation in ask.context)
    prompt = prompts.build(source, ask.source, ask.target, is_open=ask.is_open)
    return (*prompt, *(tokenizer.encode(said) if said else ()))
