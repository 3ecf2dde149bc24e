"""Rooms over real HTTP and real sockets: hosts, speakers, readers, and what they may not do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.doors.rooms import MISSES, WOKEN, _Bell
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import FakeEngine

KEY = "a-key-of-more-than-16"


@asynccontextmanager
async def http(service: Service, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=service.http, trust_env=False, headers=headers, timeout=20
    ) as client:
        yield client


async def opened(service: Service, **wanted: Any) -> dict[str, Any]:
    async with http(service) as client:
        reply = await client.post("/v1/rooms", json=wanted)
        assert reply.status_code == 201
        return reply.json()


def reading(service: Service, room: dict[str, Any], query: str = "target=de") -> Any:
    where = service.ws.removesuffix("stream")
    return session(f"{where}rooms/{room['id']}/listen?{query}")


def speaking(service: Service, room: dict[str, Any]) -> Any:
    return session(f"{service.ws}?token={room['host_token']}")


async def next_of(client: Client, kind: type[p.ServerEvent]) -> Any:
    """The next event of a kind; a reader's numbers have holes where others were told something."""
    async with asyncio.timeout(20):
        while True:
            event = p.parse_server(await client.socket.recv())
            if isinstance(event, kind):
                return event


async def finals(client: Client, count: int) -> list[str]:
    return [(await next_of(client, p.TranslationFinal)).text for _ in range(count)]


async def test_many_read_what_one_says(service: Service) -> None:
    room = await opened(service, name="Talk")
    async with speaking(service, room) as speaker, reading(service, room) as early:
        await next_of(early, p.RoomState)
        await speaker.start("fr", room=room["id"])
        asked = len(service.engine.requests)
        await speaker.send(p.SourceCommit(text="Good morning.", speaker="Ann"))
        assert await finals(early, 1) == ["GOOD MORNING."]
        assert await finals(speaker, 1) == ["GOOD MORNING."]  # the French one alone
        assert len(service.engine.requests) - asked == 2
        async with reading(service, room) as late, reading(service, room, "target=fr") as other:
            for reader in (late, other):
                state = await next_of(reader, p.RoomState)
                assert [(s.text, s.is_final, s.speaker) for s in state.segments] == [
                    ("GOOD MORNING.", True, "Ann")
                ]
            asked = len(service.engine.requests)
            await speaker.send(p.SourceCommit(text="Welcome."))
            for reader in (early, late, other):
                assert await finals(reader, 1) == ["WELCOME."]
            assert len(service.engine.requests) - asked == 2  # once a language, however many read
        await speaker.send(p.SourceFlush())
        await speaker.send(p.Ping())
        heard = []
        while not isinstance(event := await next_of(speaker, p.ServerEvent), p.Pong):
            heard.append(event)
        # The German is not for the speaker, who did not ask for it.
        assert {e.target for e in heard if isinstance(e, p.TranslationFinal)} == {"fr"}


async def test_who_reads_what_is_told_to_everybody(service: Service) -> None:
    room = await opened(service)
    async with (
        http(service) as client,
        reading(service, room) as one,
        reading(service, room, "target=source") as said,
        reading(service, room, "target=es&source=1") as both,
    ):
        for reader in (one, said, both):
            await next_of(reader, p.RoomState)
        info = (await client.get(f"/v1/rooms/{room['id']}")).json()
        assert info["readers_by_target"] == {"de": 1, "source": 1, "es": 1}
        assert info["readers"] == 3


async def test_nothing_is_translated_that_nobody_reads_until_somebody_does(run: Run) -> None:
    service = run()
    room = await opened(service)
    async with speaking(service, room) as speaker:
        await speaker.start(room=room["id"])
        for text in ("One.", "Two.", "Three."):
            await speaker.send(p.SourceCommit(text=text))
        await speaker.send(p.Ping())
        await next_of(speaker, p.Pong)
        assert not service.engine.requests
        async with reading(service, room) as reader:
            state = await next_of(reader, p.RoomState)
            assert not state.segments
            assert sorted(await finals(reader, 3)) == ["ONE.", "THREE.", "TWO."]
        async with http(service) as client:
            where = f"/v1/rooms/{room['id']}/transcript"
            reply = await client.get(f"{where}.txt?target=fr")
            assert reply.text == "ONE.\nTWO.\nTHREE.\n"
            reply = await client.get(f"{where}.txt?target=source")
            assert reply.text == "One.\nTwo.\nThree.\n"
            reply = await client.get(f"{where}.vtt?target=de&max_chars=5&lines=1")
            assert reply.headers["content-type"].startswith("text/vtt")
            assert reply.text.count(" --> ") == 4  # THREE. is cut
            assert (await client.get(f"{where}.doc?target=de")).status_code == 404
            for query in ("target=xx", "target=de&lines=0", "target=de&max_chars=x"):
                assert (await client.get(f"{where}.vtt?{query}")).status_code == 400


async def test_who_comes_back_is_told_what_changed(service: Service) -> None:
    room = await opened(service)
    async with speaking(service, room) as speaker:
        async with reading(service, room) as reader:
            await speaker.start(room=room["id"])
            await speaker.send(p.SourceCommit(text="One."))
            final = await next_of(reader, p.TranslationFinal)
        await speaker.send(p.SourceCommit(text="Two."))  # the language is kept for a while
        await next_of_room(service, room, "TWO.")
        async with reading(service, room, f"target=de&last_seq={final.seq}") as reader:
            state = await next_of(reader, p.RoomState)
            assert [segment.text for segment in state.segments] == ["TWO."]


async def next_of_room(service: Service, room: dict[str, Any], text: str) -> None:
    found = await service.state.rooms.room(room["id"])
    await eventually(
        lambda: any(
            said.channels["de"].text == text
            for said in found.segments.values()
            if "de" in said.channels
        )
    )


async def test_server_sent_events_go_on_where_they_broke(service: Service) -> None:
    room = await opened(service)
    where = f"/v1/rooms/{room['id']}/events?target=de"
    async with speaking(service, room) as speaker, http(service) as client:
        await speaker.start(room=room["id"])

        async def events(last_id: str | None, count: int) -> list[tuple[str, p.ServerEvent]]:
            headers = {} if last_id is None else {"last-event-id": last_id}
            found: list[tuple[str, p.ServerEvent]] = []
            async with client.stream("GET", where, headers=headers) as reply:
                assert reply.headers["content-type"].startswith("text/event-stream")
                number = ""
                async for line in reply.aiter_lines():
                    if line.startswith("id: "):
                        number = line.removeprefix("id: ")
                    if line.startswith("data: "):
                        found.append((number, p.parse_server(line.removeprefix("data: "))))
                        if len(found) == 1:
                            await speaker.send(p.SourceCommit(text="One."))
                        if isinstance(found[-1][1], p.TranslationFinal) or len(found) == count:
                            return found
            raise AssertionError("the stream ended")

        heard = await events(None, 20)
        assert isinstance(heard[0][1], p.RoomState)
        final = heard[-1][1]
        assert isinstance(final, p.TranslationFinal)
        assert final.text == "ONE."
        assert [int(number) for number, _ in heard] == [event.seq for _, event in heard]
        ((_, state),) = await events(heard[-1][0], 1)
        assert isinstance(state, p.RoomState)
        assert state.segments == ()


async def test_a_screen_reader_gets_only_what_stays(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.01))
    room = await opened(service)
    async with (
        speaking(service, room) as speaker,
        reading(service, room, "target=de&mode=append_only") as careful,
        reading(service, room) as wall,
    ):
        await speaker.start(room=room["id"], stability="low")
        words = "we all go home now and rest a little".split()
        for rev in range(1, len(words) + 1):
            update = p.SourceUpdate(rev, " ".join(words[:rev]), " and so", segment_id="a")
            await speaker.send(update)
            await asyncio.sleep(0.02)
        await speaker.send(p.SourceCommit("a", text=" ".join(words)))
        shown = ""
        while True:
            event = await next_of(careful, p.ServerEvent)
            if isinstance(event, p.TranslationDelta):
                assert not event.unstable
                shown += event.append
            if isinstance(event, p.TranslationFinal):
                break
        assert event.text.startswith(shown)
        tails = []
        while not isinstance(event := await next_of(wall, p.ServerEvent), p.TranslationFinal):
            tails += [event.unstable] if isinstance(event, p.TranslationDelta) else []
        assert any(tails)


async def test_only_the_host_speaks_changes_and_closes(run: Run) -> None:
    service = run(api_keys=(KEY,))
    async with http(service) as client:
        assert (await client.post("/v1/rooms")).status_code == 401
        key = {"authorization": f"Bearer {KEY}"}
        room = (await client.post("/v1/rooms", headers=key)).json()
        other = (await client.post("/v1/rooms", headers=key)).json()
        where = f"/v1/rooms/{room['id']}"
        for headers in ({}, {"authorization": f"Bearer {other['host_token']}"}):
            reply = await client.patch(where, json={"name": "Mine"}, headers=headers)
            assert reply.status_code == 401
            assert (await client.delete(where, headers=headers)).status_code == 401
        async with speaking(service, other) as speaker:  # a host token is let in, for its own room
            await speaker.start("de", room=room["id"])
            problem = await next_of(speaker, p.Error)
            assert (problem.error.code, problem.error.param) == ("unauthorized", "session.room")
            await speaker.start("de", room=other["id"])
            await next_of(speaker, p.SessionUpdated)
        async with session(f"{service.ws}?token={KEY}") as speaker:
            await speaker.start("de", room=room["id"])
            await next_of(speaker, p.SessionUpdated)
            async with reading(service, room) as reader:  # readers need no key
                await next_of(reader, p.RoomState)
                host = {"authorization": f"Bearer {room['host_token']}"}
                await client.patch(where, json={"name": "Talk"}, headers=host)
                assert (await next_of(reader, p.RoomUpdated)).room.name == "Talk"
                assert (await client.get(where)).json()["speakers"] == 1
                assert (await client.delete(where, headers=host)).json()["is_closed"]
                assert (await next_of(reader, p.RoomUpdated)).room.is_closed
                await reader.socket.wait_closed()
                assert reader.socket.close_code == p.CLOSE_DONE
        async with session(f"{service.ws}?token={KEY}") as speaker:
            await speaker.start("de", room=room["id"])
            assert (await next_of(speaker, p.Error)).error.code == "unknown_room"


async def test_a_pass_phrase_is_asked_for(service: Service) -> None:
    room = await opened(service, pass_phrase="open sesame")
    async with http(service) as client:
        where = f"/v1/rooms/{room['id']}"
        assert (await client.get(where)).json()["has_pass_phrase"]
        path = f"{where}/transcript.txt?target=source"
        assert (await client.get(path)).status_code == 403
        assert (await client.get(f"{path}&pass=open%20sesame")).status_code == 200
        assert (await client.get(path, headers={"x-pass-phrase": "open sesame"})).is_success
        assert (await client.get(f"{where}/events?target=de")).status_code == 403
    async with reading(service, room) as reader:
        assert (await next_of(reader, p.Error)).error.code == "unauthorized"
        await reader.socket.wait_closed()
        assert reader.socket.close_code == p.CLOSE_UNAUTHENTICATED
    async with reading(service, room, "target=de&pass=open%20sesame") as reader:
        await next_of(reader, p.RoomState)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("target=xx", p.CLOSE_BAD_SESSION),
        ("", p.CLOSE_BAD_SESSION),
        ("target=de&mode=loud", p.CLOSE_BAD_SESSION),
        ("target=de&last_seq=-1", p.CLOSE_BAD_SESSION),
    ],
)
async def test_what_cannot_be_read_is_refused(service: Service, query: str, code: int) -> None:
    room = await opened(service)
    async with reading(service, room, query) as reader:
        await next_of(reader, p.Error)
        await reader.socket.wait_closed()
        assert reader.socket.close_code == code


async def test_between_two_readers_others_are_listened_to(service: Service) -> None:
    """A hall of readers is not woken in one turn of the event loop."""
    bell, turns = _Bell(), 0
    news = [asyncio.Event() for _ in range(10 * WOKEN)]
    for each in news:
        bell.ring(each)
        bell.ring(each)
    while not all(each.is_set() for each in news):
        before = sum(each.is_set() for each in news)
        await asyncio.sleep(0)
        turns += 1
        assert sum(each.is_set() for each in news) - before <= WOKEN
    assert turns >= 10


async def test_who_does_not_wait_for_a_transcript_leaves_no_error(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    engine = FakeEngine(delay_s=0.5)
    service = run(engine)
    room = await opened(service)
    segments = (await service.state.rooms.room(room["id"])).segments
    async with speaking(service, room) as speaker:
        await speaker.start(room=room["id"])
        await speaker.send(p.SourceCommit(text="we go home"))
        await eventually(lambda: len(segments) == 1)
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        path = f"/v1/rooms/{room['id']}/transcript.txt?target=de"
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        await eventually(lambda: bool(engine.requests))
        writer.transport.abort()
        async with http(service) as client:
            reply = await client.get(path)
            assert (reply.status_code, reply.text) == (200, "WE GO HOME\n")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_names_and_tokens_cannot_be_tried_for_ever(run: Run) -> None:
    service = run()
    room = await opened(service, pass_phrase="open sesame")
    async with http(service, authorization="Bearer guess") as client:
        for i in range(MISSES // 2):
            assert (await client.get(f"/v1/rooms/name-{i}")).status_code == 404
            assert (await client.delete(f"/v1/rooms/{room['id']}")).status_code == 401
        for reply in (
            await client.get("/v1/rooms/one-more"),
            await client.get(f"/v1/rooms/{room['id']}/events?target=de"),
            await client.delete(f"/v1/rooms/{room['id']}"),
        ):
            assert reply.status_code == 429
            assert int(reply.headers["retry-after"]) > 0
    async with reading(service, room) as reader:
        assert (await next_of(reader, p.Error)).error.code == "rate_limited"


async def test_places_are_bounded_and_readers_only_ping(run: Run) -> None:
    service = run(max_readers=1, max_rooms=1)
    room = await opened(service)
    async with http(service) as client, reading(service, room) as reader:
        await next_of(reader, p.RoomState)
        assert (await client.post("/v1/rooms")).status_code == 429
        assert (await client.get(f"/v1/rooms/{room['id']}/events?target=de")).status_code == 503
        async with reading(service, room) as other:
            assert (await next_of(other, p.Error)).error.code == "overloaded"
        await reader.send(p.SourceCommit(text="me too"))
        assert (await next_of(reader, p.Error)).error.param == "type"
        await reader.send(p.Ping("x"))
        assert (await next_of(reader, p.Pong)).id == "x"


async def test_a_slow_reader_delays_nobody_and_catches_up(run: Run) -> None:
    service = run()
    room = await opened(service)
    where = service.ws.removesuffix("stream")
    slow_line = session(f"{where}rooms/{room['id']}/listen?target=de", max_queue=1)
    async with speaking(service, room) as speaker, reading(service, room) as quick:
        await speaker.start(room=room["id"])
        async with slow_line as slow:
            slow.socket.transport.pause_reading()
            text = "we go home now " * 120
            for i in range(60):
                await speaker.send(p.SourceCommit(text=f"{i} {text}"))
                assert (await finals(quick, 1))[0].startswith(f"{i} ")
            slow.socket.transport.resume_reading()
            seen: set[str] = set()
            while len(seen) < 60:
                event = await next_of(slow, p.ServerEvent)
                if isinstance(event, p.RoomState):
                    seen |= {segment.segment_id for segment in event.segments}
                elif isinstance(event, p.TranslationFinal):
                    seen.add(event.segment_id)


async def test_a_speaker_who_comes_back_speaks_on(service: Service) -> None:
    room = await opened(service)
    async with reading(service, room) as reader:
        async with speaking(service, room) as speaker:
            created = await next_of(speaker, p.SessionCreated)
            await speaker.start(room=room["id"])
            await speaker.send(p.SourceUpdate(1, "we go home", segment_id="a"))
            await next_of(reader, p.TranslationDelta)
            last = 3
            speaker.socket.transport.abort()
        info = created.session
        async with session(service.ws) as again:
            await again.send(p.SessionResume(info.id, info.resume_token, last, info.epoch))
            await again.send(p.SourceCommit("a", text="we go home now"))
            assert await finals(reader, 1) == ["WE GO HOME NOW"]


async def test_what_is_said_again_in_a_later_session_is_read_once(run: Run) -> None:
    service = run(FakeEngine(delay_s=60))  # no final comes for now
    room = await opened(service)
    source = {"room": room["id"], "source_id": "drawn-at-random-once"}
    async with reading(service, room) as reader, reading(service, room, "target=source") as other:
        async with speaking(service, room) as speaker:
            await speaker.start("de", **source)
            await speaker.send(p.SourceCommit("a", text="good morning"))
            await next_of(other, p.SourceFinal)
            await speaker.send(p.SourceUpdate(1, "we go", segment_id="b"))
            await next_of(other, p.SourceDelta)
            speaker.socket.transport.abort()  # as a page does that is loaded anew
        service.engine.delay_s = 0.0
        async with speaking(service, room) as again:
            await again.start("de", **source)
            await again.send(p.SourceCommit("a", text="good morning"))
            await again.send(p.SourceCommit("b", text="we go home"))
            await again.send(p.SourceCommit("c", text="and stay"))
            # Both that were left open and the new one, in their order, once.
            expected = ["GOOD MORNING", "WE GO HOME", "AND STAY"]
            assert sorted(await finals(reader, 3)) == sorted(expected)
            await finals(again, 3)
        async with reading(service, room) as late:
            state = await next_of(late, p.RoomState)
            assert [each.text for each in state.segments] == expected
        assert [(await next_of(other, p.SourceFinal)).text for _ in "bc"] == [
            "we go home",
            "and stay",
        ]


async def test_who_speaks_is_named_as_nobody_guesses(service: Service) -> None:
    async with session(service.ws) as speaker:
        await next_of(speaker, p.SessionCreated)
        await speaker.send(p.SessionUpdate(p.SessionParams(source_id="short")))
        assert (await next_of(speaker, p.Error)).error.param == "session.source_id"


async def test_readers_are_not_told_who_speaks(service: Service) -> None:
    room, secret = await opened(service), "drawn-at-random-once"
    async with (
        speaking(service, room) as speaker,
        reading(service, room, "source=1&target=de") as r,
    ):
        await speaker.start("de", room=room["id"], source_id=secret)
        await speaker.send(p.SourceCommit("a", text="good morning"))
        await finals(speaker, 1)
        heard: list[str] = []
        async with asyncio.timeout(20):
            while not heard or p.TranslationFinal.type not in heard[-1]:
                heard.append(str(await r.socket.recv()))
        async with http(service) as client:
            where = f"/v1/rooms/{room['id']}"
            heard += [(await client.get(where)).text]
            heard += [
                (await client.get(f"{where}/transcript.{form}?target=de")).text
                for form in ("json", "vtt", "srt", "txt")
            ]
    assert not [each for each in heard if secret in each]
