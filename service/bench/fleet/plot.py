"""Lines over time as an SVG, readable on light and dark pages. Knows only numbers."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

WIDTH: Final = 760
HEIGHT: Final = 320
LEFT: Final = 70
RIGHT: Final = 190
TOP: Final = 44
BOTTOM: Final = 40
COLORS: Final = ("#3a86c8", "#c8643a", "#5a9e4b", "#9a5ab8", "#b8a13a", "#4bb0a8")
INK: Final = "#888"
NUM_MARKS: Final = 5  # of each axis, or a few more
DASHES: Final = ("", "7 4", "2 3")  # by turns: a line that lies on another shows it

Series = tuple[str, Sequence[tuple[float, float]]]


def lines(title: str, across: str, up: str, series: Sequence[Series]) -> str:
    """Return a plot.

    Args:
        across, up: labels of the axes, with units.
        series: a name and its points, each in order.
    """
    most_x = max(x for _, points in series for x, _ in points)
    least_x = min(x for _, points in series for x, _ in points)
    most_y = max(max(y for _, points in series for _, y in points), 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * (x - least_x) / max(most_x - least_x, 1e-9),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / most_y,
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="10" y="22" font-size="15" fill="{INK}">{escape(title)}</text>',
        f'<text x="10" y="38" fill="{INK}">{escape(up)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end" fill="{INK}">'
        f"{escape(across)}</text>",
    ]
    for mark in marks(0.0, most_y):
        _, y = place(least_x, mark)
        parts += [
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{INK}" '
            f'stroke-opacity="0.25"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">'
            f"{mark:,.10g}</text>",
        ]
    for mark in marks(least_x, most_x):
        x, _ = place(mark, 0.0)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="{INK}">'
            f"{mark:,.10g}</text>"
        )
    for i, (name, points) in enumerate(series):
        color = COLORS[i % len(COLORS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
        y = TOP + 14 + 18 * i
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2" '
            f'stroke-dasharray="{DASHES[i % len(DASHES)]}"/>',
            f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="10" height="10" fill="{color}"/>',
            f'<text x="{WIDTH - RIGHT + 27}" y="{y}" fill="{INK}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def marks(least: float, most: float) -> list[float]:
    """Return round numbers from `least` to `most`, about `NUM_MARKS` of them."""
    rough = max(most - least, 1e-9) / (NUM_MARKS - 1)
    unit = 10 ** math.floor(math.log10(rough))
    step = unit * min((1, 2, 5, 10), key=lambda each: abs(math.log(rough / (each * unit))))
    first, last = math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9)
    return [round(i * step, 9) for i in range(first, last + 1)]
