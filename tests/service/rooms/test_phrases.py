"""Pass phrases that replicas share: slow to try, and fast for who comes back."""

from service.rooms import phrases
from service.rooms.phrases import MAX_CHARS, Phrases, guard_of


async def test_a_phrase_fits_its_own_guard_alone() -> None:
    one, other = await guard_of("open sesame"), await guard_of("open sesame")
    assert one is not None
    assert one != other  # each has a salt of its own
    assert "sesame" not in one
    known = Phrases()
    for guard in (one, other):
        assert await known.fits(guard, "open sesame")
        assert await known.fits(guard, "open sesame")
        assert not await known.fits(guard, "open barley")
        assert not await known.fits(guard, "x" * (MAX_CHARS + 1))


async def test_where_none_is_wanted_any_fits() -> None:
    assert await guard_of(None) is await guard_of("") is None
    assert await Phrases().fits(None, "anything")


async def test_what_fitted_is_hashed_slowly_once_and_forgotten_with_its_guard() -> None:
    hashed: list[str] = []
    slow = phrases._scrypt

    def counting(pass_phrase: str, salt: str) -> str:
        hashed.append(pass_phrase)
        return slow(pass_phrase, salt)

    known, guard, later = Phrases(), await guard_of("before"), await guard_of("after")
    phrases._scrypt = counting
    try:
        for _ in range(3):
            assert await known.fits(guard, "before")
        assert not await known.fits(later, "before")
        assert await known.fits(later, "after")
    finally:
        phrases._scrypt = slow
    assert hashed == ["before", "before", "after"]
