"""Costs of steps: the committed measurements as they are, and nothing beyond them but lines."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.load.costs import RESULTS, MeasuredCost, h100_cards

POINTS = st.dictionaries(st.integers(1, 500), st.floats(0.1, 100), min_size=2, max_size=6)


@given(POINTS, st.integers(1, 1000), st.floats(0, 5))
def test_measured_widths_are_met_and_lines_lie_between(
    points: dict[int, float], rows: int, extra_ms: float
) -> None:
    widths = tuple(sorted(points))
    cost = MeasuredCost(widths, tuple(points[width] for width in widths), extra_ms)
    for width in widths:
        assert cost.ms(width, 0) == pytest.approx(points[width] + extra_ms)
    for low, high in pairwise(widths):
        if low <= rows <= high:
            least, most = sorted((points[low], points[high]))
            assert least - 1e-9 <= cost.ms(rows, 7) - extra_ms <= most + 1e-9
    assert cost.ms(rows, 0) > 0


@given(POINTS)
def test_beyond_what_was_measured_no_wider_step_is_cheaper(points: dict[int, float]) -> None:
    widths = tuple(sorted(points))
    cost = MeasuredCost(widths, tuple(points[width] for width in widths))
    beyond = [cost.ms(widths[-1] + more, 0) for more in range(0, 500, 50)]
    assert beyond[1:] == sorted(beyond[1:])


@pytest.mark.parametrize(
    ("widths", "times"), [((1,), (1.0,)), ((1, 2), (1.0,)), ((2, 1), (1.0, 2.0)), ((1, 1), (1, 1))]
)
def test_too_few_or_unordered_widths_are_refused(
    widths: tuple[int, ...], times: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="expected ascending|two at least"):
        MeasuredCost(widths, times)


def test_cards_have_the_committed_times() -> None:
    cards = h100_cards()
    assert list(cards) == ["default-38m int8", "llama-3-8b int4", "llama-3-70b int4"]
    large = json.loads((RESULTS / "h100-70b.json").read_text(encoding="utf-8"))["rows"][0]
    for width, ms in large["host_ms_by_width"].items():
        assert cards["llama-3-70b int4"].cost.ms(int(width), 0) == ms
    assert cards["llama-3-70b int4"].start_s == large["weights_s"] + large["start_s"]
    for card in cards.values():
        assert "H100" in card.gpu
        assert all((RESULTS / name).is_file() for name in card.sources)
        times = [card.cost.ms(rows, 0) for rows in range(1, 257)]
        assert times == sorted(times)


def test_a_result_without_such_rows_is_told(tmp_path: Path) -> None:
    for name in ("h100-families.json", "h100-update.json", "h100-70b.json"):
        text = json.dumps({"machine": {"gpu": "none"}, "rows": []})
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no rows of an H100"):
        h100_cards(tmp_path)
