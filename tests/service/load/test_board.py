"""One scrape of many replicas: nothing of any of them is lost, and each keeps its own."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.load.board import STALE_S, Board, merged
from service.load.metrics import Metrics
from tokenspeed.engine.core import EngineStats

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def said(updates: int, requests: int) -> str:
    metrics = Metrics(lambda: EngineStats(num_slots=1, requests=requests))
    for number in range(updates):
        metrics.updates.labels("en", "de", "partial").inc()
        metrics.update_seconds.labels("en", "de", "partial").observe(number / 10)
    return metrics.render().decode()


@given(st.dictionaries(st.integers(0, 9), st.tuples(st.integers(0, 3), st.integers(0, 9))))
def test_all_samples_of_all_replicas_are_there_and_no_others(
    replicas: dict[int, tuple[int, int]],
) -> None:
    texts = {rank: said(*counts) for rank, counts in replicas.items()}
    expected: Samples = {("tokenspeed_replicas", frozenset()): float(len(texts))}
    for rank, text in texts.items():
        for (name, labels), value in samples(text).items():
            expected[name, labels | {("replica", str(rank))}] = value
    assert samples(merged(texts)) == expected


def test_a_family_is_introduced_once() -> None:
    text = merged({0: said(1, 1), 1: said(2, 2)})
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    assert "# TYPE tokenspeed_update_seconds histogram" in heads


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text(), st.floats(0, 2 * STALE_S)), max_size=20),
)
def test_who_says_nothing_for_a_while_is_left_out(puts: list[tuple[int, str, float]]) -> None:
    now_s = 0.0
    board = Board(lambda: now_s)
    last: dict[int, tuple[float, str]] = {}
    for rank, text, pause_s in puts:
        board.put(rank, text)
        last[rank] = (now_s, text)
        now_s += pause_s
        fresh = {rank: text for rank, (at, text) in last.items() if at >= now_s - STALE_S}
        assert board.read() == fresh
