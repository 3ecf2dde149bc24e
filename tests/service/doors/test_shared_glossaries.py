"""A glossary given at one replica is used, seen and taken away at another; through a real Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.captions.glossaries import KEPT_S, MAX_OF_CLIENT, StoredGlossary, new_id
from service.doors import shared_glossaries
from service.doors.shared_glossaries import SharedGlossaries
from service.errors import RestError
from service.store import Store
from service.wire import protocol as p
from tests.service.client import session
from tests.service.conftest import Run, Service
from tests.service.redis_server import RedisServer
from tokenspeed.text.glossary import Term

TERMS = (Term("ticket", "Karte"), Term("ATM", "ATM", is_case_sensitive=True, is_exact=True))
BODY = {"name": "x", "source_lang": "en", "target_lang": "de", "entries": "cable\tKabel"}
KEYS = ("a-key-of-more-than-16", "b-key-of-more-than-16")


@asynccontextmanager
async def two_replicas(
    redis: RedisServer,
) -> AsyncIterator[tuple[SharedGlossaries, SharedGlossaries]]:
    stores = [Store(redis.url) for _ in range(2)]
    yield SharedGlossaries(stores[0]), SharedGlossaries(stores[1])
    for store in stores:
        await store.close()


async def add(kept: SharedGlossaries, client: str, *terms: Term) -> StoredGlossary | None:
    made = StoredGlossary(new_id(), client, "mine", "en", "de", terms or TERMS, 1.5)
    return await kept.add(made, 0.0)


def asked(service: Service) -> str:
    return "".join(chr(t) for t in service.engine.requests[-1].prompt if t < 0x110000)


def http(service: Service, key: str = "") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=service.http, trust_env=False, headers=headers)


async def test_an_id_is_good_at_every_replica(run: Run, redis: RedisServer) -> None:
    one, two = (run(redis_url=redis.url) for _ in range(2))
    async with http(one) as first, http(two) as second:
        key = (await first.post("/v2/glossaries", json=BODY)).json()["glossary_id"]
        wish: dict[str, Any] = {"source": "en", "target": "de", "glossary_id": key}
        assert (await second.post("/translate", json={"q": "a cable", **wish})).status_code == 200
        assert "cable" not in asked(two)
        wanted = p.SessionParams(
            source=p.SourceParams("en"), targets=(p.TargetParams("de", glossary_id=key),)
        )
        async with session(two.ws) as socket:
            await socket.send(p.SessionUpdate(wanted))
            await socket.send(p.SourceCommit("a", text="the cable"))
            final = (await socket.until(p.TranslationFinal))[-1]
            assert isinstance(final, p.TranslationFinal)
            assert final.stats.terms == 1
        assert (await second.delete(f"/v2/glossaries/{key}")).status_code == 204
        gone = await first.post("/translate", json={"q": "a cable", **wish})
        assert gone.status_code == 404
        async with session(one.ws) as socket:
            await socket.send(p.SessionUpdate(wanted))
            error = (await socket.until(p.Error))[-1]
            assert isinstance(error, p.Error)
            assert error.error.code == "glossary_invalid"


async def test_a_glossary_is_its_owner_s_at_every_replica(run: Run, redis: RedisServer) -> None:
    one, two = (run(redis_url=redis.url, api_keys=KEYS) for _ in range(2))
    async with (
        http(one, KEYS[0]) as first,
        http(two, KEYS[0]) as elsewhere,
        http(two, KEYS[1]) as other,
    ):
        made = (await first.post("/v2/glossaries", json=BODY)).json()
        where = f"/v2/glossaries/{made['glossary_id']}"
        assert (await elsewhere.get(where)).json() == made
        assert (await elsewhere.get(f"{where}/entries")).text == "cable\tKabel"
        assert made in (await elsewhere.get("/v2/glossaries")).json()["glossaries"]
        assert made not in (await other.get("/v2/glossaries")).json()["glossaries"]
        assert (await other.get(where)).status_code == 404
        assert (await other.delete(where)).status_code == 404
        wish = {"q": "a cable", "source": "en", "target": "de", "glossary_id": made["glossary_id"]}
        assert (await other.post("/translate", json=wish)).status_code == 200
        assert (await elsewhere.delete(where)).status_code == 204
        assert (await first.get(where)).status_code == 404


async def test_what_is_found_is_what_was_given(redis: RedisServer) -> None:
    async with two_replicas(redis) as (one, two):
        made = await add(one, "me")
        assert made is not None
        found = await two.find(made.id, 0.0)
        assert found == made
        assert found.terms == TERMS
        assert await two.find(made.id, 0.0) is found  # read once: who uses it knows it by that
        assert two.recent(made.id, 0.0) is found
        assert one.recent(made.id, 0.0) is None
        assert two.is_of(found, "me")
        assert not two.is_of(found, "you")
        assert not await two.remove(made.id, "you")
        assert await one.remove(made.id, "me")
        assert await two.find(made.id, 0.0) is None
        assert two.recent(made.id, 0.0) is None
        assert not await two.remove(made.id, "me")
        for wrong in ("", "x" * 36, f"{made.id}:x", "*"):
            assert await two.find(wrong, 0.0) is None
            assert not await two.remove(wrong, "me")


async def test_limits_are_those_of_all_replicas_together(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_glossaries, "MAX_ENTRIES_IN_ALL", 2 * MAX_OF_CLIENT + 3)
    async with two_replicas(own_redis) as (one, two):
        made = [await add((one, two)[i % 2], "me") for i in range(MAX_OF_CLIENT)]
        assert [each and each.id for each in made] == [each.id for each in await two.of("me", 0.0)]
        assert await add(one, "me", Term("a", "b")) is None
        assert await add(one, "you") is not None  # two entries of three
        assert await add(two, "you") is None
        assert made[0] is not None
        assert await two.remove(made[0].id, "me")
        assert await add(one, "me") is not None
        assert await add(two, "them") is None


async def test_one_that_is_used_lives_on_and_others_are_forgotten(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = [1_000_000]
    monkeypatch.setattr(shared_glossaries, "_now_ms", lambda: now_ms[0])
    monkeypatch.setattr(shared_glossaries, "MAX_ENTRIES_IN_ALL", 4)
    async with two_replicas(own_redis) as (one, two):
        used, idle = await add(one, "me"), await add(one, "me")
        assert used is not None
        assert idle is not None
        redis = one._store.client
        for key in (f"tokenspeed:glossary:{idle.id}", shared_glossaries._OF + "x"):
            assert await redis.pttl(key) <= KEPT_S * 1e3
        now_ms[0] += int(KEPT_S * 1e3) - 1
        assert await two.find(used.id, 0.0) is not None
        assert await add(two, "you") is None
        now_ms[0] += 2
        await redis.delete(f"tokenspeed:glossary:{idle.id}")  # as Redis does on its own clock
        assert [each.id for each in await two.of("me", 0.0)] == [used.id]
        assert await add(two, "you") is not None  # in place of what is forgotten
        assert await add(two, "you") is None


async def test_who_gave_one_is_not_written_down(own_redis: RedisServer) -> None:
    async with two_replicas(own_redis) as (one, _):
        await add(one, f"key {KEYS[0]}")
        redis = one._store.client
        names = await redis.keys("*")
        assert len(names) == 4
        said = repr(names)
        for name in names:
            said += repr(await redis.dump(name))
        assert KEYS[0] not in said


async def test_without_redis_it_is_said_that_it_cannot_be_reached(
    run: Run, own_redis: RedisServer
) -> None:
    service = run(redis_url=own_redis.url)
    async with http(service) as client:
        key = (await client.post("/v2/glossaries", json=BODY)).json()["glossary_id"]
        own_redis.stop()
        wish = {"q": "a cable", "source": "en", "target": "de", "glossary_id": key}
        assert (await client.post("/translate", json=wish)).status_code == 503
        assert (await client.post("/v2/glossaries", json=BODY)).status_code == 503
        assert (await client.get("/v2/glossaries")).status_code == 503
        async with session(service.ws) as socket:
            targets = (p.TargetParams("de", glossary_id=key),)
            await socket.send(p.SessionUpdate(p.SessionParams(targets=targets)))
            error = (await socket.until(p.Error))[-1]
            assert isinstance(error, p.Error)
            assert error.error.code == "overloaded"
            assert error.error.retryable
            await socket.start("fr")  # and goes on without
            await socket.send(p.SourceCommit("a", text="one"))
            await socket.until(p.TranslationFinal)
    async with two_replicas(own_redis) as (one, _):
        with pytest.raises(RestError, match="try again"):
            await one.remove("0" * 8 + "-0000" * 3 + "-" + "0" * 12, "me")
