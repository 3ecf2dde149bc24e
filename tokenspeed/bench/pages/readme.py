"""Fill the README's table of figures from the committed results.

    python -m tokenspeed.bench.pages.readme

Numbers come only from `results/*.json`; a missing file is an error, not an empty cell.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tokenspeed.bench.page import put_into_page
from tokenspeed.bench.result import Row

ROOT = Path(__file__).parents[3]


def load(name: str) -> Row:
    """Read one result file."""
    result: Row = json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))
    return result


def find(rows: list[Row], **wanted: object) -> Row:
    """Return the only row, or the last one, with these values.

    Raises:
        LookupError: there is none.
    """
    found = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    if not found:
        raise LookupError(f"no row with {wanted}")
    return found[-1]


def last(rows: list[Row], key: str) -> Row:
    """Return the last row that has a key."""
    return [row for row in rows if key in row][-1]


def updates() -> Iterator[str]:
    """Yield rows about a caption update of a large model, vLLM beside it."""
    result = load("h100-update.json")
    where = f"{result['machine']['gpu']}, vLLM {result['versions']['vllm']}, {result['date']}"
    measured = [row for row in result["rows"] if "update_ms_p50" in row]
    for dtype in ("bf16", "fp8", "int8", "int4"):
        own, theirs, *guessing = (row for row in measured if row["dtype"] == dtype)
        beside = f"vLLM {theirs['update_ms_p50']:.1f}"
        beside += f"; told which words hold {theirs['update_told_which_hold_ms_p50']:.1f}"
        for row in guessing:
            beside += f"; guessing by n-grams, at best {row['update_ms_p50']:.1f}"
        yield (
            f"| GPU, LLaMA-3-8B {dtype}: a caption update "
            f"| **{own['update_ms_p50']:.1f} ms** ({beside}) | {where} |"
        )
        where = ""


def prompts() -> Iterator[str]:
    """Yield a row about many prompts at once."""
    result = load("h100-tall-tiles.json")
    wanted = {"shape": "llama-3-8b", "dtype": "bf16", "max_step": 1024}
    now, before = (
        find(result["rows"], tiles=tiles, **wanted)["first_token_ms_p50"]
        for tiles in ("now", "before")
    )
    yield (
        "| GPU, LLaMA-3-8B bf16: first tokens of 16 prompts of 64 at once "
        f"| **{now:.1f} ms** (in tiles of 64 rows {before:.1f}) "
        f"| {result['machine']['gpu']}, random weights, {result['date']} |"
    )


def large() -> Iterator[str]:
    """Yield rows about a model of 70 billion weights, and about two GPUs, vLLM beside both."""
    one, two, pair = (
        load(f"h100-{name}.json") for name in ("70b-vllm", "two-gpus", "two-gpus-vllm")
    )
    where = f"{one['machine']['gpu']}, random weights, vLLM {one['versions']['vllm']}, "
    where += one["date"]
    own, theirs = (
        [row for row in one["rows"] if row["engine"] == engine] for engine in ("tokenspeed", "vllm")
    )
    peer = last(theirs, "update_ms_p50")
    beside = f"vLLM W4A16 {peer['update_ms_p50']:.0f}; told which words hold "
    beside += f"{peer['update_told_which_hold_ms_p50']:.0f}"
    yield (
        "| one H100, LLaMA-3-70B int4: a caption update; a token "
        f"| **{last(own, 'update_ms_p50')['update_ms_p50']:.0f} ms** ({beside}); "
        f"{find(own, streams=1)['inter_token_ms_p50']:.1f} ms "
        f"({find(theirs, streams=1)['inter_token_ms_p50']:.1f}) | {where} |"
    )
    rows = [row for row in two["rows"] if (row["shape"], row["dtype"]) == ("llama-3-70b", "int4")]
    yield (
        "| two H100, LLaMA-3-70B int4: a caption update; a token "
        f"| **{last(rows, 'update_ms_p50')['update_ms_p50']:.0f} ms**; "
        f"{find(rows, streams=1)['inter_token_ms_p50']:.1f} ms | {two['date']} |"
    )
    own, theirs = (
        [row for row in pair["rows"] if row["engine"] == engine]
        for engine in ("tokenspeed", "vllm")
    )
    yield (
        "| two H100, LLaMA-3-8B bf16: a caption update; a token "
        f"| **{last(own, 'update_ms_p50')['update_ms_p50']:.1f} ms** "
        f"(vLLM {last(theirs, 'update_ms_p50')['update_ms_p50']:.0f}); "
        f"{find(own, streams=1, turns='rounds')['inter_token_ms_p50']:.2f} ms "
        f"({find(theirs, streams=1, turns='rounds')['inter_token_ms_p50']:.2f}) | {pair['date']} |"
    )
    real = load("h100-70b.json")
    speakers = [row for row in real["rows"] if "speakers" in row and row["within"] == 1]
    most = max(speakers, key=lambda row: row["speakers"])
    yield (
        f"| one H100, LLaMA-3-70B int4: {most['speakers']} speakers at once, updates, p95 "
        f"| **{most['p95_ms']:.0f} ms** | real steps, random weights, {real['date']} |"
    )


def captions() -> Iterator[str]:
    """Yield rows about live captions over a real socket."""
    load_test = load("loadtest-balanced.json")
    where = machine(load_test)
    for sessions in (1, 4):
        row = find(load_test["rows"], sessions=sessions)
        speakers = "one speaker" if sessions == 1 else f"{sessions} speakers at once"
        yield (
            f"| CPU, default model: caption update, {speakers}, arrival to last changed token, p95 "
            f"| **{row['update_ms_p95']:.0f} ms** | {where} |"
        )
    yield (
        "| CPU, default model: final after the sentence ends, 4 speakers, p95 "
        f"| {row['final_lag_ms_p95']:.0f} ms | |"
    )
    rows = load("streaming-policies.json")["rows"]
    balanced = find(rows, set="ted-talks.en-de", trace="words", policy="balanced")
    plain = find(rows, set="ted-talks.en-de", trace="words", policy="retranslation")
    yield (
        "| words taken back for each word of the final, `balanced`; plain re-translation; "
        f"`append_only` | **{balanced['erasure']:.2f}**; {plain['erasure']:.2f}; 0 | TED talks |"
    )


def processor() -> Iterator[str]:
    """Yield rows about the CPU engine and its peers."""
    result = load("cpu-compare.json")
    # The default model of that day: the one that ships has 6 % more parameters.
    where = f"{machine(result)}, a model of 37.7M parameters, {result['date']}"
    peers = (("llama.cpp", "q8_0"), ("onnxruntime-genai", "int8"), ("ctranslate2", "int8"))
    for text, key, streams in (
        ("a token", "inter_token_ms_p50", 1),
        ("first token, prompt of 40", "first_token_ms_p50", 1),
        ("24 known tokens verified", "verify_24_ms_p50", 1),
        ("a step of 8 streams", "inter_token_ms_p50", 8),
    ):
        own = find(result["rows"], engine="tokenspeed", dtype="int8", streams=streams)[key]
        others = ", ".join(
            f"{engine} {find(result['rows'], engine=engine, dtype=dtype, streams=streams)[key]:.1f}"
            for engine, dtype in peers
        )
        yield f"| CPU, int8: {text} | **{own:.2f} ms** ({others}) | {where} |"
        where = ""


def graphics() -> Iterator[str]:
    """Yield rows about the GPU engine and vLLM beside it."""
    result = load("h200-compare.json")
    rows = result["rows"]
    where = f"{result['machine']['gpu']}, one run, engines in turns, {result['date']}"
    theirs = {
        name: find(rows, engine=name, dtype="bf16", streams=1) for name in ("vllm", "transformers")
    }
    versions = result["versions"]
    for text, key in (("a token", "inter_token_ms_p50"), ("first token", "first_token_ms_p50")):
        own = find(rows, engine="tokenspeed", dtype="bf16", streams=1)
        beside = ", ".join(
            f"{name} {versions[name]} {row[key]:.2f}" for name, row in theirs.items()
        )
        yield f"| GPU, LLaMA-3-8B bf16: {text} | **{own[key]:.2f} ms** ({beside}) | {where} |"
        where = ""


def default_model() -> Iterator[str]:
    """Yield a row about the default model."""
    shipped = load("quality-default.json")["runs"]["shipped"]
    whole = [score for score in shipped["scores"] if score["variant"] == "whole"]
    cells = []
    for name, label in (("tatoeba", "Tatoeba"), ("multi30k-2016", "Multi30k")):
        for foreign in ("de", "fr", "es"):
            for direction in (f"en-{foreign}", f"{foreign}-en"):
                for row in whole:
                    if (row["set"], row["direction"]) == (name, direction):
                        cells.append((label, direction, row["bleu"]))
    text = "; ".join(
        f"{label} " + ", ".join(f"{d} {bleu:.1f}" for other, d, bleu in cells if other == label)
        for label in dict.fromkeys(cell[0] for cell in cells)
    )
    yield f"| default model, BLEU ([all sets](benchmarks/quality.md)) | {text} | int8, greedy |"


def figures() -> Iterator[str]:
    """Yield the lines of the whole table."""
    yield "| what | measured | where |"
    yield "|---|---|---|"
    for part in (updates, prompts, large, captions, processor, graphics, default_model):
        yield from part()


def machine(result: Row) -> str:
    """Name a processor."""
    about = result["machine"]
    return f"{about['cpu']}, {about['cores']} cores"


if __name__ == "__main__":
    put_into_page(ROOT / "README.md", "figures", "\n".join(figures()))
