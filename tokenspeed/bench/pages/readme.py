"""Fill the README's table of figures from the committed results.

    python -m tokenspeed.bench.pages.readme

Numbers come only from `results/*.json`; a missing file is an error, not an empty cell.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

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
    """Yield rows about a large model, vLLM beside it in the same run."""
    result = load("h100-launched-ahead.json")
    where = f"{result['machine']['gpu']}, vLLM {result['versions']['vllm']}, one run, in turns, "
    where += result["date"]
    own, theirs = (
        [row for row in result["rows"] if row["engine"] == engine]
        for engine in ("tokenspeed", "vllm")
    )
    earlier = load("h100-update.json")  # of another run
    (guessing,) = (row for row in earlier["rows"] if "guesses" in row and "update_ms_p50" in row)
    for form, other in (("bf16", "bf16"), ("int8", "fp8"), ("int4", "int4")):
        mine, peer = (
            last([row for row in rows if row["dtype"] == dtype], "update_ms_p50")
            for rows, dtype in ((own, form), (theirs, other))
        )
        beside = f"vLLM {'' if other == form else other + ' '}{peer['update_ms_p50']:.1f}"
        beside += f"; told which words hold {peer['update_told_which_hold_ms_p50']:.1f}"
        if form == "bf16":
            beside += f"; guessing by n-grams, in an earlier run, {guessing['update_ms_p50']:.1f}"
        token, their_token = (
            find(rows, dtype=dtype, streams=1)["inter_token_ms_p50"]
            for rows, dtype in ((own, form), (theirs, other))
        )
        yield (
            f"| GPU, LLaMA-3-8B {form}: a caption update; a token "
            f"| **{mine['update_ms_p50']:.1f} ms** ({beside}); "
            f"**{token:.2f} ms** ({their_token:.2f}) | {where} |"
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
    now, beside, pair = (
        load(name)
        for name in (
            "h100-few-rows.json", "h100-70b-vllm.json", "h200-two-gpus-launched-ahead.json",
        )
    )  # fmt: skip
    one = find(now["models"]["rows"], model="llama-3-70b")
    theirs = [row for row in beside["rows"] if row["engine"] == "vllm"]
    peer = last(theirs, "update_ms_p50")
    said = f"vLLM W4A16, {beside['date']}: {peer['update_ms_p50']:.0f}; told which words hold "
    said += f"{peer['update_told_which_hold_ms_p50']:.0f}"
    yield (
        "| one H100, LLaMA-3-70B int4: a caption update; a token "
        f"| **{one['update_ms_p50']:.0f} ms** ({said}); **{one['token_ms']:.1f} ms** "
        f"({find(theirs, streams=1)['inter_token_ms_p50']:.1f}) "
        f"| {now['machine']['gpu']}, random weights, {now['date']} |"
    )
    yield guessed(load("h100-mtp.json"))
    for form in ("int4", "int8"):
        row = find(pair["groups"], model="llama-3-70b", form=form, persistent=True)
        yield (
            f"| two H200, LLaMA-3-70B {form}: a caption update; a token "
            f"| **{row['update_ms_p50']:.0f} ms**; {row['host_ms']['1']:.1f} ms | {pair['date']} |"
        )
    yield guessed_by_two(load("h200-mtp.json"))
    own, theirs = (
        [row for row in pair["rows"] if row["engine"] == engine]
        for engine in ("tokenspeed", "vllm")
    )
    yield (
        "| two H200, LLaMA-3-8B bf16: a caption update; a token "
        f"| **{last(own, 'update_ms_p50')['update_ms_p50']:.1f} ms** "
        f"(vLLM {last(theirs, 'update_ms_p50')['update_ms_p50']:.0f}); "
        f"{find(own, streams=1)['inter_token_ms_p50']:.2f} ms "
        f"({find(theirs, streams=1)['inter_token_ms_p50']:.2f}) "
        f"| vLLM {pair['versions']['vllm']}, one run, in turns, {pair['date']} |"
    )
    real = load("h100-70b.json")
    speakers = [row for row in real["rows"] if "speakers" in row and row["within"] == 1]
    most = max(speakers, key=lambda row: row["speakers"])
    yield (
        f"| one H100, LLaMA-3-70B int4: {most['speakers']} speakers at once, updates, p95 "
        f"| **{most['p95_ms']:.0f} ms** | real steps, random weights, {real['date']} |"
    )


def guessed(result: Row) -> str:
    """Return a row about updates with a layer that guesses tokens, and without, in one run."""
    wanted = [("llama-3-8b", form) for form in ("bf16", "int8", "int4")] + [("llama-3-70b", "int4")]

    def shown(right: float | None) -> str:
        rows = [find(result["rows"], model=model, form=form, right=right) for model, form in wanted]
        return ", ".join(f"{row['update_ms_mean']:.1f}" for row in rows)

    (share,) = {row["right"] for row in result["rows"]} - {None}
    return (
        "| one H100, a layer that guesses tokens, "
        f"{share:.0%} right: a caption update of LLaMA-3-8B bf16, int8, int4; 70B int4 "
        f"| **{shown(share)} ms** (without {shown(None)}) "
        f"| random weights, {result['date']} |"
    )


def guessed_by_two(result: Row) -> str:
    """Return a row about LLaMA-3-70B on two GPUs with a layer that guesses, and without."""
    named = ("llama-3-70b", "int4")
    rows = [row for row in result["groups"] if (row["model"], row["form"]) == named]
    plain = find(rows, right=None)
    (guesses,) = (row for row in rows if row["right"])
    return (
        f"| two H200, a layer that guesses tokens, {guesses['right']:.0%} right: "
        f"a caption update of LLaMA-3-70B int4; a token | **{guesses['update_ms_mean']:.1f} ms** "
        f"(without {plain['update_ms_mean']:.1f}); {guesses['token_ms']:.1f} ms "
        f"({plain['token_ms']:.1f}) | random weights, {result['date']} |"
    )


def small() -> Iterator[str]:
    """Yield a row about a token of the default model on a GPU."""
    result = load("h200-small-step.json")

    def token_ms(one_kernel: bool) -> float:
        rows = [row for row in result["steps"] if row["one_kernel"] == one_kernel]
        return fmean(row["token_ms_64_to_127"] for row in rows)

    yield (
        f"| GPU, default model: a token | **{token_ms(True):.2f} ms** (as a graph of kernels "
        f"{token_ms(False):.2f}) | NVIDIA H200, {result['date']} |"
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
    for part in (updates, prompts, large, small, captions, processor, default_model):
        yield from part()


def machine(result: Row) -> str:
    """Name a processor."""
    about = result["machine"]
    return f"{about['cpu']}, {about['cores']} cores"


if __name__ == "__main__":
    put_into_page(ROOT / "README.md", "figures", "\n".join(figures()))
