"""What all connections share: the engine's state, as probes and the door see it."""

import pytest

from service.config import Config
from service.doors.state import HANGING_STEP_S, SLOW_STEP_S, AppState
from service.translator import Translator
from tests.service.fakes import FakeEngine, FakePrompts, FakeTokenizer


def app_state(engine: FakeEngine) -> AppState:
    config = Config()
    translator = Translator(engine, FakeTokenizer(), FakePrompts(), 4096, 0.2)
    return AppState(config, translator, "fake", engine)


@pytest.mark.parametrize(
    ("changes", "problem", "is_lost"),
    [
        ({}, None, False),
        ({"step_s": SLOW_STEP_S / 2}, None, False),
        ({"step_s": SLOW_STEP_S + 1}, "a step of the engine hangs", False),
        ({"step_s": HANGING_STEP_S + 1}, "a step of the engine hangs", True),
        ({"is_alive": False}, "the engine has stopped", True),
    ],
)
def test_what_the_engine_is_like_is_told(
    changes: dict[str, float], problem: str | None, is_lost: bool
) -> None:
    state = app_state(FakeEngine(**changes))  # type: ignore[arg-type]
    assert (state.problem(), state.is_lost()) == (problem, is_lost)


def test_there_is_room_until_the_machine_is_full() -> None:
    assert app_state(FakeEngine(row_s=1e-6)).has_room()
    slow = app_state(FakeEngine(row_s=0.1))
    assert slow.has_room()  # for one
    slow.admission.open("s", slow.now_s())
    assert not slow.has_room()


def test_the_interval_of_partials_fades_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    state = app_state(FakeEngine())
    state.admission.interval_s = 0.5
    assert state.partial_interval_s() == pytest.approx(0.5, rel=0.2)
    begin_s = state.now_s()
    monkeypatch.setattr(state, "now_s", lambda: begin_s + 20.0)
    assert state.partial_interval_s() == 0.0


def test_nobody_is_there_while_there_is_no_line_no_request_and_no_step() -> None:
    state = app_state(engine := FakeEngine())
    assert state.is_idle()
    with state.gate.passing("client"):
        assert not state.is_idle()
    state.connections.add(line := object())  # type: ignore[arg-type]
    assert not state.is_idle()
    state.connections.remove(line)  # type: ignore[arg-type]
    engine.running["place"] = None  # type: ignore[assignment]
    assert not state.is_idle()
    engine.running.clear()
    assert state.is_idle()
