"""Full collections come while nobody is there, and do not look at what lasts."""

import subprocess
import sys

# In a process of its own: thresholds and what is frozen hold for a whole process.
PROGRAM = """
import gc
from service.load import garbage

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
garbage.tidy()
assert not full(), "what lasts was not told"
kept = [[] for _ in range(100_000)]
full()
garbage.settle()
assert (full(), Knot.alive) == (1, 0)
assert sum(map(len, map(gc.get_objects, range(3)))) < 1000, "it is looked through again"
assert gc.get_threshold() == garbage.THRESHOLDS
garbage.tidy()
assert not full(), "nothing has come since"
most, grown = 0, []
for _ in range(100_000):
    grown.append([])
    most = max(most, len(gc.get_objects(0)) if len(grown) % 1000 == 0 else 0)
assert not full(), "a hundred thousand objects are no reason, while somebody is there"
assert most <= 2 * garbage.THRESHOLDS[0]
Knot()
garbage.tidy()
assert (full(), Knot.alive) == (1, 0)
"""


def test_what_lasts_is_left_alone_and_the_rest_looked_through_when_nobody_is_there() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
