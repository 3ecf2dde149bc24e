"""The plot is well-formed and puts marks where their numbers are."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.evaluation.plot import HEIGHT, WIDTH, Point, scatter, ticks

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
