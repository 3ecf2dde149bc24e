"""What a step costs on a card, read from the committed results: nothing here is estimated.

A card is a model in one stored form on one GPU. Its step times are medians of rows measured there,
interpolated linearly between the measured widths and extrapolated beyond the widest.
"""

import json
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parents[3] / "benchmarks" / "results"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MeasuredCost:
    """Time of a step by its rows, as measured at some widths.

    Attributes:
        widths: rows of the measured steps, ascending, at least two.
        times_ms: of each.
        extra_ms: of every step on top: the engine's own work around it.
    """

    widths: tuple[int, ...]
    times_ms: tuple[float, ...]
    extra_ms: float = 0.0

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or len(self.widths) != len(self.times_ms):
            raise ValueError(f"{len(self.widths)} widths, {len(self.times_ms)} times; two at least")
        if list(self.widths) != sorted(set(self.widths)):
            raise ValueError(f"widths are {self.widths}, expected ascending ones")

    def ms(self, rows: int, context: int) -> float:
        """Return the time of a step; `context` was not measured, and does not count."""
        i = min(max(bisect_left(self.widths, rows), 1), len(self.widths) - 1)
        (low, high), (least, most) = self.widths[i - 1 : i + 1], self.times_ms[i - 1 : i + 1]
        at = least + (most - least) * (rows - low) / (high - low)
        # If a wider step was measured as faster, extrapolating must not make it faster still.
        return self.extra_ms + max(at, min(least, most))


@dataclass(frozen=True, slots=True)
class Card:
    """A model on one GPU.

    Attributes:
        cost: of a step. sources: the files that it comes from.
        start_s: from the start of a process to its first step, reading weights included.
    """

    name: str
    gpu: str
    cost: MeasuredCost
    start_s: float
    sources: tuple[str, ...]


def h100_cards(results: Path = RESULTS) -> dict[str, Card]:
    """Return the cards that were measured on one H100, by name.

    Raises:
        OSError: a result is missing.
        ValueError: a result lacks what a card needs.
    """
    families = _rows(results / "h100-families.json")
    update = _rows(results / "h100-update.json")
    small = [row for row in families if (row["shape"], row["dtype"]) == ("default-38m", "int8")]
    middle = [row for row in families if (row["shape"], row["dtype"]) == ("llama-3-8b", "int4")]
    wide = [
        row
        for row in update
        if (row["engine"], row["shape"], row["dtype"]) == ("tokenspeed", "llama-3-8b", "int4")
        and row["streams"] == 16
    ]
    large = [
        row
        for row in _rows(results / "h100-70b.json")
        if row.get("path") == "graph" and row["dtype"] == "int4" and "host_ms_by_width" in row
    ]
    gpu = _read(results / "h100-families.json")["machine"]["gpu"]
    if not (small and middle and wide and large):
        raise ValueError(f"{results} has no rows of an H100")
    by_width = {int(width): ms for width, ms in large[0]["host_ms_by_width"].items()}
    return {
        card.name: card
        for card in (
            Card("default-38m int8", gpu, _cost(small), _start_s(small), ("h100-families.json",)),
            Card(
                "llama-3-8b int4",
                gpu,
                _cost(middle + wide),
                _start_s(middle),
                ("h100-families.json", "h100-update.json"),
            ),
            Card(
                "llama-3-70b int4",
                gpu,
                MeasuredCost(tuple(sorted(by_width)), tuple(by_width[w] for w in sorted(by_width))),
                large[0]["weights_s"] + large[0]["start_s"],
                ("h100-70b.json",),
            ),
        )
    }


def _cost(rows: Iterable[Row]) -> MeasuredCost:
    """Return the cost from rows of `measure_backend`: of tokens, verifications and prompts."""
    times: dict[int, list[float]] = {}
    for row in rows:
        streams = row["streams"]
        times.setdefault(streams, []).append(row["inter_token_ms_p50"])
        if "verify_24_ms_p50" in row:
            times.setdefault(24, []).append(row["verify_24_ms_p50"])
        if "first_token_ms_p50" in row:
            prompt = streams * row.get("prompt_tokens", 64)
            times.setdefault(prompt, []).append(row["first_token_ms_p50"])
    widths = tuple(sorted(times))
    return MeasuredCost(widths, tuple(statistics.median(times[width]) for width in widths))


def _start_s(rows: Iterable[Row]) -> float:
    return max(row["start_s"] for row in rows)


def _rows(path: Path) -> list[Row]:
    return list(_read(path)["rows"])


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
