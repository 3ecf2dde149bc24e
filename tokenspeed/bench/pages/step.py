"""Draw one step on a GPU, and fill its page with figures, from the committed results.

    python -m tokenspeed.bench.pages.step

Writes docs/step.svg and the tables of docs/step.md.
"""

from collections.abc import Iterator
from statistics import fmean
from typing import Final

from tokenspeed.bench.page import markdown_table, put_into_page
from tokenspeed.bench.pages.readme import ROOT, load
from tokenspeed.bench.result import Row

WIDTH: Final = 1080
LEFT, RIGHT = 150, 1050  # of what lies on a time line
STYLE: Final = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1b2333}
.t{font-size:14px;font-weight:600}.l{font-size:12px}.r{font-size:12px;font-weight:600;fill:#53607a}
.b{fill:#f5f7fb;stroke:#8a97b1;stroke-width:1.2}.m{fill:#3f74b5}.h{fill:#e0a03c}.v{fill:#c9d0dc}
.w{fill:#ffffff;font-size:11.5px}.d{font-size:11.5px}.a{fill:none;stroke:#53607a;stroke-width:1.6;marker-end:url(#m)}
"""
FORMS: Final = ("bf16", "int8", "int4")
MODELS: Final = {
    "llama-3-8b": "LLaMA-3-8B",
    "llama-3.2-1b": "LLaMA-3.2-1B",
    "llama-3-70b": "LLaMA-3-70B",
}


def text(x: float, y: float, words: str, kind: str = "l") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{words}</text>'


def box(x: float, y: float, width: float, height: float, kind: str = "b", radius: int = 8) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect class="{kind}" {place} rx="{radius}"/>'


def station(x: float, y: float, title: str, *lines: str, width: float = 190) -> Iterator[str]:
    """Yield a box with its text."""
    yield box(x, y, width, 34 + 17 * len(lines))
    yield text(x + 12, y + 22, title, "t")
    for i, line in enumerate(lines):
        yield text(x + 12, y + 41 + 17 * i, line)


def arrow(*points: tuple[float, float]) -> str:
    return f'<path class="a" d="M{" L".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def multiprocessor() -> Iterator[str]:
    """Yield what the warps of one program do, side by side."""
    yield text(20, 28, "One of 132 programs: a multiprocessor each, four kinds of warps", "r")
    stations = (
        ("Weights", "one warp asks for tiles", "of 16 KiB, two to four", "of them under way"),
        ("Ring", "12 tiles in shared memory,", "filled ahead, across", "matrices"),
        (
            "Products",
            "two groups of four warps:",
            "64 rows of a weight each,",
            "on the tensor cores",
        ),
        ("Ends", "norm, rotation, gate,", "residual: what a matrix", "ends with"),
        ("Words", "a value and a tag: who", "needs one asks until", "it is there"),
    )
    for i, lines in enumerate(stations):
        yield from station(20 + 214 * i, 44, *lines)
        if i:
            yield arrow((214 * i - 4, 88), (214 * i + 16, 88))
    yield from station(
        448, 158, "Activations", "two warps take turns to wait", "for words", width=216
    )
    yield arrow((971, 129), (971, 192), (668, 192))
    yield arrow((543, 158), (543, 133))


def layer(timeline: Row) -> Iterator[str]:
    """Yield the time line of a layer, by the median program."""
    at = {name: value[0] for name, value in timeline.items() if isinstance(value, list)}
    end = at["down: sums"]
    scale = (RIGHT - LEFT) / end
    yield text(20, 262, f"One layer of LLaMA-3-8B in int8, one row, {end:.0f} µs", "r")
    lanes = (
        ("products", "m", (
            ("qkv: activations", "qkv: product", "qkv"),
            ("out: activations", "out: product", "out"),
            ("gate_up: activations", "gate_up: first tile", "gate and up, first tile"),
            ("gate_up: first tile", "gate_up: second tile", "second tile, of 92 programs"),
            ("down: activations", "down: product", "down"),
        )),
        ("handed over", "h", (
            ("qkv: product", "attention: its words are here", ""),
            ("attention: its words are here", "attention: finished", "att."),
            ("attention: finished", "out: activations", ""),
            ("out: product", "gate_up: activations", ""),
            ("down: product", "down: sums", ""),
        )),
    )  # fmt: skip
    for i, (name, kind, bars) in enumerate(lanes):
        y = 276 + 34 * i
        yield text(20, y + 18, name)
        for begin, finish, label in bars:
            x, wide = LEFT + at[begin] * scale, (at[finish] - at[begin]) * scale
            yield box(x, y, max(1.5, wide - 1.5), 26, kind, 3)
            if label:
                yield text(x + 5, y + 17, label, "w" if kind == "m" else "d")
    yield text(20, 362, "the memory")
    yield box(LEFT, 348, RIGHT - LEFT, 20, "v", 3)
    said = "reads on through most of it: the ring holds 8 µs of weights"
    yield text(LEFT + 6, 362, said)


def ahead() -> Iterator[str]:
    """Yield steps on the device and what the host does meanwhile."""
    yield text(20, 412, "The next step is launched before this one has been read", "r")
    wide, first = 200, 250
    for i, name in enumerate(("step n", "n + 1", "n + 2", "void")):
        x = first + i * (wide + 4)
        yield box(x, 426, wide if name != "void" else 14, 26, "m" if name != "void" else "v", 3)
        yield text(x + 6 if name != "void" else x + 20, 443, name, "w" if name != "void" else "l")
    yield text(20, 443, "device")
    yield text(20, 481, "host")
    yield box(150, 464, 92, 26, "h", 3)
    yield text(156, 481, "n, then n + 1", "d")
    acts = ("reads n, launches n + 2", "reads n + 1, launches on", "reads n + 2, the last one")
    for i, name in enumerate(acts):
        x = first + (i + 1) * (wide + 4)
        yield box(x, 464, 160, 26, "h", 3)
        yield text(x + 6, 481, name, "d")
    said = "The device knows the tokens that end a sentence, and a word by which the host holds it:"
    yield text(20, 514, said + " what is not wanted ends at once.")


def picture(timeline: Row) -> str:
    """Return the whole picture, an SVG."""
    title = "A decode step on a GPU"
    about = "The warps of one program, the time line of a layer, and steps that follow each other."
    marker = (
        '<defs><marker id="m" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#53607a"/></marker></defs>'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 530" role="img" '
        'aria-labelledby="t d">',
        f'<title id="t">{title}</title>',
        f'<desc id="d">{about}</desc>',
        f"<style>{STYLE}</style>",
        marker,
        f'<rect width="{WIDTH}" height="530" fill="#ffffff"/>',
        *multiprocessor(),
        *layer(timeline),
        *ahead(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def times(result: Row) -> str:
    """Return the table of steps of one row beside what their bytes take."""
    read = result["machine"]["read_tb_per_s"]
    rows = []
    for model, name in MODELS.items():
        of_one = [row for row in result["steps"] if row["model"] == model and row["width"] == 1]
        for step in sorted(of_one, key=lambda row: FORMS.index(row["form"])):
            share = step["persistent_tb_per_s"] / read
            ms = f"**{step['persistent_ms']:.2f}**"
            rows.append((name, step["form"], f"{step['graph_ms']:.2f}", ms, f"{share:.0%}"))
    titles = "ms a step of one row | | as a graph | one kernel | of the read rate"
    return markdown_table(titles, "llrrr", rows)


def by_rows(result: Row) -> str:
    """Return the table of steps by how many rows they have."""
    found = result["models"]["rows"]
    widths = list(found[0]["step_ms"])
    rows = []
    for model, name in MODELS.items():
        for row in found:
            if row["model"] == model:
                ms = [row["step_ms"][width] for width in widths]
                rows.append(
                    (name, row["form"], *(f"{each:.{2 if each >= 1 else 3}f}" for each in ms))
                )
    titles = "ms a step of so many rows | | " + " | ".join(widths)
    return markdown_table(titles, "ll" + "r" * len(widths), rows)


def guesses(result: Row) -> str:
    """Return the table of what a layer that guesses spares."""
    rows = []
    for row in result["rows"]:
        if row["right"] is None:
            plain = row
            continue
        layer = row["guess_ms_2"]
        token, update = ((plain[key], row[key]) for key in ("token_ms", "update_ms_mean"))
        rows.append(
            (
                MODELS[row["model"]],
                row["form"],
                f"{layer:.2f}",
                f"{token[0]:.2f}, **{token[1]:.2f}**",
                f"{update[0]:.1f}, **{update[1]:.1f}**",
                f"{plain['steps']:.0f}, {row['steps']:.1f}",
            )
        )
    titles = "ms, without and with guesses | | the layer | a token | a caption update | its steps"
    return markdown_table(titles, "llrrrr", rows)


def small(result: Row) -> str:
    """Return the table of steps of the default model, by the position of their row."""
    rows = []
    for one_kernel, name in ((False, "as a graph"), (True, "one kernel")):
        turns = [row for row in result["steps"] if row["one_kernel"] == one_kernel]
        places = list(turns[0]["device_ms_at"])
        ms = [fmean(row["device_ms_at"][place] for row in turns) for place in places]
        token = fmean(row["token_ms_64_to_127"] for row in turns)
        rows.append((name, *(f"{each:.3f}" for each in ms), f"**{token:.3f}**"))
    titles = "ms a step of one row at position | " + " | ".join(places)
    titles += " | a token as the host sees it"
    return markdown_table(titles, "l" + "r" * (len(places) + 1), rows)


def errors(result: Row) -> str:
    """Return the table of errors of log-probabilities beside float32, one cell an engine."""

    def shown(engine: str, form: str) -> str:
        found = [row for row in result["rows"] if (row["engine"], row["form"]) == (engine, form)]
        if not found:
            return "–"
        row = found[0]  # of our paths the graph, of torch that in our dtype
        same = row["same_best"] / row["clear"]
        return f"{row['largest_error']:.3f}, {row['rms_error']:.4f}, {same:.1%}"

    engines = ("tokenspeed", "torch", "vllm")
    forms = [form for form in (*FORMS, "fp8") if shown(engines[0], form) != "–"]
    titles = "largest error, root mean square, same token | ours | torch | vLLM"
    rows = [(form, *(shown(engine, form) for engine in engines)) for form in forms]
    return markdown_table(titles, "lrrr", rows)


def shared(result: Row) -> str:
    """Return the table of the logits' largest errors on one GPU and on two."""
    rows = []
    for form in FORMS:
        found = result["checks"]["largest errors"][form]
        rows.append((form, f"{found['error_of_one']:.4f}", f"{found['error']:.4f}"))
    return markdown_table("largest error of a logit | one GPU | two GPUs", "lrr", rows)


TABLES: Final = {
    "h100-launched-ahead.json": times,
    "h100-few-rows.json": by_rows,
    "h100-mtp.json": guesses,
    "h200-small-step.json": small,
    "h200-numerics.json": errors,
    "h200-two-gpus-one-kernel.json": shared,
}


def main() -> None:
    page = ROOT / "docs" / "step.md"
    one_row = load("h100-one-row.json")
    (timeline,) = (one_row[key] for key in one_row if key.startswith("timeline"))
    (ROOT / "docs" / "step.svg").write_text(picture(timeline), encoding="utf-8")
    for name, table in TABLES.items():
        put_into_page(page, name, table(load(name)))


if __name__ == "__main__":
    main()
