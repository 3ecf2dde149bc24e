"""A session goes on at another replica: over real sockets, through a real Redis."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from service.doors import shared_sessions
from service.doors.shared_sessions import KEPT_S, SharedSessions
from service.doors.sharing import Found, News, Share, digest_of
from service.errors import StoreLost
from service.store import Store
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import close_code
from tests.service.doors.test_resume import appended, begin, cut, resume
from tests.service.doors.test_rooms import finals, next_of, opened, reading, speaking
from tests.service.fakes import FakeEngine
from tests.service.redis_server import RedisServer

WAIT_S = 40.0


async def until(is_so: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.02)


async def until_not(is_so: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while await is_so():  # noqa: ASYNC110 - it changes in Redis
            await asyncio.sleep(0.02)


def is_saved(service: Service) -> bool:
    """Whether all of every session of a replica is in Redis."""
    shared = service.state.shared
    assert shared is not None
    shares = list(shared._shares)
    return not shared.is_lost and all(each.is_known and not each.needs_whole for each in shares)


@asynccontextmanager
async def resumed(
    service: Service, info: p.SessionInfo, last_seq: int
) -> AsyncIterator[tuple[Client, p.ServerEvent]]:
    """Come back at a replica; give its answer."""
    async with session(service.ws) as client:
        await client.receive()
        await client.send(resume(info, last_seq))
        yield client, await client.receive()


async def test_a_session_goes_on_at_another_replica_and_its_old_line_is_closed(
    run: Run, redis: RedisServer
) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    async with session(one.ws) as first:
        info = await begin(first, one)
        known = first.last_seq - 1  # as if the last delta had been lost on the way
        lost = first.received.pop()
        async with resumed(two, info, known) as (second, answer):
            assert replace(answer, t_ms=0.0) == p.SessionResumed(True, known + 1, seq=known)
            assert answer.t_ms >= lost.t_ms
            assert await second.receive() == lost
            await second.send(p.SourceUpdate(4, "we go home now and rest", segment_id="a"))
            await second.send(p.SourceCommit("a"))
            (final,) = await second.until(p.TranslationFinal)
            assert isinstance(final, p.TranslationFinal)
            assert final.text == "WE GO HOME NOW AND REST"
            assert final.text.startswith(appended(first) + appended(second))
            assert await close_code(first) == 4409
            await until(lambda: not one.state.connections and not len(one.state.sessions))
            await second.send(p.SourceCommit("a"))  # said again, it is known
            await second.send(p.Ping("x"))
            (answer,) = await second.until(p.Pong, p.TranslationFinal)
            assert isinstance(answer, p.Pong)
    assert [event.seq for event in second.received[2:]] == list(
        range(known + 1, second.last_seq + 1)
    )


async def test_it_goes_back_to_the_first_with_what_the_second_said(
    run: Run, redis: RedisServer
) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    async with session(one.ws) as first:
        info = await begin(first, one)
        await cut(first, one)
    async with resumed(two, info, first.last_seq) as (second, answer):
        assert isinstance(answer, p.SessionResumed)
        await second.send(p.SourceCommit("a"))
        (final,) = await second.until(p.TranslationFinal)
        await second.send(p.SourceUpdate(1, "and then we go", segment_id="b"))
        await second.until(p.TranslationDelta)
        seq = second.last_seq
        await cut(second, two)
    # The copy that the first still keeps is an old one.
    async with resumed(one, info, seq) as (third, answer):
        assert replace(answer, t_ms=0.0) == p.SessionResumed(True, seq + 1, seq=seq)
        await third.send(p.SourceCommit("a"))
        await third.send(p.SourceCommit("b", text="and then we go home"))
        (last,) = await third.until(p.TranslationFinal)
        assert isinstance(last, p.TranslationFinal)
        assert (last.segment_id, last.text) == ("b", "AND THEN WE GO HOME")
        assert isinstance(final, p.TranslationFinal)


async def test_it_comes_back_to_a_replica_that_does_not_know_yet_that_it_had_left(
    run: Run, redis: RedisServer
) -> None:
    """As one that stood still for a while, with a line that it takes for alive."""
    one, two = (run(redis_url=redis.url) for _ in range(2))
    room = await opened(one)
    async with reading(two, room) as reader:
        await next_of(reader, p.RoomState)
        async with speaking(one, room) as first:
            (created,) = await first.until(p.SessionCreated)
            assert isinstance(created, p.SessionCreated)
            info = created.session
            await first.start("de", room=room["id"])
            await first.send(p.SourceCommit("a", text="one"))
            await first.until(p.TranslationFinal)
            async with resumed(two, info, first.last_seq) as (second, answer):
                assert isinstance(answer, p.SessionResumed)
                await second.send(p.SourceCommit("b", text="two"))
                await second.until(p.TranslationFinal)
                seq = second.last_seq
                async with resumed(one, info, seq) as (third, answer):
                    assert isinstance(answer, p.SessionResumed)
                    await third.send(p.SourceCommit("c", text="three"))
                    await third.until(p.TranslationFinal)
                    assert await close_code(first) == 4409  # what it was is gone by now
                    await until(lambda: len(one.state.connections) == 1)
                    await third.send(p.SourceCommit("d", text="four"))
                    await third.until(p.TranslationFinal)
                    assert await finals(reader, 4) == ["ONE", "TWO", "THREE", "FOUR"]
                    seq = third.last_seq
                    await cut(third, one)
            async with resumed(one, info, seq) as (fourth, answer):
                assert isinstance(answer, p.SessionResumed)
                await fourth.send(p.SourceCommit("e", text="five"))
                await fourth.until(p.TranslationFinal)
                assert await finals(reader, 1) == ["FIVE"]


async def test_only_the_owner_may_take_it_to_another_replica(run: Run, redis: RedisServer) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    async with session(one.ws) as first:
        info = await begin(first, one)
        for wrong in ({"token": "x"}, {"id": "x"}, {"epoch": "x"}):
            async with session(two.ws) as second:
                await second.receive()
                await second.send(resume(info, 1, **wrong))
                error = await second.receive()
                assert isinstance(error, p.Error)
                assert error.error.code == "session_expired"
        await first.send(p.SourceCommit("a"))
        await first.until(p.TranslationFinal)


async def test_a_replica_with_keys_lets_the_owner_in_and_a_full_one_does_not(
    run: Run, redis: RedisServer
) -> None:
    key = "a-key-of-more-than-16"
    one = run(redis_url=redis.url)
    two = run(redis_url=redis.url, api_keys=(key,), max_sessions=1)
    async with session(one.ws) as first:
        info = await begin(first, one)
        headers = {"authorization": f"Bearer {key}"}
        async with session(two.ws, additional_headers=headers) as other:
            await other.start("de")
            await other.until(p.SessionUpdated)
            async with session(two.ws) as second:
                await second.send(resume(info, first.last_seq))
                assert await close_code(second) in (1013, 4401)
        await until(lambda: not two.state.connections)
        async with session(two.ws) as second:  # the token of the session is its credential
            await second.send(resume(info, first.last_seq))
            assert isinstance(await second.receive(), p.SessionResumed)
            await second.send(p.SourceCommit("a"))
            await second.until(p.TranslationFinal)


async def test_a_room_hears_everything_once_over_a_change_of_the_replica(
    run: Run, redis: RedisServer
) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    room = await opened(one, name="Talk")
    async with reading(one, room) as near, reading(two, room) as far:
        for reader in (near, far):
            await next_of(reader, p.RoomState)
        async with speaking(one, room) as first:
            created = await first.receive()
            assert isinstance(created, p.SessionCreated)
            await first.start("de", room=room["id"])
            await first.send(p.SourceCommit("a", text="One."))
            await first.until(p.TranslationFinal)
            await first.send(p.SourceUpdate(1, "two and three and", segment_id="b"))
            await first.until(p.TranslationDelta)
            async with resumed(two, created.session, first.last_seq) as (second, answer):
                assert isinstance(answer, p.SessionResumed)
                await second.send(p.SourceCommit("a", text="One."))
                await second.send(p.SourceCommit("b", text="two and three and four"))
                (final,) = await second.until(p.TranslationFinal)
                assert isinstance(final, p.TranslationFinal)
                assert final.segment_id == "b"
                for reader in (near, far):
                    assert await finals(reader, 2) == ["ONE.", "TWO AND THREE AND FOUR"]
                await second.send(p.SourceCommit("c", text="Five."))
                for reader in (near, far):
                    assert await finals(reader, 1) == ["FIVE."]


async def test_sessions_go_on_without_redis_and_are_shared_again_once_it_is_back(
    run: Run, own_redis: RedisServer
) -> None:
    one, two = (run(redis_url=own_redis.url) for _ in range(2))
    async with session(one.ws) as first:
        info = await begin(first, one)
        own_redis.stop()
        await first.send(p.SourceCommit("a"))
        await first.until(p.TranslationFinal)
        await until(lambda: one.state.shared.is_lost)  # type: ignore[union-attr]
        async with resumed(two, info, first.last_seq) as (_, answer):
            assert isinstance(answer, p.Error)  # as where nothing is shared
            assert answer.error.code == "session_expired"
        own_redis.start()  # and remembers nothing
        await until(lambda: is_saved(one) and is_saved(two))
        await first.send(p.SourceUpdate(1, "we sleep and rest", segment_id="b"))
        await first.until(p.TranslationDelta)
        async with resumed(two, info, first.last_seq) as (second, answer):
            assert isinstance(answer, p.SessionResumed)
            assert answer.recovered
            await second.send(p.SourceCommit("a", text="we go home now"))  # known
            await second.send(p.SourceCommit("b", text="we sleep and rest now"))
            (final,) = await second.until(p.TranslationFinal)
            assert isinstance(final, p.TranslationFinal)
            assert (final.segment_id, final.text) == ("b", "WE SLEEP AND REST NOW")


async def test_a_session_that_waits_for_its_client_is_written_to_a_redis_that_forgot_it(
    run: Run, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedSessions.__init__, "__defaults__", (0.1,))  # the loss is noticed soon
    one, two = (run(redis_url=own_redis.url) for _ in range(2))
    async with session(one.ws) as first:
        info = await begin(first, one)
        await cut(first, one)
    own_redis.stop()
    await until(lambda: one.state.shared.is_lost)  # type: ignore[union-attr]
    own_redis.start()
    await until(lambda: is_saved(one))
    async with resumed(two, info, first.last_seq) as (_, answer):
        assert isinstance(answer, p.SessionResumed)
        assert answer.recovered


async def test_who_came_back_while_nobody_knew_whose_a_session_is_may_come_back_again(
    run: Run, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replica had it once, and did not learn in time that another one has it now."""
    monkeypatch.setattr(SharedSessions.__init__, "__defaults__", (1e6,))
    monkeypatch.setattr(shared_sessions, "CLAIM_S", 0.2)
    monkeypatch.setattr(shared_sessions, "SAVE_S", 0.1)
    one, two = (run(redis_url=own_redis.url) for _ in range(2))
    process = own_redis._process
    assert process is not None
    async with session(one.ws) as first:
        info = await begin(first, one)
        await cut(first, one)
    async with resumed(two, info, first.last_seq) as (second, answer):
        assert isinstance(answer, p.SessionResumed)
        await cut(second, two)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        async with resumed(one, info, second.last_seq) as (third, answer):
            assert isinstance(answer, p.SessionResumed)
            await third.send(p.SourceCommit("a"))
            await third.until(p.TranslationFinal)
            os.kill(process.pid, signal.SIGCONT)
            assert await close_code(third) == p.CLOSE_RESTARTED  # it is not somebody else's
    finally:
        os.kill(process.pid, signal.SIGCONT)


async def test_a_session_that_ends_while_redis_is_asked_whose_it_is_is_over(
    run: Run, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = run(redis_url=redis.url)
    shared, sessions = service.state.shared, service.state.sessions
    assert shared is not None
    async with session(service.ws) as first:
        info = await begin(first, service)
        await cut(first, service)
    older = sessions._known[info.id]
    claim = shared.claim

    async def late(*args: Any) -> Any:
        found = await claim(*args)
        assert found == "ours"
        sessions.retire(older)
        return found

    monkeypatch.setattr(shared, "claim", late)
    async with resumed(service, info, first.last_seq) as (second, answer):
        assert isinstance(answer, p.Error)
        assert answer.error.code == "session_expired"
        await second.start("de")
        await second.until(p.SessionUpdated)


async def test_a_redis_that_hangs_holds_nobody_up_for_long(
    run: Run, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sessions, "SAVE_S", 0.1)
    service = run(redis_url=own_redis.url)
    process = own_redis._process
    assert process is not None
    async with session(service.ws) as client:
        await begin(client, service)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await client.send(p.SourceCommit("a"))
            await client.until(p.TranslationFinal)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        await until(lambda: is_saved(service))


async def test_what_was_under_way_is_done_at_the_other_replica(
    run: Run, redis: RedisServer
) -> None:
    slow, fast = run(FakeEngine(delay_s=60), redis_url=redis.url), run(redis_url=redis.url)
    async with session(slow.ws) as first:
        created = await first.receive()
        assert isinstance(created, p.SessionCreated)
        await first.start("de", "fr")
        await first.until(p.SessionUpdated)
        await first.send(p.SourceCommit("a", text="we go home"))
        shared = slow.state.shared
        assert shared is not None
        await until(lambda: slow.engine.running)
        (share,) = shared._shares
        await until(lambda: "segment:a" in share.sizes and not share.needs_whole)
        async with resumed(fast, created.session, first.last_seq) as (second, answer):
            assert isinstance(answer, p.SessionResumed)  # nothing is said again
            found = await second.until(p.TranslationFinal, count=2)
            told = [event for event in found if isinstance(event, p.TranslationFinal)]
            assert {(event.target, event.text) for event in told} == {
                ("de", "WE GO HOME"),
                ("fr", "WE GO HOME"),
            }


async def test_a_replica_that_drains_leaves_a_session_in_mid_sentence_to_the_next(
    run: Run, redis: RedisServer
) -> None:
    one, two = (run(FakeEngine(delay_s=0.05), redis_url=redis.url) for _ in range(2))
    room = await opened(two)
    async with reading(two, room) as reader, speaking(one, room) as first:
        await next_of(reader, p.RoomState)
        created = await first.receive()
        assert isinstance(created, p.SessionCreated)
        await first.start("de", room=room["id"])
        await first.send(p.SourceCommit("a", text="One."))
        await first.send(p.SourceUpdate(1, "we go home and rest", segment_id="b"))
        await first.until(p.TranslationDelta)
        one.server.handle_exit(signal.SIGTERM, None)
        await first.until(p.SessionGoingAway)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await first.receive()
        assert first.socket.close_code == p.CLOSE_DRAINED
        (final,) = [event for event in first.received if isinstance(event, p.TranslationFinal)]
        assert final.text == "ONE."
        async with resumed(two, created.session, first.last_seq) as (second, answer):
            assert isinstance(answer, p.SessionResumed)
            assert answer.recovered
            await second.send(p.SourceCommit("b", text="we go home and rest now"))
            (last,) = await second.until(p.TranslationFinal)
            assert isinstance(last, p.TranslationFinal)
            assert (last.segment_id, last.text) == ("b", "WE GO HOME AND REST NOW")
            assert await finals(reader, 2) == ["ONE.", "WE GO HOME AND REST NOW"]


# ---- one by one, without sockets ----


@asynccontextmanager
async def two_replicas(redis: RedisServer) -> AsyncIterator[tuple[SharedSessions, SharedSessions]]:
    stores = [Store(redis.url) for _ in range(2)]
    found = [SharedSessions(store, beat_s=0.05) for store in stores]
    for each in found:
        await each.start()
    yield found[0], found[1]
    for each, store in zip(found, stores, strict=True):
        await each.stop()
        await store.close()


def whole(seq: int, *frames: str, **parts: Any) -> News:
    return News(True, {"head": {"x": seq}, **parts}, seq, list(frames), [])


async def claim(replica: SharedSessions, share: Share, seq: int = 1) -> Found:
    found = await replica.claim(share.session_id, share.digest, share.epoch, seq, None)
    assert isinstance(found, Found)
    return found


@pytest.fixture
def share(request: pytest.FixtureRequest) -> Share:
    return Share(request.node.name, digest_of("token"), "epoch")


async def test_parts_are_written_as_they_change(redis: RedisServer, share: Share) -> None:
    async with two_replicas(redis) as (one, two):
        one.share(share)
        news = whole(2, '{"seq":2}', **{"segment:a": [1], "segment:b": [2]})
        assert await one.save(share, news) == "saved"
        more = News(False, {"segment:a": None, "segment:b": [3]}, 3, ['{"seq":3}'], ['{"f":1}'])
        assert await one.save(share, more) == "saved"
        found = await claim(two, share)
        assert found == Found(
            share.session_id, share.digest, "epoch", 2,
            {"head": {"x": 2}, "segment:b": [3]}, 3, ['{"seq":2}', '{"seq":3}'], ['{"f":1}'],
        )  # fmt: skip


async def test_who_comes_back_late_cannot_write_any_more(redis: RedisServer, share: Share) -> None:
    async with two_replicas(redis) as (one, two):
        told: list[bool] = []
        share.on_superseded = lambda: told.append(True)
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        found = await claim(two, share)
        later = two.share(Share(share.session_id, share.digest, "epoch", found.generation))
        assert await two.save(later, whole(3, "b")) == "saved"
        for is_whole in (False, True):
            late = replace(whole(9, "late"), is_whole=is_whole)
            assert await one.save(share, late) == "superseded"
            share.is_superseded = False
        two.end(later)
        later.is_superseded = True
        assert (await claim(one, share)).frames == ["b"]
        assert told


async def test_who_takes_over_from_one_that_wrote_often_is_believed_at_once(
    redis: RedisServer, share: Share
) -> None:
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        for seq in range(3, 20):
            assert await one.save(share, News(False, {}, seq, ["a"], [])) == "saved"
        found = await claim(two, share)
        later = two.share(Share(share.session_id, share.digest, "epoch", found.generation))
        assert await two.save(later, whole(20, "b")) == "saved"
        assert await two.save(later, News(False, {}, 21, ["c"], [])) == "saved"
        found = await claim(one, share, seq=21)  # what the second has written is there
        assert (found.seq, found.frames) == (21, ["b", "c"])


async def test_a_claim_whose_answer_was_late_counts_once(
    redis: RedisServer, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        ask, num_asked = two._store.ask, 0

        async def late(act: Any) -> Any:
            nonlocal num_asked
            found = await ask(act)
            if "claim" in act.__qualname__:
                num_asked += 1
                if num_asked == 1:
                    raise StoreLost("TimeoutError")
            return found

        monkeypatch.setattr(two._store, "ask", late)
        found = await claim(two, share)
        assert (num_asked, found.generation, found.frames) == (2, 2, ["a"])
        later = two.share(Share(share.session_id, share.digest, "epoch", found.generation))
        assert await two.save(later, whole(3, "b")) == "saved"


@pytest.mark.parametrize("is_over", [False, True])
async def test_an_older_copy_in_redis_is_written_over(
    redis: RedisServer, share: Share, is_over: bool
) -> None:
    """Of a replica that was first to write when Redis came back without its memory."""
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        found = await claim(two, share)
        later = two.share(Share(share.session_id, share.digest, "epoch", found.generation))
        assert await two.save(later, whole(3, "b")) == "saved"
        back = asyncio.Event()
        later.on_back = back.set
        client = two._store.client
        keys = shared_sessions._keys(share.session_id)
        await client.delete(*keys)
        assert await one.save(share, whole(2, "a")) == "saved"
        if is_over:
            await one._end(share)
            assert await client.hexists(keys[0], "is_over")
        back.clear()
        async with asyncio.timeout(WAIT_S):
            await back.wait()
        assert not later.is_superseded
        assert await two.save(later, whole(4, "b", "c")) == "saved"
        assert (await claim(one, share, seq=4)).frames == ["b", "c"]


async def test_who_was_superseded_hears_of_it_without_writing(
    redis: RedisServer, share: Share
) -> None:
    async with two_replicas(redis) as (one, two):
        told = asyncio.Event()
        share.on_superseded = told.set
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        await claim(two, share)
        async with asyncio.timeout(WAIT_S):
            await told.wait()
        assert share.is_superseded


async def test_of_a_session_that_is_over_only_its_count_stays_for_a_while(
    redis: RedisServer, share: Share
) -> None:
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a text")) == "saved"
        keys = shared_sessions._keys(share.session_id)
        lives = [await one._store.client.pttl(key) for key in keys[:2]]
        assert all(0 < life <= KEPT_S * 1e3 for life in lives)
        one.end(share)
        await until_not(lambda: one._store.client.exists(*keys[1:]))
        assert await one._store.client.hgetall(keys[0]) == {b"generation": b"1", b"is_over": b"1"}
        assert 0 < await one._store.client.pttl(keys[0]) <= KEPT_S * 1e3
        assert await two.claim(share.session_id, share.digest, "epoch", 1, None) is None
        other = Share(share.session_id, share.digest, "epoch")
        assert await two.save(two.share(other), whole(3, "b")) == "superseded"


async def test_who_saw_more_than_is_known_does_not_go_on_with_it(
    redis: RedisServer, share: Share
) -> None:
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        assert await two.claim(share.session_id, share.digest, "epoch", 3, None) is None
        assert await one.claim(share.session_id, share.digest, "epoch", 3, share) == "ours"
        assert await one.save(share, News(False, {}, 3, ["b"], [])) == "saved"


async def test_what_redis_forgot_is_written_as_a_whole(redis: RedisServer, share: Share) -> None:
    async with two_replicas(redis) as (one, two):
        back = asyncio.Event()
        share.on_back = back.set
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        await one._store.client.delete(*shared_sessions._keys(share.session_id))
        async with asyncio.timeout(WAIT_S):
            await back.wait()
        assert await one.save(share, News(False, {}, 3, ["b"], [])) == "missing"
        assert await one.save(share, whole(3, "a", "b")) == "saved"
        assert (await claim(two, share)).frames == ["a", "b"]


async def test_a_session_that_is_too_large_is_not_shared(
    redis: RedisServer, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sessions, "MAX_BYTES", 1000)
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        large = News(False, {"segment:a": "x" * 1000}, 3, ["b"], [])
        assert await one.save(share, large) == "lost"
        assert not one.takes(share)
        head = shared_sessions._keys(share.session_id)[0]
        await until_not(lambda: two._store.client.hexists(head, "seq"))
        assert await two.claim(share.session_id, share.digest, "epoch", 1, None) is None


async def test_frames_are_bounded_in_number_and_size(
    redis: RedisServer, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sessions, "MAX_LOG_BYTES", 1000)
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(1)) == "saved"
        for seq in range(2, 30):
            news = News(False, {}, seq, [f"{seq}".ljust(100)], [])
            assert await one.save(share, news) == "saved"
        found = await claim(two, share)
        assert [int(frame) for frame in found.frames] == list(range(20, 30))
        assert found.seq == 29


async def test_a_lost_redis_takes_over_nothing(
    own_redis: RedisServer, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sessions, "CLAIM_S", 0.1)
    async with two_replicas(own_redis) as (one, _):
        own_redis.stop()
        assert await one.save(one.share(share), whole(2, "a")) == "lost"
        assert not one.takes(share)
        for _ in range(2):
            with pytest.raises(StoreLost):
                await one.claim(share.session_id, share.digest, "epoch", 1, None)
        own_redis.start()
        await until(lambda: one.takes(share))
        assert await one.save(share, whole(2, "a")) == "saved"


async def test_who_comes_back_to_a_replica_that_stands_still_goes_on_with_the_session(
    redis: RedisServer, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sessions, "CLAIM_S", 0.1)
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        assert (await claim(two, share)).frames == ["a"]


async def test_who_comes_back_waits_for_a_redis_that_was_lost_for_a_moment(
    redis: RedisServer, share: Share
) -> None:
    async with two_replicas(redis) as (one, two):
        assert await one.save(one.share(share), whole(2, "a")) == "saved"
        two._lose()  # one answer took too long
        assert (await claim(two, share)).frames == ["a"]
        assert not two.is_lost
