"""How many replicas there should be, from what each reports about itself.

Connections alone say little: a speaker costs a hundred times what a reader does, and a machine is
as full as its model makes it. So each replica says what share of its bearable load it has (see
admission.py) and what p95 one more speaker would find. Knows numbers; does not know Ray, but for
the name of what Ray hands over. Ray takes this module into its controller as it is, so that it
imports nothing of ours.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

BUSY: Final = "busy"  # share of the bearable load
LATE: Final = "late"  # p95 of an update with one more speaker, relative to the budget

TARGET: Final = 0.6  # of a replica's bearable load; the rest is for a crowd or a lost replica
SLACK: Final = 0.1  # below TARGET that the others would have to be before a replica goes
MIN_BUSY: Final = 0.3  # below it lateness has other causes, and more replicas help nothing


def wanted_replicas(busy: Sequence[float], late: Sequence[float], target: int) -> int:
    """Return how many replicas there should be.

    Args:
        busy, late: of each replica that has said something of itself.
        target: how many there should have been until now.
    """
    if len(busy) < target:
        return target  # some are still starting: wait to see what they take over
    total = sum(busy)
    wanted = max(math.ceil(total / TARGET), 1)
    if late and min(late) > 1.0 and total > MIN_BUSY * len(busy):
        wanted = max(wanted, len(busy) + 1)  # no replica has room for one more speaker
    if wanted < target:  # fewer, but as many as have the slack
        wanted = min(target, max(math.ceil(total / (TARGET - SLACK)), 1))
    return wanted


def policy(context: Any) -> tuple[int, dict[str, Any]]:
    """Answer Ray Serve's autoscaler; its bounds and delays apply to what is returned.

    Args:
        context: `ray.serve.config.AutoscalingContext`.
    """
    said = context.aggregated_metrics or {}
    busy, late = (list(said.get(name, {}).values()) for name in (BUSY, LATE))
    return wanted_replicas(busy, late, context.target_num_replicas), {}
