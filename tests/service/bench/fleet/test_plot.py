"""A plot is an SVG with its names and points."""

from xml.etree import ElementTree

from service.bench.fleet.plot import HEIGHT, WIDTH, lines, marks


def test_every_series_is_there_and_within_the_picture() -> None:
    text = lines(
        "a < b",
        "s",
        "%",
        [("one & two", [(0.0, 1.0), (1.0, 2.0)]), ("flat", [(0.0, 0.0), (2.0, 0.0)])],
    )
    root = ElementTree.fromstring(text)
    found = [each for each in root.iter() if each.tag.endswith("polyline")]
    assert len(found) == 2
    for line in found:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert "one &amp; two" in text


def test_marks_are_round_numbers() -> None:
    assert marks(0.0, 43_872.0) == [0, 10_000, 20_000, 30_000, 40_000]
    assert marks(1.0, 24.0) == [5, 10, 15, 20]
    assert marks(0.0, 34.2) == [0, 10, 20, 30]
    assert marks(0.0, 0.0) == [0]
