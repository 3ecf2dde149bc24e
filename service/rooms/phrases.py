"""Pass phrases of rooms that replicas share: as salted, slow hashes.

Whoever reads Redis must still try phrases one by one. Knows no rooms, and counts no tries.
"""

import asyncio
import hashlib
import hmac
import secrets
from typing import Final

SCRYPT: Final = {"n": 2**12, "r": 8, "p": 1}  # 4 MiB and some 10 ms, once per replica and phrase
MAX_CHARS: Final = 1000  # of a phrase that is worth hashing


async def guard_of(pass_phrase: str | None) -> str | None:
    """Return the hash of a pass phrase; None where none is wanted."""
    if not pass_phrase:
        return None
    salt = secrets.token_hex(16)
    return f"{salt}${await asyncio.to_thread(_scrypt, pass_phrase, salt)}"


class Phrases:
    """Checks the pass phrases of a room; one that fitted costs nothing again."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)
        self._known = b""

    async def fits(self, guard: str | None, pass_phrase: str) -> bool:
        """Whether a pass phrase is that of a guard."""
        if guard is None or len(pass_phrase) > MAX_CHARS:
            return guard is None
        # Known by a digest that is worth nothing elsewhere: readers who come back cost nothing.
        known = hashlib.sha256(self._salt + guard.encode() + pass_phrase.encode()).digest()
        if known == self._known:
            return True
        salt, _, wanted = guard.partition("$")
        given = await asyncio.to_thread(_scrypt, pass_phrase, salt)
        if not hmac.compare_digest(given, wanted):
            return False
        self._known = known
        return True


def _scrypt(pass_phrase: str, salt: str) -> str:
    return hashlib.scrypt(pass_phrase.encode(), salt=bytes.fromhex(salt), dklen=32, **SCRYPT).hex()
