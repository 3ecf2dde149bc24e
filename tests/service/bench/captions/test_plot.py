"""The plot is well-formed and puts marks where their numbers are."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.captions.plot import (
    CHARACTER_WIDTH,
    HEIGHT,
    LABEL_HEIGHT,
    WIDTH,
    Point,
    scatter,
    ticks,
)

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = st.floats(-1e4, 1e4)


POINT = st.builds(Point, st.text("ab<&'", max_size=5), NUMBER, NUMBER, NUMBER)


@given(st.lists(POINT, min_size=1, max_size=20))
def test_any_points_make_a_document(points: list[Point]) -> None:
    root = ElementTree.fromstring(scatter(points, title="a < b", x_label="x", y_label="y"))
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == len(points)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT


def test_later_is_further_right_and_better_is_higher() -> None:
    points = [Point("early", 100, 40, 0), Point("late", 900, 50, 1, is_ours=True)]
    root = ElementTree.fromstring(scatter(points, title="t", x_label="x", y_label="y", note="n"))
    late, early = root.findall(f"{SVG}circle")  # large marks lie below small ones
    assert float(early.attrib["cx"]) < float(late.attrib["cx"])
    assert float(early.attrib["cy"]) > float(late.attrib["cy"])
    assert float(early.attrib["r"]) < float(late.attrib["r"])


def test_labels_lie_neither_on_marks_nor_on_one_another() -> None:
    points = [Point(f"policy {i} (0.5)", 1000 + 60 * i, 50 + i % 2, i / 4) for i in range(6)]
    points.append(Point("far to the right (0.0)", 9000, 50.5, 0))
    root = ElementTree.fromstring(scatter(points, title="t", x_label="x", y_label="y"))
    boxes = []
    for label in [p.label for p in points]:
        text = next(node for node in root.findall(f"{SVG}text") if node.text == label)
        width, x = len(label) * CHARACTER_WIDTH, float(text.attrib["x"])
        left = x if text.attrib["text-anchor"] == "start" else x - width
        boxes.append((left, float(text.attrib["y"]) - 11, left + width))
    for circle in root.findall(f"{SVG}circle"):
        x, y, r = (float(circle.attrib[key]) for key in ("cx", "cy", "r"))
        boxes.append((x - r, y - r, x + r))
        for left, top, right in boxes[: len(points)]:
            is_beside = right <= x - r + 0.1 or x + r <= left + 0.1
            assert is_beside or top + LABEL_HEIGHT <= y - r + 0.1 or y + r <= top + 0.1
    for i, (left, top, right) in enumerate(boxes[: len(points)]):
        for other_left, other_top, other_right in boxes[:i]:
            is_apart = right <= other_left or other_right <= left
            assert is_apart or abs(top - other_top) >= LABEL_HEIGHT - 0.2


@given(NUMBER, st.floats(1e-3, 1e4))
def test_ticks_cover_the_range_with_few_round_numbers(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert found[0] <= low + 1e-6
    assert found[-1] >= low + width - 1e-6
    assert 2 <= len(found) <= 14


def test_nothing_is_not_plotted() -> None:
    with pytest.raises(ValueError, match="nothing to plot"):
        scatter([], title="t", x_label="x", y_label="y")
    with pytest.raises(ValueError, match="expected low < high"):
        ticks(float("nan"), 1.0)
