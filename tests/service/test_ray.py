"""The service on a real Ray cluster with a real Redis: what a reader and a speaker see of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.ray import Arguments, app, device_of
from service.wire import protocol as p
from tests.service.client import session
from tests.service.crowd import Crowd
from tests.service.doors.test_app import close_code
from tests.service.process import ROOT, environment, serving_anew
from tests.service.ray_cluster import Cluster
from tests.service.redis_server import RedisServer

pytestmark = pytest.mark.timeout(600)

PATIENCE_S = 90.0
SMALL = {"cpus_per_replica": 0.1}  # two cores for everything
RANKS = ('replica="0"', 'replica="1"')


@pytest.fixture
def cluster(own_redis: RedisServer, tiny_translator: Path) -> Iterator[Cluster]:
    """A cluster of one machine, with two replicas."""
    found = Cluster(
        TOKENSPEED_REDIS_URL=own_redis.url,
        TOKENSPEED_MODEL=str(tiny_translator),
        TOKENSPEED_ADMISSION="0",
        TOKENSPEED_MAX_SESSIONS="40",
    )
    try:
        found.deploy(**SMALL, replicas=2)
        yield found
    finally:
        found.stop()


async def test_replicas(cluster: Cluster, own_redis: RedisServer) -> None:
    """One after the other on one cluster: to start it takes longer than all of this."""
    await every_door_opens(cluster)
    nobody_is_less_urgent_than_other_programs(cluster)
    await a_session_speaks_and_a_reader_reads(cluster)
    await what_our_own_lines_would_refuse_is_refused(cluster)
    await a_scrape_speaks_of_all(cluster)
    await a_replica_is_killed(cluster)
    await redis_is_lost_and_comes_back(cluster, own_redis)
    await all_replicas_are_replaced(cluster)
    await there_are_more_and_then_fewer(cluster)
    await their_number_follows_how_full_they_are(cluster)


async def every_door_opens(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.http, trust_env=False, timeout=60) as http:
        assert (await http.get("/readyz")).json() == {"status": "ok"}
        page = await http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        told = await http.post("/translate", json={"q": "hi", "source": "en", "target": "de"})
        assert told.json().keys() >= {"translatedText"}
        said = [{"role": "user", "content": "hi"}]
        chat = {"messages": said, "translation": {"target": "de"}, "model": "x", "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=chat) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        assert (await http.get("/metrics")).status_code == 200
        assert (await http.get("/nowhere")).status_code == 404
        assert (await http.delete("/translate")).headers["allow"] == "POST"
        for _ in range(8):  # whichever replica answers, and whichever takes the session
            ticket = (await http.post("/v1/sessions")).json()
            assert ticket["url"] == cluster.ws
            async with session(f"{cluster.ws}?token={ticket['token']}") as client:
                (created,) = await client.until(p.SessionCreated)
                assert isinstance(created, p.SessionCreated)
                assert created.session.id == ticket["session_id"]


def nobody_is_less_urgent_than_other_programs(cluster: Cluster) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in cluster.replicas()} == {mine}


async def a_session_speaks_and_a_reader_reads(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.http, trust_env=False, timeout=60) as http:
        room = (await http.post("/v1/rooms", json={})).json()
        events = f"/v1/rooms/{room['id']}/events?target=de"
        async with (
            session(f"{cluster.ws}?token={room['host_token']}") as client,
            http.stream("GET", events) as reading,
        ):
            assert client.socket.subprotocol == p.SUBPROTOCOL
            await client.start("de", room=room["id"])
            await client.send(p.SourceUpdate(1, "Please tell me", segment_id="a"))
            await client.send(p.SourceCommit("a", text="Please tell me where."))
            (final,) = await client.until(p.TranslationFinal)
            assert isinstance(final, p.TranslationFinal)
            async for line in reading.aiter_lines():
                if '"translation.final"' in line:
                    assert json.loads(line.removeprefix("data: "))["text"] == final.text
                    break


async def what_our_own_lines_would_refuse_is_refused(cluster: Cluster) -> None:
    async with session(cluster.ws) as client:
        await client.until(p.SessionCreated)
        await client.socket.send("x" * 70_000)
        assert await close_code(client) == 1009
    async with session(cluster.ws, subprotocols=["other"]) as client:
        assert await close_code(client) == p.CLOSE_BAD_SESSION
    async with httpx.AsyncClient(base_url=cluster.http, trust_env=False, timeout=60) as http:
        foreign = await http.get("/readyz", headers={"host": "evil.example"})
        assert foreign.status_code == 403


async def a_scrape_speaks_of_all(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.http, trust_env=False, timeout=60) as http:

        async def is_heard() -> bool:
            told = (await http.get("/metrics")).text
            return all(rank in told for rank in RANKS) and "tokenspeed_replicas 2.0" in told

        await eventually(is_heard)


async def a_replica_is_killed(cluster: Cluster) -> None:
    """Without a word, in the middle of twenty sentences that sixty read."""
    async with Crowd(cluster.http, speakers=20, readers=3) as crowd:
        crowd.begin()
        await crowd.until_everybody_spoke()
        killed = cluster.kill_replica()
        await crowd.until_everybody_spoke()
        await crowd.finish()
    crowd.check()
    seconds = crowd.recovered_s()
    assert seconds
    p95 = seconds[len(seconds) * 95 // 100]
    sys.stderr.write(f"killed: {len(seconds)} lines came back, p95 after {p95:.2f} s\n")
    await eventually(lambda: as_many(cluster, 2, without=[killed]))


async def redis_is_lost_and_comes_back(cluster: Cluster, redis: RedisServer) -> None:
    async with Crowd(cluster.http, speakers=4, readers=2) as crowd:
        crowd.begin()
        await crowd.until_everybody_spoke()
        await asyncio.to_thread(redis.stop)
        await crowd.until_everybody_spoke()  # sessions go on
        await asyncio.to_thread(redis.start)
        await crowd.until_everybody_spoke()
        await crowd.finish()
    crowd.check()


async def all_replicas_are_replaced(cluster: Cluster) -> None:
    """By ones with other settings, one after the other."""
    before = cluster.replicas()
    async with Crowd(cluster.http, speakers=6, readers=2) as crowd:
        crowd.begin()
        await crowd.until_everybody_spoke()
        await asyncio.to_thread(cluster.deploy, **SMALL, replicas=2, settings={"token_s": 61.0})
        await eventually(lambda: as_many(cluster, 2, without=before))
        await crowd.until_everybody_spoke()
        await crowd.finish()
    crowd.check()
    assert crowd.num_lost >= len(crowd.speakers)  # each was on a replica that went


async def there_are_more_and_then_fewer(cluster: Cluster) -> None:
    same = {**SMALL, "settings": {"token_s": 61.0}}
    async with Crowd(cluster.http, speakers=6, readers=2) as crowd, AsyncExitStack() as stack:
        crowd.begin()
        await asyncio.to_thread(cluster.deploy, **same, replicas=1)
        await crowd.until_everybody_spoke()
        await asyncio.to_thread(cluster.deploy, **same, replicas=3)
        await crowd.until_everybody_spoke()
        clients = []
        for number in range(9):
            client = await stack.enter_async_context(session(cluster.ws))
            await client.start("de")
            await client.send(p.SourceUpdate(1, "The train leaves", segment_id=f"s{number}"))
            await client.until(p.TranslationDelta)
            clients.append(client)
        before = set(cluster.replicas())
        ends = [asyncio.create_task(close_code(client)) for client in clients]
        await asyncio.to_thread(cluster.deploy, **same, replicas=1)
        await eventually(lambda: as_many(cluster, 1))
        assert set(cluster.replicas()) < before  # who stays was there before
        await crowd.until_everybody_spoke()
        await crowd.finish()
        told_to_go = [each for each, end in zip(clients, ends, strict=True) if end.done()]
        assert told_to_go  # those of the replicas that went
        assert {end.result() for end in ends if end.done()} == {1001}
        for client in told_to_go:  # to go on elsewhere, in mid-sentence
            kinds = [event.type for event in client.received]
            assert kinds.count("session.going_away") == 1
            assert not {"translation.final", "session.closed"} & set(kinds)
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
    crowd.check()


async def their_number_follows_how_full_they_are(cluster: Cluster) -> None:
    auto = {"replicas": "auto", "max_replicas": 2, "upscale_delay_s": 0, "downscale_delay_s": 0}
    settings = {"token_s": 61.0, "max_sessions": 4}
    await asyncio.to_thread(cluster.deploy, **SMALL, **auto, settings=settings)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(session(cluster.ws))
        await eventually(lambda: as_many(cluster, 2))
    await eventually(lambda: as_many(cluster, 1))


async def as_many(cluster: Cluster, count: int, without: Collection[int] = ()) -> bool:
    """Whether there are so many replicas, and none of some processes."""
    found = cluster.replicas()
    return len(found) == count and not set(without) & set(found)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await check():  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def test_replicas_without_redis_are_told_loudly(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKENSPEED_REDIS_URL", raising=False)
    app(Arguments())
    assert not caplog.records
    app(Arguments(replicas="auto"))
    assert "know nothing of each other" in caplog.text


def test_replicas_are_replaced_where_they_would_differ_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKENSPEED_REDIS_URL", "redis://127.0.0.1:1/0")

    def version(**arguments: Any) -> str | None:
        return app(Arguments(**arguments))._bound_deployment.version

    same = {version(), version(replicas=3), version(replicas="auto", max_replicas=2)}
    assert len(same) == 1
    others = [
        version(settings={"token_s": 61.0}),
        version(cpus_per_replica=2.0),
        version(gpus_per_replica=1.0),
    ]
    monkeypatch.setenv("TOKENSPEED_MAX_SESSIONS", "3")
    assert len(same | {*others, version()} - {None}) == 5


def test_the_usage_statistics_of_ray_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    app(Arguments())
    from ray._common.usage.usage_lib import usage_stats_enabled

    assert not usage_stats_enabled()


@pytest.mark.parametrize(
    ("wanted", "gpus", "device", "visible"),
    [
        ("auto", 0.0, "auto", ""),
        ("auto", 0.5, "auto", "0,1,2"),
        ("auto", 1.0, "auto", "0,1,2"),
        ("auto", 3.0, "cuda:0,1,2", "0,1,2"),
        ("cpu", 0.0, "cpu", "0,1,2"),
    ],
)
def test_a_replica_uses_what_ray_has_set_aside(
    wanted: str, gpus: float, device: str, visible: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert device_of(wanted, gpus) == device
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_serve_without_ray_imports_none_of_it() -> None:
    script = (
        "import sys, tokenspeed.cli, service.cli, service.start, service.doors.server\n"
        "tokenspeed.cli.parse(['serve', '--port', '0'])\n"
        "print('ray' in sys.modules, 'service.ray' in sys.modules)"
    )
    told = subprocess.check_output([sys.executable, "-c", script], text=True, env=environment())
    assert told == "False False\n"


async def test_serve_on_ray_as_a_process(tiny_translator: Path) -> None:
    options = ("--ray", "--cpus-per-replica", "0.5")
    with serving_anew(tiny_translator, options=options, RAY_AUTH_TOKEN="0" * 64) as (
        process,
        port,
    ):
        async with session(f"ws://127.0.0.1:{port}/v1/stream") as client:
            await client.start("de")
            await client.send(p.SourceUpdate(1, "The train leaves", segment_id="a"))
            await client.until(p.TranslationDelta)
            process.send_signal(signal.SIGTERM)
            assert await close_code(client) == 1001
        assert client.received[-1].type == "session.closed"
        assert len([e for e in client.received if isinstance(e, p.TranslationFinal)]) == 1
        assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0


def test_what_goes_with_ray_alone_is_refused_without_it() -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "tokenspeed", "serve", "--replicas", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    assert (refused.returncode, refused.stderr) == (2, "tokenspeed: --replicas: goes with --ray\n")
