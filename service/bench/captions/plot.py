"""A scatter plot as SVG: quality against latency, the size of a mark says how much is rewritten.

Writes plain SVG by hand, readable on light and dark pages; knows nothing of what it plots.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 50, 60
MIN_RADIUS, RADIUS_RANGE = 4.0, 14.0
FONT = "font-family='system-ui, sans-serif'"
INK, GRID, OURS, OTHERS = "#7a7f87", "#7a7f8740", "#d9480f", "#1c7ed6"
LABEL_HEIGHT, CHARACTER_WIDTH = 14, 6.6


@dataclass(frozen=True, slots=True)
class Point:
    """A mark: `size` from 0 (smallest) upwards, 1 and more being as large as it gets."""

    label: str
    x: float
    y: float
    size: float
    is_ours: bool = False


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return round numbers that cover a range.

    Raises:
        ValueError: the range is empty or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"the range is {low} to {high}, expected low < high")
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min(factor for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, last + 1)]


def scatter(
    points: Sequence[Point], *, title: str, x_label: str, y_label: str, note: str = ""
) -> str:
    """Return the plot as one SVG document.

    Raises:
        ValueError: there are no points, or one of them is not finite.
    """
    if not points:
        raise ValueError("there is nothing to plot")
    x_ticks = ticks(*_spread([point.x for point in points]))
    y_ticks = ticks(*_spread([point.y for point in points]))

    def across(x: float) -> float:
        share = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        share = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>",
        f"<title>{escape(title)}</title>",
        _text(WIDTH / 2, 24, title, size=16),
        _text(WIDTH / 2, HEIGHT - 16, x_label),
        f"<g transform='rotate(-90 18 {HEIGHT / 2})'>{_text(18, HEIGHT / 2, y_label)}</g>",
    ]
    for x in x_ticks:
        parts.append(_line(across(x), TOP, across(x), HEIGHT - BOTTOM))
        parts.append(_text(across(x), HEIGHT - BOTTOM + 18, f"{x:g}"))
    for y in y_ticks:
        parts.append(_line(LEFT, up(y), WIDTH - RIGHT, up(y)))
        parts.append(_text(LEFT - 8, up(y) + 4, f"{y:g}", anchor="end"))
    marks = sorted(points, key=lambda p: -p.size)  # large ones lie below small ones
    circles = [(across(p.x), up(p.y), _radius(p.size)) for p in marks]
    for point, (x, y, radius) in zip(marks, circles, strict=True):
        color = OURS if point.is_ours else OTHERS
        parts.append(
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius:.1f}' fill='{color}' "
            f"fill-opacity='0.45' stroke='{color}'/>"
        )
    taken = [_Box(x - r, y - r, x + r, y + r) for x, y, r in circles]
    for point, circle in zip(marks, circles, strict=True):
        color = OURS if point.is_ours else OTHERS
        box, anchor = _free(taken, circle, len(point.label) * CHARACTER_WIDTH)
        taken.append(box)
        near = box.left if anchor == "start" else box.right
        middle = (box.top + box.bottom) / 2
        if abs(middle - circle[1]) > LABEL_HEIGHT:  # too far from its mark to do without a line
            parts.append(_line(circle[0], circle[1], near, middle, color))
        parts.append(_text(near, middle + 4, point.label, anchor=anchor, color=color))
    if note:
        parts.append(_text(WIDTH - RIGHT, TOP - 8, note, anchor="end", size=11))
    return "\n".join([*parts, "</svg>\n"])


def _spread(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    is_flat = high - low < 1e-6
    margin = max(abs(high) * 0.1, 1.0) if is_flat else 0.05 * (high - low)
    return low - margin, high + margin


def _radius(size: float) -> float:
    return MIN_RADIUS + RADIUS_RANGE * math.sqrt(min(max(size, 0.0), 1.0))


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Box") -> bool:
        is_beside = self.right <= other.left or other.right <= self.left
        return not (is_beside or self.bottom <= other.top or other.bottom <= self.top)


def _free(
    taken: Sequence[_Box], circle: tuple[float, float, float], width: float
) -> tuple[_Box, str]:
    """Find room for a label beside its mark, else above or below; also return its near end."""
    x, y, radius = circle
    found: tuple[_Box, str] | None = None
    for row in range(2 * (HEIGHT // LABEL_HEIGHT)):
        shift = LABEL_HEIGHT * ((row + 1) // 2) * (1 if row % 2 else -1)
        top = y + shift - LABEL_HEIGHT / 2
        for left, anchor in ((x + radius + 5, "start"), (x - radius - 5 - width, "end")):
            box = _Box(left, top, left + width, top + LABEL_HEIGHT)
            is_inside = LEFT <= left and box.right <= WIDTH and TOP <= top <= HEIGHT - BOTTOM
            found = found or (box, anchor)
            if is_inside and not any(box.meets(other) for other in taken):
                return box, anchor
    assert found is not None
    return found  # no room anywhere: better overlapping than missing


def _line(x1: float, y1: float, x2: float, y2: float, color: str = GRID) -> str:
    at = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line {at} stroke='{color}' stroke-width='{1 if color == GRID else 0.5}'/>"


def _text(
    x: float, y: float, text: str, *, anchor: str = "middle", size: int = 12, color: str = INK
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' "
        f"fill='{color}' {FONT}>{escape(text)}</text>"
    )
