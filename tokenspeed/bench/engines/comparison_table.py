"""A comparison of engines as Markdown: the times, and which goals were reached."""

from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.result import Row

# name in a result's "ratios": its text, and the largest ratio that reaches the goal
GOALS: dict[str, tuple[str, float]] = {
    "token_int8_to_llama_q8": ("a token, int8, to llama.cpp Q8_0", 0.45),
    "token_int4_to_best_int4": ("a token, int4, to the best int4", 0.55),
    "first_token_int8_to_best": ("first token, int8, to the best peer", 0.65),
    "verify_24_int8_to_best": ("verification of 24, int8, to the best peer's prefill", 0.65),
    "step_8_int8_to_llama_q8": ("a step of 8 streams, int8, to llama.cpp Q8_0", 0.55),
    "step_8_int8_to_best": ("a step of 8 streams, int8, to the best peer of any precision", 0.8),
    "memory_int8_to_llama_q8": ("memory after load, int8, to llama.cpp Q8_0", 1.2),
}


def comparison_table(result: Row) -> str:
    """Return the table of engines, the ratios beside their goals, and the floor.

    Args:
        result: as `tokenspeed bench compare` writes it.
    """
    machine = result["machine"]
    bandwidths = ", ".join(
        f"{value} GB/s at {name.removeprefix('read_gb_per_s_').replace('_mib', ' MiB')}"
        for name, value in machine.items()
        if name.startswith("read_gb_per_s_")
    )
    about = f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['flags'])}), "
    about += f"reads {bandwidths}; {result['date']}; "
    about += ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return "\n\n".join([about + ".", _engines(result["rows"]), _goals(result)])


def _engines(rows: list[Row]) -> str:
    many = max(row["streams"] for row in rows)
    table = {(row["engine"], row["dtype"], row["streams"]): row for row in rows}
    cells = []
    for engine, dtype in dict.fromkeys((row["engine"], row["dtype"]) for row in rows):
        one, more = table.get((engine, dtype, 1)), table.get((engine, dtype, many))
        name = f"**{engine}** {dtype}" if engine == "tokenspeed" else f"{engine} {dtype}"
        cells.append(
            [
                name,
                _time(one, "first_token"),
                _time(one, "inter_token"),
                _time(one, "verify_24"),
                _time(more, "inter_token"),
                f"{one['memory_mib']:.0f}" if one else "",
            ]
        )
    titles = f"engine | first token of 40, ms | a token, ms | verify 24, ms | step of {many}, ms"
    return markdown_table(titles + " | memory, MiB", "lrrrrr", cells)


def _time(row: Row | None, name: str) -> str:
    if row is None:
        return ""
    low, middle, high = (row[f"{name}_ms_p{p}"] for p in (10, 50, 90))
    return f"{middle:.2f} <sub>{low:.2f} to {high:.2f}</sub>"


def _goals(result: Row) -> str:
    cells: list[tuple[object, ...]] = []
    for name, (text, goal) in GOALS.items():
        if (value := result["ratios"].get(name)) is not None:
            verdict = "reached" if value <= goal else "**missed**"
            cells.append((text, goal, f"{value:.2f}", verdict))
    for row in result["rows"]:
        for name, floor in result.get("floor_ms", {}).get(row["dtype"], {}).items():
            if row["engine"] == "tokenspeed" and row["streams"] == 1:
                share = row["inter_token_ms_p50"] / floor
                text = f"a token, {row['dtype']}, to reading its weights at the rate of {name}"
                cells.append((text, "", f"{share:.2f}", ""))
    return markdown_table("ratio | goal | measured | ", "lrrl", cells)
