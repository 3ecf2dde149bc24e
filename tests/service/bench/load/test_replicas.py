"""What is lost with a replica: nothing, where sessions are shared. Real processes, a real Redis."""

import json
from collections import Counter
from pathlib import Path

import pytest

from service.bench.load.replicas import FAULTS, Reader, Speaker, Watched, replicas_table
from service.wire import protocol as p
from tests.service.redis_server import RedisServer
from tokenspeed.cli import main

STATS = p.FinalStats(0, 0, 0.0, 0.0)
ROOM = {"id": "room", "host_token": "token"}


def run(model: Path, path: Path, redis: RedisServer, *more: str) -> tuple[int, dict[str, int]]:
    arguments = ["bench", "replicas", "--redis", redis.url, "--model", str(model)]
    arguments += ["--device", "cpu", "--words-per-minute", "400", "--seconds", "2"]
    code = main([*arguments, *more, "--json", str(path)])
    return code, json.loads(path.read_text(encoding="utf-8"))["rows"][0]


def test_a_replica_that_is_paused_and_one_that_is_killed_lose_nothing(
    brief_translator: Path,
    tmp_path: Path,
    redis: RedisServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Who was paused comes back, and all go to it with the other one's death.
    more = ["--speakers", "4", "--viewers", "6", "--strikes", "pause,kill"]
    code, numbers = run(brief_translator, tmp_path / "found.json", redis, *more)
    assert {name: numbers[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert code == 0
    assert numbers["finals"] == numbers["segments"] >= 4
    assert numbers["lines_lost"] == numbers["resumed"] >= 4
    assert numbers["forgotten"] == 0
    assert numbers["recovery_ms_p95"] > 0
    assert "| resumed |" in capsys.readouterr().out


def test_a_redis_that_is_killed_and_a_replica_after_it_lose_nothing(
    brief_translator: Path, tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    arguments = ["bench", "replicas", "--redis", "own", "--model", str(brief_translator)]
    arguments += ["--device", "cpu", "--words-per-minute", "400", "--seconds", "2"]
    arguments += ["--speakers", "3", "--viewers", "3", "--strikes", "redis,kill"]
    assert main([*arguments, "--json", str(path)]) == 0
    (numbers,) = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert {name: numbers[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert numbers["lines_lost"] == numbers["resumed"] >= 1  # all of it was written once more


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--strikes", "flood"], "strikes are flood"),
        (["--strikes", "redis", "--redis", "redis://127.0.0.1:1/0"], "needs --redis own"),
        (["--replicas", "1"], "two replicas"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    more: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "replicas", *more]) == 2
    assert told in capsys.readouterr().err


def speaker(watched: Watched) -> Speaker:
    return Speaker(["127.0.0.1:1"], 0, watched, ROOM, "en", ["de"])


async def test_what_goes_wrong_at_a_speaker_is_counted() -> None:
    watched = Watched()
    found = speaker(watched)
    await found.commit("a", "we go")
    assert found.num_waiting == 1
    found._take(p.TranslationDelta("a", "de", 1, "Wir", "", seq=1))
    found._take(p.TranslationFinal("a", "de", "Ihr geht", "we go", STATS, seq=3))
    found._take(p.TranslationFinal("a", "de", "Wir gehen", "we go", STATS, seq=4))
    assert watched.faults == Counter(taken_back=1, gaps=1, finals_twice=1)
    assert found.num_waiting == 0


async def test_what_goes_wrong_at_a_reader_is_counted() -> None:
    watched = Watched()
    reader = Reader(["127.0.0.1:1"], 0, watched, "room", "de")
    reader._end("1", "Wir gehen", is_state=False)
    reader._end("1", "Wir gehen", is_state=True)  # is told of it again, as it stands
    assert not watched.faults
    reader._end("1", "Wir gehen", is_state=False)
    reader._end("1", "Wir ruhen", is_state=True)
    assert watched.faults == Counter(reader_finals_twice=2, reader_taken_back=1)
    assert reader.path() == "/v1/rooms/room/listen?target=de&last_seq=0"


def test_a_table_says_what_was_lost() -> None:
    watched = Watched(segments=2, recoveries_ms=[5.0, 9.0])
    watched.faults["gaps"] = 3
    table = replicas_table(watched)
    assert "| gaps | 3 |" in table
    assert "| recovery ms p95 | 9 |" in table
