"""Full collections come while nobody is there, else seldom, and do not look at what lasts."""

import subprocess
import sys

# In a process of its own: thresholds and what is frozen hold for a whole process.
PROGRAM = """
import gc
from service.load import garbage

class Clock:
    now_s = 0.0

    @classmethod
    def thread_time(cls):
        return cls.now_s

garbage.time = Clock  # collections take no time, unless said otherwise

class Knot:
    def __init__(self):
        self.itself = self
        Knot.alive += 1

    def __del__(self):
        Knot.alive -= 1

Knot.alive = 0
looks = []
gc.callbacks.append(lambda phase, info: looks.append((phase, info["generation"])))

def full():
    found = looks.count(("stop", 2))
    looks.clear()
    return found

Knot()
garbage.tidy(0.0, is_idle=True)
assert not full(), "what lasts was not told"
kept = [[] for _ in range(100_000)]
full()
garbage.settle()
assert (full(), Knot.alive) == (1, 0)
assert sum(map(len, map(gc.get_objects, range(3)))) < 1000, "it is looked through again"
assert gc.get_threshold() == garbage.THRESHOLDS
garbage.tidy(0.0, is_idle=True)
assert not full(), "nothing has come since"
most, grown = 0, []
for _ in range(100_000):
    grown.append([])
    most = max(most, len(gc.get_objects(0)) if len(grown) % 1000 == 0 else 0)
assert not full(), "a hundred thousand objects are no reason, while somebody is there"
assert most <= 2 * garbage.THRESHOLDS[0]
Knot()
garbage.tidy(100.0, is_idle=True)
assert (full(), Knot.alive) == (1, 0)


def later(seconds):
    Knot()
    made = [[] for _ in range(30_000)]
    full()
    garbage.tidy(seconds, is_idle=False)
    return full()


assert later(100.0 + garbage.PAUSE_S - 2.0) == 0, "somebody is there"
garbage.tidy(100.0 + garbage.PAUSE_S - 1.0, is_idle=True)
assert not full(), "somebody was there just now"
assert (later(100.0 + garbage.PAUSE_S), Knot.alive) == (1, 0), "somebody is always there"

def take_long(phase, info):
    Clock.now_s += 0.01 if info["generation"] == 2 else 0.0

gc.callbacks.append(take_long)
assert later(200.0) == 1
assert later(200.0 + garbage.PAUSE_S) == 0, "it took long"
garbage.tidy(200.0 + garbage.PAUSE_S + garbage.IDLE_S, is_idle=True)
assert full() == 1, "nobody came for a while"
"""


def test_what_lasts_is_left_alone_and_the_rest_looked_through_when_nobody_is_there() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
