"""Signs of life: which replicas are there, and whether Redis still has the memory that it had.

Knows keys and beats; does not know what a replica does.
"""

import secrets
from collections.abc import Iterable
from typing import Any, Final

from service.store import PREFIX, Store

SILENT_BEATS: Final = 3  # without a sign of life, before it runs out
GONE_BEATS: Final = 2  # in a row without one: at the first, Redis may just have lost its memory


class Signs:
    """This replica's signs of life, and those of others.

    Its coroutines raise StoreLost if Redis is lost.

    Args:
        store: the Redis.
        beat_s: between signs of life.

    Attributes:
        channel: on which each of our own is published.
    """

    def __init__(self, store: Store, beat_s: float) -> None:
        self.channel = _key(store.replica)
        self._store = store
        self._life_ms = int(SILENT_BEATS * beat_s * 1e3)
        self._silent: dict[str, int] = {}  # beats without a sign of life, by replica

    async def give(self) -> None:
        """Give a sign of life, to ourselves as well, to know that we still hear."""

        async def act(client: Any) -> None:
            async with client.pipeline(transaction=False) as pipe:
                pipe.set(self.channel, 1, px=self._life_ms)
                pipe.publish(self.channel, b"")
                await pipe.execute()

        await self._store.ask(act)

    async def take_back(self) -> None:
        """This replica ends."""
        await self._store.ask(lambda client: client.delete(self.channel))

    async def gone(self, replicas: Iterable[str]) -> list[str]:
        """Return which of these count as gone; to be asked once a beat."""
        names = sorted(replicas)
        if not names:
            self._silent.clear()
            return []
        alive = await self._store.ask(lambda client: client.mget([_key(name) for name in names]))
        silent = [name for name, sign in zip(names, alive, strict=True) if sign is None]
        self._silent = {name: self._silent.get(name, 0) + 1 for name in silent}
        return [name for name, beats in self._silent.items() if beats >= GONE_BEATS]

    def start_over(self) -> None:
        """Redis is lost: who is silent says nothing."""
        self._silent.clear()

    async def memory(self) -> bytes:
        """Return what identifies the memory of Redis; it changes when that is lost."""
        key = f"{PREFIX}born"

        async def act(client: Any) -> bytes:
            await client.set(key, secrets.token_hex(8), nx=True)
            return await client.get(key)

        return await self._store.ask(act)


def _key(replica: str) -> str:
    return f"{PREFIX}replica:{replica}"
