"""Keys, tokens and origins."""

import pytest

from service.doors.auth import Auth, bearer, host_name, is_origin_allowed
from service.errors import AuthError

KEY = "a-key-of-more-than-16"


async def test_a_token_works_once_and_not_for_long() -> None:
    auth = Auth([KEY], token_s=60)
    token, life_s = await auth.issue("s1", now_s=0)
    assert life_s == 60
    assert await auth.check(token, now_s=59) == "s1"
    with pytest.raises(AuthError, match="used up"):
        await auth.check(token, now_s=59)
    late, _ = await auth.issue("s2", now_s=0)
    with pytest.raises(AuthError, match="expired"):
        await auth.check(late, now_s=60)
    for nothing in (None, "", "x"):
        with pytest.raises(AuthError):
            await auth.check(nothing, now_s=0)
    await auth.check(KEY, now_s=0)
    await auth.check(KEY, now_s=10**6)


async def test_without_keys_nobody_is_asked() -> None:
    auth = Auth([], token_s=60)
    assert not auth.is_required
    await auth.check(None, now_s=0)
    assert not auth.is_key("")


def test_bearer() -> None:
    assert bearer("Bearer abc") == "abc"
    assert bearer("bearer  abc ") == "abc"
    assert bearer("Basic abc") is None
    assert bearer("Bearer ") is None
    assert bearer(None) is None


@pytest.mark.parametrize(
    ("origin", "host", "is_local", "is_allowed"),
    [
        (None, "example.org", False, True),
        ("https://example.org", "example.org", False, True),
        ("https://Example.org:8443", "example.org:8443", False, True),
        ("https://example.org", "example.org:8443", False, False),
        ("https://friend.example", "example.org", False, True),
        ("file://", "", False, False),
        ("http://[", "[", False, False),
        ("http://localhost:8000", "localhost:8000", True, True),
        ("http://[::1]:8000", "[::1]:8000", True, True),
        # A foreign name that somebody pointed at this machine.
        ("http://rebound.example:8000", "rebound.example:8000", True, False),
    ],
)
def test_origins(origin: str | None, host: str, is_local: bool, is_allowed: bool) -> None:
    allowed = ("https://friend.example",)
    assert is_origin_allowed(origin, host, allowed, is_local=is_local) is is_allowed


async def test_tokens_that_have_expired_are_forgotten_as_others_are_made() -> None:
    auth = Auth([], token_s=60)
    for number in range(100):
        await auth.issue(f"s{number}", now_s=number)
    assert len(auth._tokens) == 60
    for number in range(100):
        await auth.issue(f"t{number}", now_s=1000)
    assert len(auth._tokens) == 100


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:8000", "localhost"),
        ("[::1]:8000", "::1"),
        ("localhost", "localhost"),
        ("localhost:99999", ""),
        ("localhost:" + "9" * 5000, ""),
        ("[", ""),
        (None, "none"),
    ],
)
def test_a_host_has_a_port_that_there_can_be(host: str | None, name: str) -> None:
    assert host_name(host) == name
