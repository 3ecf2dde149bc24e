"""How one replica does with a number of speakers: measured in the exact simulation, then looked up.

This is what makes ten thousand replicas affordable. How soon an update is answered depends on how
many speak at the same replica, and settles within a second or two, while speakers come and go over
minutes; so the exact simulation runs once for some numbers of speakers, and a fleet looks up its
replicas by theirs. How many the door lets in is up to the service's own `Admission`, fed with these
measurements.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.bench.fleet.exact import Fleet, Plan, steady
from service.bench.fleet.replica import Host
from service.bench.load.costs import MeasuredCost
from service.bench.load.simulator import BUDGET_MS, LinearCost
from service.load.admission import WINDOW_S, Admission, Work

# Edges of the histogram of response times, ms: each a fifteenth more than the last.
EDGES_MS: Final = np.geomspace(1.0, 60_000.0, 171)
WARM_S: Final = 8.0  # before measuring, so that the beginning does not count
LINE_S: Final = 6.0  # of the load test's longest sentence, about
SHORT: Final = 0.95  # of the speakers within the budget: a few more, and everybody is late
KNOCK_S: Final = 0.25  # between newcomers, when measuring how many the door lets in


@dataclass(frozen=True)
class Level:
    """One number of speakers on one replica, everybody let in.

    Attributes:
        p50_ms, p95_ms: of all updates. busy: share of the time that steps ran.
        updates_per_s, rows_per_s, steps_per_s: of all speakers. loop_share: of the event loop.
        step_s, row_s: of a step and of each of its rows, by the engine's own statistics.
        histogram: shares of the updates between EDGES_MS, and outside of them.
    """

    speakers: int
    p50_ms: float
    p95_ms: float
    busy: float
    updates_per_s: float
    rows_per_s: float
    steps_per_s: float
    loop_share: float
    step_s: float
    row_s: float
    histogram: tuple[float, ...]

    def numbers(self) -> dict[str, Any]:
        """Return the numbers for a result file."""
        found = {key: round(v, 5) for key, v in asdict(self).items() if key != "histogram"}
        return found | {"speakers": self.speakers}


def measure_level(
    cost: MeasuredCost | LinearCost, host: Host, speakers: int, seconds: float, seed: int = 0
) -> Level:
    """Run one replica with so many speakers, and watch it while all of them speak.

    They start one after another, and the beginning does not count: first sentences have no pauses
    between them yet, and starting all at once would ask for more than they ever do later.
    """
    arrivals = steady(speakers, WARM_S / 2, seed)
    fleet = Fleet(Plan(1, arrivals, WARM_S + seconds + LINE_S, has_door=False), cost, host, seed)
    outcome = fleet.run()
    times = [ms for at_s, ms in outcome.tally.updates if WARM_S <= at_s < WARM_S + seconds]
    stats = fleet.replicas[0].engine.stats()
    spoken_s = sum(client.script[-1].at_ms / 1e3 for client in fleet.clients) / speakers
    counts = np.histogram(times, np.concatenate([[0.0], EDGES_MS, [np.inf]]))[0]
    ordered = np.sort(times)
    return Level(
        speakers=speakers,
        p50_ms=float(ordered[len(ordered) // 2]),
        p95_ms=float(ordered[int(0.95 * len(ordered))]),
        busy=stats.busy_s / spoken_s,
        updates_per_s=outcome.tally.said / spoken_s,
        rows_per_s=stats.live_rows / spoken_s,
        steps_per_s=stats.steps / spoken_s,
        loop_share=outcome.tally.said / spoken_s * host.loop_ms / 1e3,
        step_s=stats.step_s,
        row_s=stats.row_s,
        histogram=tuple(counts / counts.sum()),
    )


def measure_levels(
    cost: MeasuredCost | LinearCost, host: Host, seconds: float, seed: int = 0
) -> list[Level]:
    """Measure more and more speakers until p95 is over the budget, then narrow that number down.

    Above half the budget, the worse of two runs counts.

    Raises:
        ValueError: not even one speaker is answered in time.
    """
    found: dict[int, Level] = {}

    def is_within(speakers: int) -> bool:
        level = measure_level(cost, host, speakers, seconds, seed)
        if level.p95_ms > BUDGET_MS / 2:
            again = measure_level(cost, host, speakers, seconds, seed + 1)
            level = max(level, again, key=lambda each: each.p95_ms)
        found[speakers] = level
        return found[speakers].p95_ms <= BUDGET_MS

    good, bad = 0, 1
    while is_within(bad):
        good, bad = bad, 2 * bad
    if not good:
        raise ValueError(f"one speaker's p95 is {found[1].p95_ms:.0f} ms: a step is too slow")
    while bad - good > max(1, good // 24):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_within(middle) else (good, middle)
    return [found[speakers] for speakers in sorted(found)]


def measure_door(
    cost: MeasuredCost | LinearCost, host: Host, most: int, seconds: float, seed: int = 0
) -> tuple[int, float]:
    """Let speakers knock until the door takes no more.

    Args:
        most: speakers that come.
        seconds: to watch the door after the last has come.
    Returns:
        How many are in at the end, and p95 of the updates in those seconds, ms.
    """
    arrivals = [number * KNOCK_S for number in range(most)]
    plan = Plan(1, arrivals, arrivals[-1] + seconds, stops_s=arrivals[-1] + seconds)
    outcome = Fleet(plan, cost, host, seed).run()
    return outcome.sessions[0], outcome.p95_ms(arrivals[-1])


class Curve:
    """What a replica does, by its number of speakers.

    Args:
        levels: by number of speakers.
        host: what they were measured with.
        seed: of the times that the admission is fed with.

    Attributes:
        most: the largest number of speakers that it knows.
        histograms: [most + 1, bins], shares by number of speakers.
        newcomers: [most + 1], how many the door lets in within HEARD_S, by those that speak.
        busy: [most + 1], share of the bearable load, by the admission.
        predicted_s: [most + 1], p95 with one more speaker, by the admission.
        updates_per_s: of one speaker.
    """

    def __init__(self, levels: Sequence[Level], host: Host, seed: int = 0) -> None:
        self._levels = sorted(levels, key=lambda level: level.speakers)
        self._host = host
        self.most = self._levels[-1].speakers
        self.updates_per_s = self._levels[-1].updates_per_s / self.most
        self.histograms: NDArray[np.float64] = np.stack(
            [self._between("histogram", n) for n in range(self.most + 1)]
        )
        rng = random.Random(seed)
        said = [self._ask_door(n, rng) for n in range(self.most + 1)]
        self.newcomers = np.array([let_in for let_in, _, _ in said])
        self.busy = np.array([busy for _, busy, _ in said])
        self.predicted_s = np.array([predicted_s for _, _, predicted_s in said])

    @property
    def speakers_within_budget(self) -> int:
        """The most speakers whose p95 is within the budget."""
        return max(each.speakers for each in self._levels if each.p95_ms <= BUDGET_MS)

    @property
    def max_sessions(self) -> int:
        """The session limit to give a replica: a little below its capacity."""
        return max(int(SHORT * self.speakers_within_budget), 1)

    @property
    def bound(self) -> int:
        """How many the door lets in, one after another."""
        return int(np.argmax(self.newcomers == 0)) if (self.newcomers == 0).any() else self.most

    def p95_ms(self, speakers: int) -> float:
        """Return p95 of a replica's updates."""
        return quantile(self.histograms[speakers], 0.95)

    def _between(self, name: str, speakers: int) -> NDArray[np.float64]:
        """Return a value of the levels, interpolated between the measured ones."""
        numbers = [level.speakers for level in self._levels]
        i = min(max(bisect_left(numbers, speakers), 1), len(numbers) - 1)
        low, high = self._levels[i - 1], self._levels[i]
        weight = min(max((speakers - low.speakers) / (high.speakers - low.speakers), 0.0), 1.0)
        least, most = (np.asarray(getattr(level, name)) for level in (low, high))
        return np.asarray((1 - weight) * least + weight * most)

    def _ask_door(self, speakers: int, rng: random.Random) -> tuple[int, float, float]:
        """Feed an admission what it would have measured; return what it decides.

        That is how many it lets in at one time, how busy it is, and the p95 that it predicts.
        """
        now_s = 10 * WINDOW_S
        door = Admission(BUDGET_MS / 1e3, 0.0)
        told: list[tuple[float, str, float]] = []
        shares = np.cumsum(self.histograms[speakers])
        for number in range(speakers):
            name = f"speaker {number}"
            door.open(name, 0.0)
            door.observe(name, 0.0, 0.0)
            at_s = now_s - WINDOW_S + rng.random() / self.updates_per_s
            while at_s < now_s:
                chosen = min(int(np.searchsorted(shares, rng.random())), len(EDGES_MS) - 1)
                told.append((at_s, name, float(EDGES_MS[chosen]) / 1e3))
                at_s += 1 / self.updates_per_s
        for at_s, name, seconds in sorted(told):
            door.observe(name, seconds, at_s)
        scaled = {
            name: float(self._between(name, speakers)) * min(speakers, 1)
            for name in ("rows_per_s", "loop_share")
        }
        step_s, row_s = (float(self._between(name, speakers)) for name in ("step_s", "row_s"))
        for at_s in np.arange(now_s - WINDOW_S, now_s + 0.5):
            passed_s = at_s - now_s + WINDOW_S
            rows = int(scaled["rows_per_s"] * passed_s)
            door.measure(Work(rows, step_s, row_s, scaled["loop_share"] * passed_s), float(at_s))
        busy, predicted_s = door.busy(now_s), door.predict(now_s)
        let_in = 0
        while let_in <= self.most and door.admits(now_s):
            door.open(f"newcomer {let_in}", now_s)
            let_in += 1
        return let_in, busy, predicted_s


def quantile(histogram: NDArray[np.float64], share: float) -> float:
    """Return a quantile of a histogram over EDGES_MS, the upper edge of its bin; ms."""
    total = histogram.sum()
    if not total:
        return float("nan")
    at = int(np.searchsorted(np.cumsum(histogram) / total, share - 1e-12))
    return float(EDGES_MS[at]) if at < len(EDGES_MS) else float("inf")
