"""Sessions that outlive their connection: who may resume which, and how long each is kept.

Knows sessions by name and token; what is sent again is the connection's affair.
"""

import asyncio
import contextlib
import hmac
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from service.doors.sharing import Found, Share, digest_of
from service.doors.socket import Socket
from service.errors import ProtocolError, StoreLost
from service.wire import protocol

if TYPE_CHECKING:
    from service.doors.shared_sessions import SharedSessions

logger = logging.getLogger("service.doors.resume")

RESUME_S: Final = 60.0  # that a session waits for its client to return
FIRST_WORD_S: Final = 1.0  # that a full service waits for a client to say whose session it is
# Codes of a line whose client did not say goodbye. Libraries use 1011 if no pong came, and a server
# that holds our sockets, such as a proxy of Ray's, uses 1012 when it stops.
LOST_LINE: Final = (1005, 1006, 1011, protocol.CLOSE_RESTARTED, protocol.CLOSE_SUPERSEDED)


class Resumable(Protocol):
    """A connection whose session another connection may take over."""

    @property
    def session_id(self) -> str:
        """Names the session."""
        ...

    @property
    def digest(self) -> str:
        """Digest of the token that only its client knows."""
        ...

    @property
    def epoch(self) -> str:
        """Names the process that it began in."""
        ...

    @property
    def share(self) -> Share | None:
        """The session as saved for other replicas; None if they share nothing."""
        ...

    @property
    def address(self) -> str:
        """The client's address."""
        ...

    @property
    def worth(self) -> int:
        """How much would be lost with the session; 0 where nothing was said."""
        ...

    async def resume(self, socket: Socket, last_seq: int) -> None:
        """Continue the session on another socket; return once that is closed."""
        ...

    def retire(self) -> None:
        """Note that nobody will resume it."""
        ...


class Resumes(Exception):
    """A connection's first message takes over an older session.

    Attributes:
        older: the connection that has it.
        last_seq: the newest event that the client has.
    """

    def __init__(self, older: Resumable, last_seq: int) -> None:
        self.older = older
        self.last_seq = last_seq
        super().__init__(f"resumes after {last_seq}")


class _Waiting(NamedTuple):
    """A session that has lost its connection."""

    address: str
    worth: int
    expiry: asyncio.TimerHandle


class ResumableSessions:
    """The sessions of this process that can be resumed, by id.

    Args:
        max_sessions: more than twice as many are never kept.
        shared: those of other replicas, where there are any.

    Attributes:
        restore: makes one that was on another replica, or raises ValueError.
    """

    def __init__(self, max_sessions: int, shared: "SharedSessions | None" = None) -> None:
        self.restore: Callable[[Found], Awaitable[Resumable]] = _none_restored
        self._shared = shared
        self._max_kept = 2 * max_sessions
        self._known: dict[str, Resumable] = {}
        self._waiting: dict[str, _Waiting] = {}  # for their clients, by session
        # By address and worth, oldest first: a crowd that leaves at once is not ranked each time.
        self._ranked: dict[str, dict[int, dict[str, int]]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._known

    def add(self, connection: Resumable) -> None:
        """Keep a session while it has a connection."""
        self._known[connection.session_id] = connection
        self._unpark(connection.session_id)

    def park(self, connection: Resumable) -> None:
        """Keep a session that has lost its connection, for RESUME_S at most.

        If there are too many, one of the address that has most of them is forgotten: the least
        valuable, then the oldest. So nobody evicts others by dropping many connections.
        """
        session_id, address, worth = connection.session_id, connection.address, connection.worth
        self._unpark(session_id)
        expiry = asyncio.get_running_loop().call_later(RESUME_S, self.retire, connection)
        self._waiting[session_id] = _Waiting(address, worth, expiry)
        ranked = self._ranked.setdefault(address, {}).setdefault(worth, {})
        ranked[session_id] = next(self._numbers)
        if len(self._known) > self._max_kept:
            self.retire(self._known[self._least()])

    def _unpark(self, session_id: str) -> None:
        waiting = self._waiting.pop(session_id, None)
        if waiting is None:
            return
        waiting.expiry.cancel()
        by_worth = self._ranked[waiting.address]
        del by_worth[waiting.worth][session_id]
        if not by_worth[waiting.worth]:
            del by_worth[waiting.worth]
        if not by_worth:
            del self._ranked[waiting.address]

    def _least(self) -> str:
        """Return which session to forget first."""
        held = {address: sum(map(len, each.values())) for address, each in self._ranked.items()}
        most = max(held.values())
        firsts = []
        for address in (each for each in held if held[each] == most):
            worth = min(self._ranked[address])
            session_id, number = next(iter(self._ranked[address][worth].items()))
            firsts.append((worth, number, session_id))
        return min(firsts)[2]

    def retire(self, connection: Resumable) -> None:
        """Forget a session, but not one that has taken its place here."""
        if self._known.get(connection.session_id) is connection:
            del self._known[connection.session_id]
            self._unpark(connection.session_id)
        connection.retire()

    async def check_next(self, socket: Socket) -> None:
        """Read the first frame of a connection that is not to get a session of its own.

        Raises:
            Resumes: it rightly asks for an older session.
            Disconnected: the client left.
        """
        if not self._known:
            return
        with contextlib.suppress(TimeoutError, ProtocolError):
            async with asyncio.timeout(FIRST_WORD_S):
                frame = await socket.receive()
            await self.check(protocol.parse_client(frame), has_place=False)

    async def check(
        self,
        event: protocol.ClientEvent,
        asking: Resumable | None = None,
        *,
        has_place: bool = True,
    ) -> None:
        """Check the first event of a connection.

        Args:
            has_place: whether there is room for a session of another replica.
        Raises:
            Resumes: it rightly asks for an older session.
        """
        if not isinstance(event, protocol.SessionResume):
            return
        digest = digest_of(event.resume_token)
        older = self._known.get(event.session_id)
        if older is not None and (
            older is asking
            or older.epoch != event.epoch
            or not hmac.compare_digest(older.digest, digest)
        ):
            return
        if self._shared is not None and (older is not None or has_place):
            older = await self._claim(self._shared, event, digest, older)
        if older is not None:
            raise Resumes(older, event.last_seq)

    async def _claim(
        self,
        shared: "SharedSessions",
        event: protocol.SessionResume,
        digest: str,
        older: Resumable | None,
    ) -> Resumable | None:
        """Return the session, from this process or as another replica left it."""
        own = None if older is None else older.share
        try:
            found = await shared.claim(event.session_id, digest, event.epoch, event.last_seq, own)
        except StoreLost:
            found = None
            if own is not None:
                own.is_unsure = True
        if found == "ours" and own is not None:
            own.is_unsure = False
        if isinstance(found, Found):
            try:
                return await self.restore(found)
            except (ValueError, ProtocolError) as exc:
                data = {"session": event.session_id, "problem": str(exc)}
                logger.warning("session not restored", extra={"data": data})
                return None
        if own is not None and own.is_superseded:
            return None
        # Meanwhile it may have been forgotten here, and then it must not be continued.
        return older if self._known.get(event.session_id) is older else None


async def _none_restored(found: Found) -> Resumable:
    raise ValueError("nothing restores it")
