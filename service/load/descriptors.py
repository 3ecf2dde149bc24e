"""How many connections the limit on open files allows.

Where a process has no descriptor left, it can neither take a connection nor turn one away. Knows
the operating system; does not know HTTP.
"""

import os
import resource
from dataclasses import dataclass
from typing import Final

SPARE: Final = 64  # descriptors for the page's files, logs and libraries
MAX_BACKLOG: Final = 128


@dataclass(frozen=True, slots=True)
class Room:
    """What fits within the limit on open files.

    Attributes:
        connections: at one time.
        backlog: that wait to be accepted. As many are accepted in one go, before anybody counts
            them, so that descriptors are kept for them.
    """

    connections: int
    backlog: int


def room_for(connections: int) -> Room:
    """Return the room for so many connections, or for fewer if the limit is too low.

    The soft limit is raised as far as that needs it, and as the hard limit allows.
    """
    used = len(os.listdir("/dev/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = used + SPARE + MAX_BACKLOG + connections
    if resource.RLIM_INFINITY != soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return Room(connections, MAX_BACKLOG)
    free = max(soft - used - SPARE, 0)
    backlog = max(min(free // 4, MAX_BACKLOG), 1)
    return Room(max(free - backlog, 0), backlog)
