"""What text hygiene costs an update of live text: texts that grow word by word, without a model.

An update cuts the text so far, reads its pieces, and restores an output as long as the open one, as
a session does for one language. Times are of this thread's processor time, in milliseconds.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tokenspeed.bench.quality.text.cases import Case
from tokenspeed.text.pipeline import Hygiene, Piece
from tokenspeed.text.words import word_ends


def update_costs(
    cases: Iterable[Case],
    hygiene_of: Callable[[str, str], Hygiene],
    clock: Callable[[], float] = time.thread_time,
) -> list[float]:
    """Return milliseconds of each update of texts that come word by word."""
    costs = []
    for case in cases:
        hygiene = hygiene_of(case.source, case.target)
        pieces: list[Piece] = []
        for end in word_ends(case.text):
            began = clock()
            _update(case.text[:end], hygiene, pieces)
            costs.append((clock() - began) * 1e3)
    return costs


def cost_row(costs: list[float]) -> dict[str, Any]:
    """Return a row for a result file."""
    return {
        "kind": "cost/update",
        "updates": len(costs),
        "p50_ms": round(_percentile(costs, 50), 4),
        "p95_ms": round(_percentile(costs, 95), 4),
        "p99_ms": round(_percentile(costs, 99), 4),
    }


def _percentile(costs: list[float], share: float) -> float:
    return float(np.percentile(costs, share))


def _update(text: str, hygiene: Hygiene, pieces: list[Piece]) -> None:
    cuts = hygiene.cut(text)
    del pieces[len(cuts) :]
    for i, cut in enumerate(cuts):
        if i == len(pieces):
            pieces.append(hygiene.piece())
        is_open = i == len(cuts) - 1
        pieces[i].language = hygiene.source
        pieces[i].take(cut.text, is_open=is_open)
        if pieces[i].core and is_open:
            output = pieces[i].shown()
            pieces[i].placeholders.missing(pieces[i].core, pieces[i].restore(output))
