"""Who is let in and how often partials come, held against simulated machines and real sockets."""

import contextlib
import math
import random

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from service.bench.load.simulator import (
    BUDGET_MS,
    LinearCost,
    SimulatedLoad,
    Simulation,
    Traffic,
    random_script,
)
from service.load.admission import (
    ADAPT_S,
    FINALS_ALONE_S,
    GUESSED_ROWS_PER_S,
    LATE_FINAL_S,
    MAX_INTERVAL_S,
    MAX_LOAD,
    MIN_CROWD,
    MIN_INTERVAL_S,
    MIN_UPDATES,
    RECENT_S,
    WINDOW_S,
    Admission,
    Work,
)
from service.wire import protocol as p
from tests.service.asyncapi import check_frame
from tests.service.captions.desk import Desk, desk, update
from tests.service.client import session
from tests.service.conftest import Run
from tests.service.fakes import FakeEngine


def simulate(cost: LinearCost, sessions: int) -> tuple[SimulatedLoad, Admission]:
    """Let simulated speakers talk; return what became of it and what an admission learns of it."""
    rng = random.Random(1)
    scripts = [random_script(Traffic(), 5.0, rng) for _ in range(sessions)]
    simulation = Simulation(cost, scripts, num_slots=max(16, sessions + 4))
    report = simulation.run()
    stats = simulation.engine.stats()
    admission = Admission(BUDGET_MS / 1e3, 0.0)
    admission.measure(Work(0, stats.step_s, stats.row_s), 0.0)
    admission.measure(Work(stats.live_rows, stats.step_s, stats.row_s), report.seconds)
    answered = report.update_ms + report.final_ms
    for i, ms in enumerate(answered):
        admission.observe(f"s{i % sessions}", ms / 1e3, report.seconds * i / len(answered))
    return report, admission


@pytest.mark.parametrize(
    "cost", [LinearCost(20, 1.0), LinearCost(8, 1.5, 0.001), LinearCost(6, 0.9)]
)
def test_sessions_are_let_in_up_to_the_budget_and_not_beyond(cost: LinearCost) -> None:
    found = {}
    for sessions in range(2, 20):
        report, admission = simulate(cost, sessions)
        found[sessions] = report.p95_ms
        if not admission.admits(report.seconds):
            break
    assert not admission.admits(report.seconds)
    # The one before was asked and let this one in: its p95 is that of all of them now.
    assert found[sessions] <= 1.1 * BUDGET_MS
    # And it is no timid door: a few more would be late in truth.
    later = [simulate(cost, sessions + more)[0].p95_ms for more in (2, 4)]
    assert max(later) > 0.9 * BUDGET_MS


def test_a_prediction_is_what_a_larger_simulation_says() -> None:
    cost = LinearCost(4, 0.5, 0.001)
    report, admission = simulate(cost, 8)
    more = simulate(cost, 14)[0]
    # A little more: what is guessed of a speaker is not forgotten yet.
    now = admission.predict(report.seconds, 0) * 1e3
    assert report.p95_ms <= now == pytest.approx(report.p95_ms, rel=0.05)
    assert admission.predict(report.seconds, 6) * 1e3 == pytest.approx(more.p95_ms, rel=0.5)
    assert math.isinf(admission.predict(report.seconds, 100))


class Machine:
    """Speakers of one cost on a machine whose updates take as long as its load makes them."""

    def __init__(self, rows_per_s: float, row_s: float, alone_s: float) -> None:
        self.admission = Admission(BUDGET_MS / 1e3, 0.0)
        self.rows_per_s, self.row_s, self.alone_s = rows_per_s, row_s, alone_s
        self.now, self.rows, self.speakers = 0.0, 0.0, 0

    @property
    def load(self) -> float:
        return self.speakers * self.rows_per_s * self.row_s

    @property
    def update_s(self) -> float:
        return self.alone_s / max(1 - self.load / MAX_LOAD, 0.01)

    def come(self, count: int) -> None:
        """So many stand at the door at one moment."""
        for _ in range(count):
            if self.admission.admits(self.now):
                self.admission.open(f"s{self.speakers}", self.now)
                self.speakers += 1

    def run(self, seconds: float) -> None:
        """Let everybody speak, three updates a second."""
        end_s = self.now + seconds
        while self.now < end_s:
            self.now += 1 / 3
            self.rows += self.speakers * self.rows_per_s / 3
            for i in range(self.speakers):
                self.admission.observe(f"s{i}", self.update_s, self.now)
            self.admission.measure(Work(int(self.rows), self.alone_s / 4, self.row_s), self.now)


@settings(max_examples=30, deadline=None)
@given(
    rows_per_s=st.floats(10, 1.4 * GUESSED_ROWS_PER_S),
    row_s=st.floats(1e-4, 2e-3),
    alone_s=st.floats(0.005, 0.05),
    crowds=st.lists(st.tuples(st.integers(1, 60), st.floats(0.4, 4.0)), min_size=1, max_size=8),
)
@example(56.0, 0.002, 0.0361, [(5, 1.0), (1, 1.0), (1, 4.0), (1, 4.0), (1, 1.0)])  # all are dear
def test_a_crowd_that_comes_at_once_is_let_in_no_further_than_the_budget(
    rows_per_s: float, row_s: float, alone_s: float,
    crowds: list[tuple[int, float]],
) -> None:  # fmt: skip
    machine = Machine(rows_per_s, row_s, alone_s)
    machine.admission.measure(Work(0, alone_s / 4, row_s), 0.0)
    for count, pause_s in crowds:
        machine.come(count)
        # Some may always come, however dear they are: nothing is known before anybody speaks.
        assert machine.update_s <= 1.1 * BUDGET_MS / 1e3 or machine.speakers <= MIN_CROWD
        machine.run(pause_s)


def test_who_keeps_knocking_gets_in_as_far_as_the_machine_goes() -> None:
    machine = Machine(rows_per_s=20, row_s=6e-4, alone_s=0.02)
    machine.admission.measure(Work(0, 0.005, 6e-4), 0.0)
    machine.come(200)
    at_once = machine.speakers
    assert MIN_CROWD <= at_once < 30  # by the guess, which is a dear speaker
    for _ in range(30):
        machine.run(1.0)
        machine.come(200)
    assert machine.update_s <= BUDGET_MS / 1e3
    fitting = MAX_LOAD / (20 * 6e-4)
    assert 0.8 * fitting < machine.speakers < fitting


def test_an_event_loop_that_is_busy_shuts_the_door_too() -> None:
    admission = Admission(0.2, 0.0)
    for i in range(101):
        admission.measure(Work(i, 0.001, 1e-5, 0.075 * i), 0.1 * i)  # it works 75 % of the time
        admission.observe(f"s{i % 10}", 0.05, 0.1 * i)
    assert not admission.admits(10.0)


def test_before_anything_is_measured_steps_alone_speak() -> None:
    admission = Admission(0.2, 0.0)
    assert admission.admits(0.0)
    admission.measure(Work(10, 0.003, 0.0002), 1.0)
    assert admission.admits(1.0)
    for i in range(100):
        if not admission.admits(1.0):
            break
        admission.open(f"s{i}", 1.0)
    assert 20 < i < 100  # a crowd at the door is counted before it says a word
    assert admission.admits(1.0 + 2 * WINDOW_S)  # it says nothing: it costs nothing
    for k in range(i):
        admission.close(f"s{k}", 1.0)
    assert admission.admits(1.0)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=200))
def test_the_pace_follows_lateness_and_stays_within_bounds(times: list[float]) -> None:
    admission = Admission(0.2, 0.0)
    now = 0.0
    for seconds in times:
        for _ in range(MIN_UPDATES):
            now += ADAPT_S / MIN_UPDATES
            admission.observe("a", seconds, now)
        assert admission.interval_s == 0 or MIN_INTERVAL_S <= admission.interval_s
        assert admission.interval_s <= MAX_INTERVAL_S
    before = admission.interval_s
    for _ in range(400):  # all is quick again
        now += 0.1
        admission.observe("a", 0.01, now)
    assert admission.interval_s == 0 <= before


def test_late_updates_thin_partials_out() -> None:
    admission = Admission(0.2, 0.0)
    for i in range(100):
        admission.observe("a", 0.5, i * 0.05)
    assert admission.interval_s == MAX_INTERVAL_S


def test_partials_all_but_cease_while_finals_are_late() -> None:
    admission = Admission(0.2, 0.0)
    for i in range(100):
        admission.observe("a", 2 * LATE_FINAL_S, i * 0.05, is_final=i % 10 == 0)
    assert admission.interval_s == FINALS_ALONE_S
    for i in range(100, 300):  # finals are in time again, partials are not yet
        admission.observe("a", 0.9 * LATE_FINAL_S, i * 0.05, is_final=i % 10 == 0)
    assert admission.interval_s == MAX_INTERVAL_S


def test_a_burst_is_forgotten_with_time_though_nobody_speaks() -> None:
    admission = Admission(0.2, 0.0)
    for i in range(100):
        admission.observe("a", 0.5, i * 0.05)
    assert admission.interval_s == MAX_INTERVAL_S
    admission.refresh(5.0 + RECENT_S + 6.0)
    assert 0 < admission.interval_s < 0.5
    admission.refresh(5.0 + RECENT_S + 12.0)
    assert admission.interval_s == 0.0


def test_who_has_left_is_no_speaker_any_more() -> None:
    def admission(*, leave: bool) -> Admission:
        found = Admission(0.2, 0.0)
        found.measure(Work(0, 0.002, 0.002), 0.0)
        for i in range(100):  # eight speakers that fill the machine
            found.observe(f"s{i % 8}", 0.15, i * 0.05)
        found.measure(Work(1900, 0.002, 0.002), 5.0)
        for i in range(8 if leave else 0):
            found.close(f"s{i}", 5.0)
        return found

    assert not admission(leave=False).admits(5.0)
    assert admission(leave=True).admits(5.0)


def test_who_comes_into_an_empty_house_is_let_in_however_slow_the_machine_is() -> None:
    admission = Admission(0.2, 0.0)
    admission.open("s", 0.0)
    for i in range(100):
        admission.observe("s", 0.5, i * 0.05)
        admission.measure(Work(10 * i, 0.05, 0.05), i * 0.05)
    assert not admission.admits(5.0)
    admission.close("s", 5.0)
    assert admission.admits(5.0)


# ---- in a session ------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 0.4), st.booleans()), min_size=1, max_size=30),
    st.sampled_from([0.2, 0.5, 1.0]),
)
def test_partials_are_thinned_out_and_finals_never(
    events: list[tuple[float, bool]], interval_s: float
) -> None:
    d = desk(stability="low")
    d.interval_s = interval_s

    def run_due(until_s: float) -> None:
        while d.driver.next_tick_s() <= until_s:
            d.now = max(d.now, d.driver.next_tick_s())
            d.tick()
            d.answer()

    segment, text = 0, ""
    for pause, is_final in events:
        run_due(d.now + pause)
        d.now = max(d.now, d.now + pause)
        text += (" we", " go", " home", " today")[len(text.split()) % 4]
        name = f"s{segment}"
        d.send(update(text, len(text), name))
        d.answer()
        if is_final:
            before = len(d.of(p.TranslationFinal))
            d.send(p.SourceCommit(name))
            d.answer()
            assert len(d.of(p.TranslationFinal)) == before + 1
            assert (d.started[-1][0], d.started[-1][1].is_final) == (d.now, True)
            segment, text = segment + 1, ""
    run_due(d.now + 2 * interval_s)
    started = [(at, job.is_final) for at, job in d.started]
    partials = [at for at, is_final in started if not is_final]
    assert all(b - a >= interval_s - 1e-9 for a, b in zip(partials, partials[1:], strict=False))
    if text:  # what was put off came in the end
        assert shown(d).casefold() == text.strip().casefold()
    notices = d.of(p.SessionNotice)
    assert {notice.code for notice in notices} <= {"degraded"}


def shown(d: Desk) -> str:
    last = d.of(p.TranslationDelta)[-1].segment_id
    deltas = [delta for delta in d.of(p.TranslationDelta) if delta.segment_id == last]
    return "".join(delta.append for delta in deltas) + deltas[-1].unstable


# ---- over sockets ------------------------------------------------------------------------------


async def refused(url: str) -> tuple[p.Error, int | None]:
    async with session(url) as client:
        frame = await client.socket.recv()
        check_frame(frame)
        error = p.parse_server(frame)
        assert isinstance(error, p.Error)
        with contextlib.suppress(ConnectionClosed):
            await client.receive()
        return error, client.socket.close_code


async def test_a_new_session_is_refused_while_the_running_ones_go_on(run: Run) -> None:
    engine = FakeEngine(row_s=1e-6)
    service = run(engine)
    async with session(service.ws) as first:
        await first.start("de")
        await first.until(p.SessionUpdated)
        engine.row_s = 0.1
        service.state._measured_s = float("-inf")  # as if a second had passed
        error, code = await refused(service.ws)
        assert (error.error.code, error.error.retryable, code) == ("overloaded", True, 1013)
        await first.send(p.SourceCommit("a", text="good morning"))
        (final,) = await first.until(p.TranslationFinal)
        assert isinstance(final, p.TranslationFinal)
        assert final.text == "GOOD MORNING"
        engine.row_s = 1e-6
        service.state._measured_s = float("-inf")
        async with session(service.ws) as second:
            await second.until(p.SessionCreated)
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        text = (await http.get("/metrics")).text
    assert 'tokenspeed_sessions_refused_total{reason="overloaded"} 1.0' in text
    assert "tokenspeed_predicted_update_seconds " in text
    assert "tokenspeed_partial_interval_seconds 0.0" in text


async def test_the_door_can_be_left_open(run: Run) -> None:
    service = run(FakeEngine(row_s=0.1), admission=False)
    async with session(service.ws) as client:
        await client.until(p.SessionCreated)


async def test_a_busy_machine_tells_its_sessions(run: Run) -> None:
    service = run()
    service.state.admission.interval_s = 0.3
    async with session(service.ws) as client:
        await client.start("de", stability="low")
        for rev in range(1, 6):
            await client.send(p.SourceUpdate(rev, "we go home now"[: 2 * rev], segment_id="a"))
        (notice,) = await client.until(p.SessionNotice)
        assert isinstance(notice, p.SessionNotice)
        assert notice.code == "degraded"
        await client.send(p.SourceCommit("a", text="we go home now"))
        (final,) = await client.until(p.TranslationFinal)
        assert isinstance(final, p.TranslationFinal)
        assert final.text == "WE GO HOME NOW"
