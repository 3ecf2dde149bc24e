"""Somebody who speaks while somebody else attacks, in moments."""

import asyncio
from collections.abc import Sequence

from service.bench.load.attacks import Attack, Outcome
from service.bench.load.victim import SENTENCE, Report, speak
from service.bench.served import Served

ATTACK_S = 0.6
PACE_S = ATTACK_S / len(SENTENCE)  # one sentence


async def speak_beside(
    server: Served, attack: Attack, *, targets: Sequence[str] = ("de",)
) -> tuple[Report, Outcome]:
    """Say one sentence beside an attack; return what became of both.

    A machine that stands still for longer than an attack lasts lets nothing of it through: then
    both are tried again.
    """
    while True:
        attacking = asyncio.create_task(attack(server.address, ATTACK_S))
        report = await speak(server.address, 0.9 * ATTACK_S, pace_s=PACE_S, targets=targets)
        outcome = await attacking
        if outcome.sent:
            return report, outcome
