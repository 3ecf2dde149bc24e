"""A dear machine's costs."""

from service.bench.fleet.replica import Host
from service.bench.load.costs import Card, MeasuredCost

COST = MeasuredCost((1, 16, 64), (28.0, 36.0, 90.0))
HOST = Host(loop_ms=2.0, step_ms=0.2)
CARD = Card("dear", "none", COST, start_s=3.0, sources=())
