"""The service on a real Ray cluster with a real Redis: what a reader and a speaker see of it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.ray import Arguments, app
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.doors.test_app import close_code
from tests.service.process import ROOT, environment
from tests.service.ray_cluster import Cluster, until_gone
from tests.service.redis_server import RedisServer

pytestmark = pytest.mark.timeout(300)

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(shared: RedisServer, tiny_translator: Path) -> Iterator[Cluster]:
    """A cluster of one machine, with two replicas."""
    found = Cluster(
        TOKENSPEED_REDIS_URL=shared.url,
        TOKENSPEED_MODEL=str(tiny_translator),
        TOKENSPEED_ADMISSION="0",
    )
    try:
        found.deploy(**TWO)
        yield found
    finally:
        found.stop()


TWO = {"replicas": 2, "cpus_per_replica": 0.1}


async def test_every_door_opens_through_the_proxy(cluster: Cluster) -> None:
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


async def test_a_session_speaks_and_a_reader_reads(cluster: Cluster) -> None:
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


async def test_what_our_own_lines_would_refuse_is_refused(cluster: Cluster) -> None:
    async with session(cluster.ws) as client:
        await client.until(p.SessionCreated)
        await client.socket.send("x" * 70_000)
        assert await close_code(client) == 1009
    async with session(cluster.ws, subprotocols=["other"]) as client:
        assert await close_code(client) == p.CLOSE_BAD_SESSION
    async with httpx.AsyncClient(base_url=cluster.http, trust_env=False, timeout=60) as http:
        foreign = await http.get("/readyz", headers={"host": "evil.example"})
        assert foreign.status_code == 403


async def test_a_replica_that_goes_lets_its_sessions_finish(cluster: Cluster) -> None:
    clients: list[Client] = []
    async with asyncio.timeout(PATIENCE_S):
        contexts = [session(cluster.ws) for _ in range(8)]
        try:
            for number, each in enumerate(contexts):
                client = await each.__aenter__()
                clients.append(client)
                await client.start("de")
                await client.send(p.SourceUpdate(1, "The train leaves", segment_id=f"s{number}"))
                await client.until(p.TranslationDelta)
            before = set(cluster.replicas())
            await asyncio.to_thread(cluster.deploy, **TWO | {"replicas": 1})
            gone = before - set(cluster.replicas())
            ended = [asyncio.create_task(close_code(client)) for client in clients]
            done, left = await asyncio.wait(ended, timeout=5)
            assert done  # those of the replica that went
            assert {task.result() for task in done} == {1001}
            for client, task in zip(clients, ended, strict=True):
                finals = [e for e in client.received if isinstance(e, p.TranslationFinal)]
                assert len(finals) == (1 if task in done else 0)
                assert (client.received[-1].type == "session.closed") == (task in done)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        finally:
            for each in contexts[: len(clients)]:
                await each.__aexit__(None, None, None)
    until_gone(gone)
    await asyncio.to_thread(cluster.deploy, **TWO)
    assert len(cluster.replicas()) == 2


def test_replicas_without_redis_are_told_loudly(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKENSPEED_REDIS_URL", raising=False)
    app(Arguments())
    assert not caplog.records
    app(Arguments(replicas="auto"))
    assert "know nothing of each other" in caplog.text


def test_the_usage_statistics_of_ray_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    app(Arguments())
    from ray._common.usage.usage_lib import usage_stats_enabled

    assert not usage_stats_enabled()


def test_serve_without_ray_imports_none_of_it() -> None:
    script = (
        "import sys, tokenspeed.cli, service.cli, service.start, service.doors.server\n"
        "tokenspeed.cli.parse(['serve', '--port', '0'])\n"
        "print('ray' in sys.modules, 'service.ray' in sys.modules)"
    )
    told = subprocess.check_output([sys.executable, "-c", script], text=True, env=environment())
    assert told == "False False\n"


def test_serve_on_ray_as_a_process(tiny_translator: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "tokenspeed", "serve", "--replicas", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    assert (refused.returncode, refused.stderr) == (2, "tokenspeed: --replicas: goes with --ray\n")
