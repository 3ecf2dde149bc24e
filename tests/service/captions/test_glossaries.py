"""Glossaries that are kept: by ids, so many of each client, for a day after they were used."""

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from service.captions.glossaries import (
    KEPT_S,
    MAX_ENTRIES,
    MAX_ENTRIES_IN_ALL,
    MAX_OF_CLIENT,
    StoredGlossaries,
    StoredGlossary,
    new_id,
)
from tokenspeed.text.glossary import Term

TERMS = (Term("ticket", "Karte"),)


def new(client: Hashable, name: str = "x", terms: tuple[Term, ...] = TERMS) -> StoredGlossary:
    return StoredGlossary(new_id(), client, name, "en", "de", terms, 0.0)


async def test_a_glossary_is_found_by_its_id_and_taken_away_by_its_owner() -> None:
    kept = StoredGlossaries()
    made = await kept.add(new("me", "mine"), 0.0)
    assert made is not None
    found = await kept.find(made.id, 5.0)
    assert found is not None
    assert (found.name, found.terms) == ("mine", TERMS)
    assert not await kept.remove(made.id, "you")
    assert await kept.remove(made.id, "me")
    assert await kept.find(made.id, 5.0) is None
    assert not await kept.remove(made.id, "me")


async def test_one_that_is_used_lives_on() -> None:
    kept = StoredGlossaries()
    used, idle = [await kept.add(new("me", name), 0.0) for name in "ab"]
    assert used is not None
    assert idle is not None
    assert await kept.find(used.id, KEPT_S - 1) is not None
    assert [each.id for each in await kept.of("me", KEPT_S + 1)] == [used.id]


@given(st.lists(st.sampled_from("abc"), max_size=100))
async def test_no_client_takes_the_room_of_others(clients: list[str]) -> None:
    kept = StoredGlossaries()
    for client in clients:
        await kept.add(new(client), 0.0)
    for client in "abc":
        assert len(await kept.of(client, 0.0)) == min(clients.count(client), MAX_OF_CLIENT)


async def test_there_is_an_end_to_all_entries() -> None:
    kept, many = StoredGlossaries(), TERMS * MAX_ENTRIES
    for number in range(MAX_ENTRIES_IN_ALL // MAX_ENTRIES):
        assert await kept.add(new(number, terms=many), 0.0) is not None
    assert await kept.add(new("me"), 0.0) is None
    assert await kept.add(new("me"), KEPT_S) is not None
