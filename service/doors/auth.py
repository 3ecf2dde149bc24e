"""Who may connect: API keys, single-use tokens, and the origin of a page.

Knows secrets and headers; does not know sockets and reads no clock.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.errors import AuthError, RestError, StoreLost

if TYPE_CHECKING:
    from service.store import Store

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class Auth:
    """Checks credentials.

    Args:
        api_keys: long-lived secrets of servers; none means that no credentials are needed.
        token_s: lifetime of a token in seconds.
        store: where replicas share tokens, by digest only.
    """

    def __init__(
        self, api_keys: Sequence[str], token_s: float, store: "Store | None" = None
    ) -> None:
        self._store = store
        self._keys = [key.encode() for key in api_keys]
        self._token_s = token_s
        self._tokens: dict[str, tuple[str, float]] = {}  # token -> session id, when it expires

    @property
    def is_required(self) -> bool:
        """Whether credentials are required."""
        return bool(self._keys)

    def is_key(self, candidate: str | None) -> bool:
        """Whether this is an API key; the time taken reveals nothing about the keys."""
        given = (candidate or "").encode()
        # Every key is compared, so that the time does not tell which one came close.
        return any([hmac.compare_digest(given, key) for key in self._keys])

    async def issue(self, session_id: str, now_s: float) -> tuple[str, float]:
        """Return a new single-use token for a session, and its lifetime in seconds."""
        # The oldest come first, and each has one turn: a hundred thousand may wait to be used.
        oldest = list(islice(self._tokens.items(), 2))
        for old in [token for token, (_, until_s) in oldest if until_s <= now_s]:
            del self._tokens[old]
        token = secrets.token_urlsafe(32)
        if self._store is not None:
            key, life_ms = _token_key(self._store, token), int(self._token_s * 1e3)
            try:
                await self._store.ask(lambda client: client.set(key, session_id, px=life_ms))
            except StoreLost as exc:
                raise RestError(503, "no token can be made now; try again", 1) from exc
        else:
            self._tokens[token] = (session_id, now_s + self._token_s)
        return token, self._token_s

    async def check(self, credential: str | None, now_s: float) -> str | None:
        """Accept an API key, or use up a token.

        Returns:
            The session id that the token was made for; None for a key, or if none is required.
        Raises:
            AuthError: it is neither, or the token has expired or been used.
            RestError: tokens cannot be looked up at the moment.
        """
        # The token is a random name of 256 bits: a dictionary look-up reveals nothing.
        found = self._tokens.pop(credential or "", None)
        if found is not None and found[1] > now_s:
            return found[0]
        if self.is_key(credential):
            return None
        session_id = await self._shared(credential) if credential else None
        if session_id is not None or not self.is_required:
            return session_id
        if found is not None:
            raise AuthError("the token has expired")
        raise AuthError("the token or key is missing, unknown or used up")

    async def _shared(self, token: str) -> str | None:
        """Use up a token that replicas share; return its session."""
        if self._store is None:
            return None
        try:
            key = _token_key(self._store, token)
            found = await self._store.ask(lambda client: client.getdel(key))
        except StoreLost as exc:
            if not self.is_required:
                return None
            raise RestError(503, "tokens cannot be checked now; try again", 1) from exc
        return found.decode() if isinstance(found, bytes) else found


def _token_key(store: "Store", token: str) -> str:
    return store.key("token", hashlib.sha256(token.encode()).hexdigest())


def bearer(header: str | None) -> str | None:
    """Return the credential in an Authorization header."""
    scheme, _, value = (header or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else None


def is_origin_allowed(
    origin: str | None, host: str | None, allowed: Sequence[str], *, is_local: bool
) -> bool:
    """Whether a page from this origin may do more than read.

    CORS protects neither WebSockets nor forms: browsers send both without asking first.

    Args:
        origin: header of the request; browsers always send it, other clients do not.
        host: header of the request.
        allowed: origins of other sites that may connect; "*" is any.
        is_local: whether the service is only open to this machine. Then the host must name this
            machine, or a foreign page could reach it by pointing its own name here (DNS rebinding).
    """
    if origin is None:
        return True
    if origin in allowed or "*" in allowed:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:  # such as "http://["
        return False
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != (host or "").lower():
        return False
    return not is_local or name in LOOPBACK_NAMES


def host_name(host: str | None) -> str:
    """Return the name in a Host header, without its port; "" if it is not one."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:  # such as a port of a thousand digits
        return ""
    return name or ""
