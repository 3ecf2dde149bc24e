"""Every message of the server, each field and each code is sent by the real service."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from service.captions.glossaries import StoredGlossary, new_id
from service.captions.job import JobKey
from service.config import load_config
from service.load.limits import Limits
from service.wire import protocol as p
from tests.service.asyncapi import check_frame
from tests.service.client import Client, session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import BABBLE, FakeBackend, FakeEngine
from tests.service.process import serving
from tests.service.redis_server import RedisServer
from tests.service.wire.fields import paths_of, said_by
from tokenspeed.text.glossary import Term

KEY = "a-key-of-more-than-16"
WORDS = "Quid please tell me where the next train to the city leaves tomorrow morning".split()


async def hear(client: Client, *last: type[p.ServerEvent]) -> None:
    """Take in everything up to an event of the last kinds, or to the end of the connection.

    Unlike `Client.receive` it does not count: at the door and after a resume `seq` repeats.
    """
    with suppress(ConnectionClosed):
        while not (client.received and isinstance(client.received[-1], last)):
            async with asyncio.timeout(20):
                frame = await client.socket.recv()
            check_frame(frame)
            client.received.append(p.parse_server(frame))


async def cut(client: Client, service: Service) -> None:
    client.socket.transport.abort()
    await eventually(lambda: not service.state.connections)


async def a_model(url: str) -> Client:
    """Times and tokens of a real engine."""
    async with session(url) as client:
        await client.start("de", stability="low", timing=True, do_not_translate=("Quid",))
        for rev in range(1, len(WORDS) + 1):
            text = " ".join(WORDS[:rev])
            await client.send(p.SourceUpdate(rev, "", text, "a", start_ms=10, end_ms=90.0 * rev))
            await asyncio.sleep(0.06)
        await client.send(p.SourceCommit("a"))
        await hear(client, p.TranslationFinal)
        await client.send(p.SessionClose())
        await hear(client)
    return client


async def all_settings(service: Service) -> Client:
    terms = (Term("the house", "Haus"),)
    glossary = StoredGlossary(new_id(), "me", "mine", "en", "de", terms, 0.0)
    stored = await service.state.glossaries.add(glossary, 0.0)
    assert stored is not None
    async with session(service.ws) as client:
        for flag in (True, False):
            entry = p.GlossaryEntry("cable", "Kabel", case_sensitive=flag, language="de")
            await client.start(
                "de",
                mode="captions" if flag else "append_only",
                stability="low",
                context=2,
                glossary=(entry,),
                do_not_translate=("Quid",),
                partials=flag,
                timing=flag,
                capitals="keep" if flag else "sentence",
                profanity="raw" if flag else "mask",
            )
        for formality in p.FORMALITIES:
            wanted = p.SessionParams(targets=(p.TargetParams("de", formality),))
            await client.send(p.SessionUpdate(wanted))
        wanted = p.SessionParams(targets=(p.TargetParams("de", glossary_id=stored.id),))
        await client.send(p.SessionUpdate(wanted))
        await client.start("de", stability="balanced")
        await client.start("de", stability="high")
        await client.send(p.SourceCommit("b", text=BABBLE))
        await client.send(p.Ping("p"))
        await client.send(p.SessionClose())
        await hear(client)
    return client


async def refusals(service: Service) -> Client:
    """Needs limits of 20 characters and one open segment."""
    async with session(service.ws) as client:
        await client.start("de")
        for frame in (
            '{"type": "source.update", "event_id": "e"}',
            '{"type": "session.update", "session": {"targets": [{"language": "en",'
            ' "formality": "formal"}]}}',
            '{"type": "session.update", "session": {"room": "nowhere"}}',
            '{"type": "session.update", "session": {"targets": [{"language": "xx"}]}}',
            '{"type": "session.update", "session": {"do_not_translate": [""]}}',
            '{"type": "session.resume", "session_id": "", "resume_token": "", "last_seq": 1,'
            ' "epoch": ""}',
            '{"type": "source.cancel", "segment_id": "nobody"}',
        ):
            await client.socket.send(frame)
        await client.send(p.SourceUpdate(1, "we go home", segment_id="c"))
        await client.send(p.SourceCancel("c"))
        await client.send(p.SourceUpdate(1, "we go home now and we rest", segment_id="a"))
        await client.send(p.SourceUpdate(1, "another", segment_id="b"))
        await client.send(p.SessionClose())
        await hear(client)
    return client


async def a_mistaken_language(service: Service) -> Client:
    async with session(service.ws) as client:
        await client.start("en", source=p.SourceParams("fr"))
        await client.send(p.SourceCommit("a", text="Wir haben neue Kunden gewonnen."))
        await hear(client, p.TranslationFinal)
    return client


async def a_speech(service: Service) -> Client:
    async with session(service.ws) as client:
        await client.start("de")
        for rev in range(1, len(WORDS) + 1):
            await client.send(p.SourceUpdate(rev, " ".join(WORDS[:rev]), segment_id="a"))
            await asyncio.sleep(0.01)
        await client.send(p.SessionClose())
        await hear(client)
    return client


async def haste(service: Service) -> Client:
    async with session(service.ws) as client:
        await client.start("de")
        for rev in range(1, 6):
            await client.send(p.SourceUpdate(rev, " ".join(WORDS[:rev]), segment_id="a"))
        await client.send(p.SessionClose())
        await hear(client)
    return client


async def slow_reading(service: Service) -> Client:
    """Needs a short queue."""
    async with session(service.ws, max_queue=1) as client:
        await client.start("de", "fr", "es")
        client.socket.transport.pause_reading()
        text = "we go home now " * 100
        while b"tokenspeed_slow_consumers_total 1.0" not in service.state.metrics.render():
            # Until there is more than what the kernel takes, so that the server has to keep it; but
            # hardly more, or the line is reset before the client has read why it was closed.
            for _ in range(4):
                await client.send(p.SourceCommit(text=text))
        client.socket.transport.resume_reading()
        await hear(client)
    return client


async def a_wrong_key(service: Service) -> Client:
    async with session(f"{service.ws}?token=wrong") as client:
        await hear(client)
    return client


async def a_failing_engine(service: Service) -> Client:
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceCommit("a", text="hello"))
        await hear(client, p.TranslationFinal)
    return client


async def a_full_house(service: Service) -> Client:
    """Needs room for one session."""
    async with session(service.ws) as first:
        await hear(first, p.SessionCreated)
        async with session(service.ws) as client:
            await hear(client)
    return client


async def going_down(service: Service) -> list[Client]:
    """Needs an engine that takes a while."""
    async with session(service.ws) as client:
        await client.start("de")
        await client.send(p.SourceUpdate(1, "we go home", segment_id="a"))
        await eventually(lambda: bool(service.engine.running))
        service.server.handle_exit(signal.SIGTERM, None)
        await hear(client, p.SessionGoingAway)
        async with session(service.ws) as late:
            await hear(late)
        await hear(client, p.SessionClosed)
    return [client, late]


async def a_lost_line(service: Service) -> list[Client]:
    """Needs an engine that only ends when it is told to, and a replay of two events."""

    def finish(target: str) -> None:
        for generation in list(service.engine.running.values()):
            key = generation.request.key
            if isinstance(key, JobKey) and key.target == target:
                generation._loop.call_soon_threadsafe(generation.end, "stop")

    async with session(service.ws) as first:
        await hear(first, p.SessionCreated)
        created = first.received[0]
        assert isinstance(created, p.SessionCreated)
        await first.start("de", "fr", stability="low")
        await first.send(p.SourceUpdate(1, "we go home", segment_id="open"))
        await eventually(lambda: len(service.engine.running) == 2)
        finish("de")
        await hear(first, p.TranslationDelta)
        await first.send(p.SourceCommit("half", text="hello"))
        await eventually(lambda: len(service.engine.running) == 3)
        finish("de")
        await hear(first, p.TranslationFinal)
        await cut(first, service)
    lines = [first]
    for last_seq in (first.received[-1].seq, 1):  # all is known, and too much was missed
        service.engine.running.clear()
        async with session(service.ws) as client:
            info = created.session
            assert info.resume_token is not None
            await client.send(p.SessionResume(info.id, info.resume_token, last_seq, info.epoch))
            await hear(client, p.SessionResumed)
            if last_seq == 1:
                await hear(client, p.SessionSnapshot)
            await cut(client, service)
        lines.append(client)
    return lines


async def a_room(service: Service) -> list[Client]:
    """Needs an engine that takes a while."""
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        opened = (await http.post("/v1/rooms", json={"name": "Talk"})).json()
        host = {"authorization": f"Bearer {opened['host_token']}"}
        where = f"{service.ws.removesuffix('stream')}rooms/{opened['id']}/listen"
        async with (
            session(f"{service.ws}?token={opened['host_token']}") as speaker,
            session(f"{where}?target=de&source=1") as reader,
        ):
            await hear(reader, p.RoomState)
            await speaker.start(
                "de",
                room=opened["id"],
                source_id="drawn-at-random-once",
                captions=p.CaptionParams(20, 1),
                stability="low",
            )
            for rev in range(1, len(WORDS) + 1):
                head, tail = " ".join(WORDS[:rev]), " and so on"
                update = p.SourceUpdate(rev, head, tail, "a", 10.0, 20.0, "Ann")
                await speaker.send(update)
                await asyncio.sleep(0.03)
            await hear(reader, p.TranslationDelta)
            async with session(f"{where}?target=de&source=1") as late:
                await hear(late, p.RoomState)
            await speaker.send(p.SourceCommit("a", text=" ".join(WORDS)))
            await hear(speaker, p.CaptionCue)
            await speaker.send(p.SourceUpdate(1, "never mind", segment_id="b"))
            await speaker.send(p.SourceCancel("b"))
            await hear(speaker, p.TranslationRetracted)
            await http.patch(f"/v1/rooms/{opened['id']}", json={"name": "Talk 2"}, headers=host)
            await hear(reader, p.TranslationRetracted)
            await http.delete(f"/v1/rooms/{opened['id']}", headers=host)
            await hear(reader)
        async with session(f"{where}?target=de&source=1") as after:
            await hear(after)
    return [speaker, reader, late, after]


async def a_room_cut_off(service: Service, redis: RedisServer) -> Client:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        opened = (await http.post("/v1/rooms", json={})).json()
    where = f"{service.ws.removesuffix('stream')}rooms/{opened['id']}/listen"
    async with session(f"{where}?target=de") as reader:
        await hear(reader, p.RoomState)
        redis.stop()
        await hear(reader, p.SessionNotice)
        redis.start()
        await hear(reader, p.RoomState)  # the room is brought back whole
        async with asyncio.timeout(20):
            while not any(
                isinstance(event, p.SessionNotice) and event.code == "room_back"
                for event in reader.received
            ):
                reader.received.append(p.parse_server(await reader.socket.recv()))
    return reader


def said(clients: list[Client]) -> set[str]:
    return {path for client in clients for event in client.received for path in said_by(event)}


@pytest.fixture
async def heard(
    run: Run, tiny_translator: Path, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> set[str]:
    """What clients hear of the service in all its circumstances, as paths."""
    clients = []
    # What a random model says is taken back, and loses a word; what a good one says stays.
    for model in (tiny_translator, load_config().model):
        with serving(model) as (_, port):
            clients.append(await a_model(f"ws://127.0.0.1:{port}/v1/stream"))
    clients.append(await all_settings(run()))
    clients.append(await a_speech(run()))
    clients.append(await a_mistaken_language(run()))
    clients.append(await refusals(run(limits=Limits(segment_chars=20, open_segments=1))))
    clients.append(await haste(run(limits=Limits(updates_per_s=2))))
    busy = run()
    busy.state.admission.interval_s = 0.3
    clients.append(await haste(busy))
    clients.append(await slow_reading(run(limits=Limits(queue_events=4, work_share=1.0))))
    clients.append(await haste(run(limits=Limits(pending_chars=1))))
    clients.append(await a_wrong_key(run(api_keys=(KEY,))))
    clients.append(await a_failing_engine(run(FakeEngine(is_broken=True))))
    small = FakeEngine(backend=FakeBackend(max_length=8))
    clients.append(await a_failing_engine(run(small)))
    clients.append(await a_full_house(run(max_sessions=1)))
    clients += await a_room(run(FakeEngine(delay_s=0.02)))
    clients.append(await a_room_cut_off(run(redis_url=own_redis.url), own_redis))
    clients += await going_down(run(FakeEngine(delay_s=0.5)))
    monkeypatch.setattr("service.wire.outbox.MAX_REPLAY_EVENTS", 2)
    clients += await a_lost_line(run(FakeEngine(delay_s=30)))
    return said(clients)


@dataclass(frozen=True, slots=True)
class Planted(p.SessionNotice):
    """A notice with what nobody sends."""

    type: ClassVar[str] = "session.notice"
    code: Literal["degraded", "never_sent"]  # type: ignore[assignment]
    expires_at: float | None = None


async def test_every_message_field_and_code_is_sent(heard: set[str]) -> None:
    assert sorted(paths_of(p.SERVER_EVENTS) - heard) == []
    planted = {**p.SERVER_EVENTS, "session.notice": Planted}
    assert paths_of(planted) - heard == {
        "session.notice.code=never_sent",
        "session.notice.expires_at",
    }
