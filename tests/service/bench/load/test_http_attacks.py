"""Beside requests that are dear to read a speaker loses nothing."""

import pytest

from service.bench.load.http_attacks import HTTP_ATTACKS
from service.bench.served import Served
from tests.service.bench.load.test_door_attacks import check_beside


@pytest.mark.parametrize("name", HTTP_ATTACKS)
async def test_a_speaker_beside_an_attack_loses_nothing(server: Served, name: str) -> None:
    await check_beside(server, HTTP_ATTACKS[name])
