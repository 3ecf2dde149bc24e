"""What operators see: the service's counters and the engine's, read when somebody asks."""

from dataclasses import replace

from service.load.metrics import Metrics
from tokenspeed.engine.core import EngineStats


def lines(metrics: Metrics) -> dict[str, float]:
    text = metrics.render().decode()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_the_engines_counters_are_read_anew_each_time() -> None:
    stats = EngineStats(running=2, num_slots=16, steps=10, weight_bytes=1000)
    metrics = Metrics(lambda: stats)
    shown = lines(metrics)
    assert shown["tokenspeed_engine_running"] == 2
    assert shown["tokenspeed_engine_slots"] == 16
    assert shown["tokenspeed_engine_weight_bytes_read_total"] == 10_000
    stats = replace(stats, steps=20)
    assert lines(metrics)["tokenspeed_engine_steps_total"] == 20


def test_counters_have_language_pairs_and_services_share_none() -> None:
    first, second = Metrics(EngineStats), Metrics(EngineStats)
    first.updates.labels("en", "de", "partial").inc()
    name = 'tokenspeed_updates_total{kind="partial",source="en",target="de"}'
    assert lines(first)[name] == 1
    assert name not in lines(second)


def test_a_gauge_is_read_when_somebody_asks() -> None:
    metrics, value = Metrics(EngineStats), 1.0
    metrics.gauge("tokenspeed_something", "of the test", lambda: value)
    assert lines(metrics)["tokenspeed_something"] == 1.0
    value = 2.0
    assert lines(metrics)["tokenspeed_something"] == 2.0


def test_the_longest_stall_of_the_event_loop_is_kept() -> None:
    metrics = Metrics(EngineStats)
    for seconds, own_s in ((0.004, 0.004), (0.07, 0.002), (0.03, 0.02)):
        metrics.stalled(seconds, own_s)
    shown = lines(metrics)
    assert shown["tokenspeed_event_loop_longest_stall_seconds"] == 0.07
    assert shown["tokenspeed_event_loop_longest_work_seconds"] == 0.02
    assert shown['tokenspeed_event_loop_stall_seconds_bucket{le="0.05"}'] == 2


def test_outputs_that_were_no_translation_are_counted() -> None:
    metrics = Metrics(EngineStats)
    metrics.count_faults("de", 2, 1)
    text = metrics.render().decode()
    assert 'tokenspeed_output_faults_total{kind="output",target="de"} 2.0' in text
    assert 'tokenspeed_output_faults_total{kind="untranslated",target="de"} 1.0' in text
