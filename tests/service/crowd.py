"""Speakers and readers who go on whatever happens to the servers, and what reached each of them.

With the client library, as users have it. `check` holds what must be so however often lines broke.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from tokenspeed_client import ConnectionChanged, connect, listen, open_room
from tokenspeed_client.client import Session
from tokenspeed_client.errors import Refused
from tokenspeed_client.events import (
    RoomState,
    SessionCreated,
    TranslationDelta,
    TranslationFinal,
)
from tokenspeed_client.reading import Reader
from tokenspeed_client.rooms import Room

TARGET: Final = "de"
WORDS: Final = "please tell me where the next".split()
PATIENCE_S: Final = 90.0  # for what is still on its way
WORD_S: Final = 0.15
MAX_WAITING: Final = 8  # sentences without a final that one speaks on after, on a slow machine


@dataclass
class Heard:
    """What one client was told.

    Attributes:
        finals: by the name of their segments, every one that came.
        numbers: of what was translated, session by session, or of a room.
        lost_s: when its line was lost last.
        back_s: how long it took, after each loss, until a translation came again.
        num_lost: how often its line was lost.
    """

    finals: dict[str, list[str]] = field(default_factory=dict)
    numbers: list[list[int]] = field(default_factory=lambda: [[]])
    lost_s: float | None = None
    back_s: list[float] = field(default_factory=list)
    num_lost: int = 0

    def take(self, event: object) -> None:
        """Note one event."""
        if isinstance(event, ConnectionChanged) and event.state == "waiting":
            self.num_lost += event.attempt == 1
            self.lost_s = self.lost_s or time.monotonic()
            return
        if isinstance(event, SessionCreated):
            self.numbers.append([])
        if isinstance(event, TranslationDelta | TranslationFinal):
            self.numbers[-1].append(event.seq)
        if isinstance(event, TranslationFinal):
            self.finals.setdefault(event.segment_id, []).append(event.text)
        if isinstance(event, RoomState):  # how the room stands, and no news of what is known
            for segment in event.segments:
                if segment.is_final and self.finals.get(segment.segment_id) != [segment.text]:
                    self.finals.setdefault(segment.segment_id, []).append(segment.text)
        if isinstance(event, TranslationDelta | TranslationFinal) and self.lost_s is not None:
            self.back_s.append(time.monotonic() - self.lost_s)
            self.lost_s = None


@dataclass
class Speaker:
    """One speaker, and who reads along.

    Attributes:
        committed: names of what was said to its end.
    """

    room: Room
    session: Session
    readers: list[Reader]
    heard: Heard = field(default_factory=Heard)
    read: list[Heard] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)


class Crowd:
    """Speakers with readers, each in a room of its own.

    Args:
        url: of the service.
        speakers: how many.
        readers: of each of them.
    """

    def __init__(self, url: str, speakers: int, readers: int) -> None:
        self._url = url
        self._num_speakers = speakers
        self._num_readers = readers
        self._is_over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._talks: list[asyncio.Task[None]] = []
        self.speakers: list[Speaker] = []

    async def __aenter__(self) -> "Crowd":
        async with asyncio.timeout(PATIENCE_S):
            self.speakers = list(
                await asyncio.gather(*(self._come(i) for i in range(self._num_speakers)))
            )
        return self

    async def __aexit__(self, *problem: object) -> None:
        for task in [*self._talks, *self._tasks]:
            task.cancel()
        await asyncio.gather(*self._talks, *self._tasks, return_exceptions=True)
        for each in self.speakers:
            await each.session.__aexit__(RuntimeError, None, None)  # at once
            for reader in each.readers:
                await reader.close()

    async def _come(self, number: int) -> Speaker:
        room = await self._open(f"room {number}")
        session = connect(
            self._url,
            source="en",
            targets=[TARGET],
            room=room.id,
            host_token=room.host_token,
            connect_timeout_s=PATIENCE_S,
            proxy=None,
        )
        await session.__aenter__()
        url = f"{self._url}/r/{room.id}"
        readers = [
            listen(url, TARGET, connect_timeout_s=PATIENCE_S, proxy=None)
            for _ in range(self._num_readers)
        ]
        found = Speaker(room, session, readers, read=[Heard() for _ in readers])
        self._tasks.append(asyncio.create_task(self._hear(session, found.heard)))
        for reader, heard in zip(readers, found.read, strict=True):
            await reader.__aenter__()
            self._tasks.append(asyncio.create_task(self._hear(reader, heard)))
        return found

    async def _open(self, name: str) -> Room:
        while True:
            try:
                return await open_room(self._url, name)
            except Refused as exc:
                if exc.code != 503:  # that Redis was away just now
                    raise
                await asyncio.sleep(0.2)

    async def _hear(self, line: Session | Reader, heard: Heard) -> None:
        async for event in line:
            heard.take(event)

    def begin(self) -> None:
        """Let all of them talk."""
        self._talks = [
            asyncio.create_task(self._talk(number, each))
            for number, each in enumerate(self.speakers)
        ]

    async def _talk(self, number: int, speaker: Speaker) -> None:
        await asyncio.sleep(WORD_S * number / self._num_speakers)
        while not self._is_over.is_set():
            name = f"s{len(speaker.committed)}"
            words = WORDS[: 3 + (number + len(speaker.committed)) % 4]
            for count in range(1, len(words) + 1):
                await speaker.session.update(" ".join(words[:count]), segment_id=name)
                await asyncio.sleep(WORD_S)
            await speaker.session.commit(f"{' '.join(words)}.", segment_id=name)
            speaker.committed.append(name)
            await speaker.session.drain(MAX_WAITING)

    async def until_everybody_spoke(self) -> None:
        """Wait until each speaker got a final of something that is said from now on."""
        begun = [len(each.committed) for each in self.speakers]
        async with asyncio.timeout(PATIENCE_S):
            while any(
                f"s{count}" not in each.heard.finals
                for each, count in zip(self.speakers, begun, strict=True)
            ):
                await self._look()

    async def finish(self) -> None:
        """Let all come to the end of their sentences, and what they said to everybody."""
        self._is_over.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._talks)
            while any(self.missing(each) for each in self.speakers):
                await self._look()

    async def _look(self) -> None:
        ended = [task for task in self._tasks if task.done()]
        for task in ended:
            task.result()
        assert not ended, "a line ended for good"
        await asyncio.sleep(0.05)

    def missing(self, speaker: Speaker) -> int:
        """Return how many finals have not come to everybody yet; a room has its own names."""
        said = len(speaker.committed)
        return sum(max(said - len(h.finals), 0) for h in (speaker.heard, *speaker.read))

    def check(self) -> None:
        """Hold that each committed segment has one final everywhere, and that no event is amiss."""
        for speaker in self.speakers:
            assert speaker.committed
            said = {name: len(texts) for name, texts in speaker.heard.finals.items()}
            assert said == dict.fromkeys(speaker.committed, 1), said
            texts = [speaker.heard.finals[name] for name in speaker.committed]
            for heard in speaker.read:
                read = [heard.finals[name] for name in sorted(heard.finals, key=int)]
                assert read == texts, (read, texts)
            for heard in (speaker.heard, *speaker.read):
                for numbers in heard.numbers:
                    assert numbers == sorted(set(numbers)), numbers

    @property
    def num_lost(self) -> int:
        """How often speakers lost their lines."""
        return sum(each.heard.num_lost for each in self.speakers)

    def recovered_s(self) -> list[float]:
        """Return how long each client that lost its line was without translations."""
        everybody = [heard for each in self.speakers for heard in (each.heard, *each.read)]
        return sorted(seconds for heard in everybody for seconds in heard.back_s)
