"""What hygiene costs, on a clock that is told what time it is."""

from itertools import count

from tokenspeed.bench.quality.text.cases import Case
from tokenspeed.bench.quality.text.cost import cost_row, update_costs
from tokenspeed.text.pipeline import Hygiene


def test_each_word_is_an_update_with_its_time() -> None:
    ticks = count(0, 0.25)
    cases = [Case("k", "en", "de", "We go home 👍 and <b>rest</b>. Now.", bool)]
    costs = update_costs(cases, lambda a, b: Hygiene(source=a, target=b), lambda: next(ticks))
    assert len(costs) >= 7
    assert set(costs) == {250.0}
    row = cost_row(costs)
    assert (row["kind"], row["updates"]) == ("cost/update", len(costs))
    assert row["p50_ms"] == row["p95_ms"] == row["p99_ms"] == 250.0
