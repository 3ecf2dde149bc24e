"""What a newcomer is told of a long room: segments that are serialised, joined block by block.

A block that has changed since is joined again, the others stay. Knows numbers and bytes; does not
know readers.
"""

from collections.abc import Iterator
from typing import Any, Final

from service.wire import protocol

BLOCK: Final = 256  # segments


class Ready:
    """Serialised segments by number.

    Args:
        at: number of the event after which they stood so, or were newer.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self._blocks: dict[int, dict[int, bytes]] = {}
        self._joined: dict[int, Any] = {}

    def add(self, number: int, text: bytes) -> None:
        """Add a segment; it replaces an older one of that number."""
        block = number // BLOCK
        self._blocks.setdefault(block, {})[number] = text
        self._joined.pop(block, None)

    def drop_before(self, number: int) -> None:
        """Forget the segments before one."""
        block = number // BLOCK
        for each in [each for each in self._blocks if each < block]:
            del self._blocks[each]
        kept = self._blocks.get(block, {})
        for each in [each for each in kept if each < number]:
            del kept[each]
            self._joined.pop(block, None)
        if not kept:
            self._blocks.pop(block, None)

    def join(self) -> Iterator[Any]:
        """Yield all that there is, in order, each block as one part of a list to be serialised."""
        for block in sorted(self._blocks):
            if block not in self._joined:
                texts = self._blocks[block]
                self._joined[block] = protocol.join_parts(texts[number] for number in sorted(texts))
            yield self._joined[block]
