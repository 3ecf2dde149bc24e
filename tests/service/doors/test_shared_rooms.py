"""Rooms of two replicas that share a Redis, over real sockets: speak on one, read on any."""

import asyncio
import json
from typing import Any

from service.wire import protocol as p
from tests.service.conftest import Run
from tests.service.doors.test_rooms import finals, http, next_of, opened, reading, speaking
from tests.service.fakes import FakeEngine
from tests.service.redis_server import RedisServer


async def test_one_speaks_and_is_read_wherever_readers_are(run: Run, redis: RedisServer) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    room = await opened(one, name="Talk")
    async with (
        speaking(two, room) as speaker,
        reading(one, room) as far,
        reading(two, room) as near,
    ):
        await speaker.start(room=room["id"])
        for reader in (far, near):
            await next_of(reader, p.RoomState)
        async with http(two) as there:  # the speaker's replica knows what is read elsewhere
            await eventually_readers(there, f"/v1/rooms/{room['id']}", 2)
        await speaker.send(p.SourceCommit(text="Good morning.", speaker="Ann"))
        for reader in (far, near):
            assert await finals(reader, 1) == ["GOOD MORNING."]
        assert not one.engine.requests  # where it is said it is translated,
        assert len(two.engine.requests) == 1  # once
        async with reading(one, room, "target=fr") as late:
            state = await next_of(late, p.RoomState)
            if not (state.segments and state.segments[0].is_final):
                assert await finals(late, 1) == ["GOOD MORNING."]
        async with http(one) as here, http(two) as there:
            path = f"/v1/rooms/{room['id']}"
            for client in (here, there):
                await eventually_readers(client, path, 2)
                reply = await client.get(f"{path}/transcript.txt?target=de")
                assert reply.text == "Ann: GOOD MORNING.\n"


async def eventually_readers(client: Any, path: str, count: int) -> None:
    for _ in range(1000):
        if (await client.get(path)).json()["readers_by_target"].get("de") == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the readers are not counted together")


async def test_a_reader_goes_on_at_another_replica_where_the_first_broke(
    run: Run, redis: RedisServer
) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    room = await opened(one)
    path = f"/v1/rooms/{room['id']}/events?target=de"
    async with speaking(one, room) as speaker:
        await speaker.start("de", room=room["id"])
        await speaker.send(p.SourceCommit(text="One."))
        assert await finals(speaker, 1) == ["ONE."]
        seen, texts = "0", []
        for service, wanted in ((one, "ONE."), (two, "TWO."), (one, "THREE.")):
            if wanted != "ONE.":
                await speaker.send(p.SourceCommit(text=f"{wanted.title()}"))
                assert await finals(speaker, 1) == [wanted]
            async with (
                asyncio.timeout(20),
                http(service) as client,
                client.stream("GET", path, headers={"last-event-id": seen}) as stream,
            ):
                async for line in stream.aiter_lines():
                    if line.startswith("id:"):
                        seen = line.removeprefix("id:").strip()
                    if not line.startswith("data:"):
                        continue
                    told = json.loads(line.removeprefix("data:"))
                    texts += [each["text"] for each in told.get("segments", ()) if each["is_final"]]
                    if told["type"] == "translation.final":
                        texts.append(told["text"])
                    if wanted in texts:
                        break
    assert texts == ["ONE.", "TWO.", "THREE."]  # nothing twice, nothing left out


async def test_what_is_said_while_redis_is_lost_comes_when_it_is_back(
    run: Run, own_redis: RedisServer
) -> None:
    one, two = (run(redis_url=own_redis.url) for _ in range(2))
    room = await opened(one, name="Talk")
    async with speaking(one, room) as speaker, reading(two, room) as reader:
        await next_of(reader, p.RoomState)
        await speaker.start("de", room=room["id"])
        await speaker.send(p.SourceCommit(text="Before."))
        assert await finals(reader, 1) == ["BEFORE."]
        own_redis.stop()
        await speaker.send(p.SourceCommit(text="Meanwhile."))
        assert await finals(speaker, 2) == ["BEFORE.", "MEANWHILE."]  # sessions go on
        assert (await next_of(reader, p.SessionNotice)).code == "room_cut_off"
        async with http(two) as client:
            refused = await client.post("/v1/rooms", json={})
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        own_redis.start()  # and remembers nothing
        texts: list[str] = []
        async with asyncio.timeout(30):
            while "MEANWHILE." not in texts:
                event = await next_of(reader, p.ServerEvent)
                if isinstance(event, p.TranslationFinal):
                    texts.append(event.text)
                if isinstance(event, p.RoomState):
                    texts += [each.text for each in event.segments if each.is_final]
        await speaker.send(p.SourceCommit(text="After."))
        assert await finals(reader, 1) == ["AFTER."]
        async with http(two) as client:
            where = f"/v1/rooms/{room['id']}/transcript.txt?target=de"
            assert (await client.get(where)).text == "BEFORE.\nMEANWHILE.\nAFTER.\n"


async def test_what_is_said_again_at_another_replica_is_read_once(
    run: Run, redis: RedisServer
) -> None:
    one, two = (run(FakeEngine(delay_s=60), redis_url=redis.url) for _ in range(2))
    room = await opened(one)
    source = {"room": room["id"], "source_id": "drawn-at-random-once"}
    async with reading(two, room) as reader, reading(two, room, "target=source") as other:
        for each in (reader, other):  # who is there from the beginning on
            await next_of(each, p.RoomState)
        async with speaking(one, room) as speaker:
            await speaker.start("de", **source)
            await speaker.send(p.SourceCommit("a", text="good morning"))
            await next_of(other, p.SourceFinal)
            speaker.socket.transport.abort()
        two.engine.delay_s = 0.0
        async with speaking(two, room) as again:
            await again.start("de", **source)
            await again.send(p.SourceCommit("a", text="good morning"))
            await again.send(p.SourceCommit("b", text="we go home"))
            assert sorted(await finals(reader, 2)) == ["GOOD MORNING", "WE GO HOME"]
        async with http(two) as client:
            where = f"/v1/rooms/{room['id']}/transcript.txt?target="
            assert (await client.get(f"{where}de")).text == "GOOD MORNING\nWE GO HOME\n"
            assert (await client.get(f"{where}source")).text == "good morning\nwe go home\n"


async def test_the_host_rules_from_any_replica(run: Run, redis: RedisServer) -> None:
    one, two = (run(redis_url=redis.url, api_keys=("a-key-of-more-than-16",)) for _ in range(2))
    async with http(one, authorization="Bearer a-key-of-more-than-16") as client:
        room, other = [(await client.post("/v1/rooms", json={})).json() for _ in range(2)]
    path = f"/v1/rooms/{room['id']}"
    async with reading(one, room) as reader, http(two) as client:
        await next_of(reader, p.RoomState)
        stranger = {"authorization": f"Bearer {other['host_token']}"}
        assert (
            await client.patch(path, json={"name": "Mine"}, headers=stranger)
        ).status_code == 401
        host = {"authorization": f"Bearer {room['host_token']}"}
        reply = await client.patch(path, json={"name": "Evening"}, headers=host)
        assert reply.json()["name"] == "Evening"
        async with asyncio.timeout(20):
            while (await next_of(reader, p.RoomUpdated)).room.name != "Evening":
                pass
        assert (await client.delete(path, headers=host)).json()["is_closed"]
        await reader.socket.wait_closed()
        assert reader.socket.close_code == p.CLOSE_DONE


async def test_guesses_of_a_pass_phrase_count_wherever_they_are_made(
    run: Run, redis: RedisServer
) -> None:
    services = [run(redis_url=redis.url) for _ in range(2)]
    room = await opened(services[0], pass_phrase="open sesame")
    path = f"/v1/rooms/{room['id']}/transcript.txt?target=de"
    codes = []
    for i in range(60):
        async with http(services[i % 2]) as client:
            codes.append(
                (await client.get(path, headers={"x-pass-phrase": f"try {i}"})).status_code
            )
    assert set(codes) == {403, 429}
    assert codes == sorted(codes)
    for service in services:
        async with http(service) as client:
            assert (await client.get(path)).status_code == 429
