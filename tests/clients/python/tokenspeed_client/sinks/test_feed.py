"""A feed before a sink that fails now and then."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed_client.sinks.feed import Feed, SinkError, SinkRefused


@dataclass
class Moody:
    """A sink that does what it was told: works, fails, or fails for good."""

    moods: Iterator[str]
    shown: list[str] = field(default_factory=list)
    is_closed: bool = False

    async def open(self) -> None:
        self._obey(next(self.moods, "well"))

    async def show(self, text: str) -> None:
        self._obey(next(self.moods, "well"))
        self.shown.append(text)

    async def close(self) -> None:
        self.is_closed = True

    def _obey(self, mood: str) -> None:
        if mood == "refused":
            raise SinkRefused("not you")
        if mood != "well":
            raise SinkError(mood, is_retryable=mood == "busy")


async def feed(moods: list[str], texts: list[str]) -> tuple[Moody, list[str]]:
    sink, told = Moody(iter(moods)), list[str]()
    found = Feed(sink, told.append)
    await found.open()
    for text in texts:
        found.add(text)
    await found.close()
    return sink, told


async def test_what_failed_is_shown_in_its_place_and_told_once() -> None:
    sink, told = await feed(["busy", "busy", "well", "busy"], ["a", "b"])
    assert sink.shown == ["a", "b"]
    assert told == ["busy", "busy"]  # the second after a caption that was shown
    assert sink.is_closed


@given(st.lists(st.sampled_from(["well", "useless"])), st.lists(st.text(), max_size=9))
def test_what_cannot_be_shown_is_left_out_and_holds_up_nothing(
    moods: list[str], texts: list[str]
) -> None:
    sink, _ = asyncio.run(feed(["well", *moods], texts))
    padded = moods + ["well"] * len(texts)
    assert sink.shown == [text for text, mood in zip(texts, padded, strict=False) if mood == "well"]


async def test_a_sink_that_refuses_is_asked_no_more() -> None:
    sink, told = await feed(["well", "well", "refused"], ["a", "b", "c"])
    assert (sink.shown, told) == (["a"], ["not you"])
    with pytest.raises(SinkRefused):
        await feed(["refused"], [])
