"""The engine that its caller steps, and its clocks."""

from pathlib import Path

from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.manual_engine import ManualEngine, SimulatedClock, SkippingClock
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Completion, Request
from tokenspeed.errors import EngineStopped
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig


def test_it_says_what_the_engine_with_a_thread_says(tiny_model: Path) -> None:
    config = EngineConfig(num_slots=2, max_length=64, max_step_tokens=32)
    requests = [Request((5 + i, 6), max_new_tokens=6) for i in range(4)]
    engine = Engine(ReferenceBackend(open_checkpoint(tiny_model), config), eos_token_ids=())
    expected = [completion.tokens for completion in engine.run(requests)]
    engine.close()
    manual = ManualEngine(ReferenceBackend(open_checkpoint(tiny_model), config), eos_token_ids=())
    found: list[tuple[int, ...]] = []

    def deliver(tokens: tuple[int, ...], ending: Completion | EngineStopped | None) -> None:
        if isinstance(ending, Completion):
            found.append(ending.tokens)

    for request in requests:
        manual.submit(request, deliver)
    assert not manual.is_idle
    manual.run_until_idle()
    assert manual.is_idle
    assert sorted(found) == sorted(expected)
    dropped = manual.submit(Request((5, 6), max_new_tokens=6), deliver)
    dropped.cancel()
    manual.step()
    assert found[-1] == ()  # cancelled before its first step
    manual.close()


def test_a_clock_skips_forwards_alone() -> None:
    ticks = iter(range(100))
    clock = SkippingClock(lambda: float(next(ticks)))
    assert clock() == 0.0
    clock.skip_to(50.0)
    assert 50.0 <= clock() <= 53.0
    clock.skip_to(10.0)
    assert clock() > 50.0
    virtual = SimulatedClock()
    virtual.skip_to(3.0)
    virtual.skip_to(1.0)
    assert virtual() == 3.0
