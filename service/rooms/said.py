"""A segment of a room: who said it, and its state in each language.

A segment is known by who speaks and by the name that he gave it, so that it is the same one when it
is said again: by a page that was loaded anew, or in another session after a lost line.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from service.wire.protocol import TranslationDelta

SOURCE: Final = "source"  # the channel of the source text, beside those of the languages


@dataclass(slots=True)
class Told:
    """What readers of a channel were told of a segment.

    Attributes:
        changed: number of the event that told the newest.
        behind: what a later session has appended, while that is not all of `text` yet.
    """

    text: str = ""
    unstable: str = ""
    is_final: bool = False
    is_retracted: bool = False
    changed: int = 0
    behind: str | None = None

    def end(self, text: str, *, is_retracted: bool = False) -> None:
        """Note the end: its final text, or that it was withdrawn."""
        self.text, self.unstable, self.behind = text, "", None
        self.is_final, self.is_retracted = not is_retracted, is_retracted

    def grow(self, delta: TranslationDelta) -> TranslationDelta:
        """Append text; return what readers should be told.

        A later session starts over with what an earlier one had told: of that, only what continues
        the known text is new.
        """
        if self.behind is None:
            self.text, self.unstable = self.text + delta.append, delta.unstable
            return delta
        received = self.behind + delta.append
        whole, was = received + delta.unstable, self.text
        self.unstable = whole.removeprefix(was) if whole.startswith(was) else ""
        if not received.startswith(was):
            self.behind = received
            return replace(delta, append="", unstable=self.unstable)
        self.text, self.unstable, self.behind = received, delta.unstable, None
        return replace(delta, append=received.removeprefix(was))


@dataclass(slots=True)
class Said:
    """A segment of the room.

    Attributes:
        start_ms, end_ms: since the room was opened.
        moved: number of an event from which on another session says it.
    """

    number: int
    key: tuple[str, str]  # speaker, and that speaker's name for the segment
    session_id: str  # the session that said it last
    speaker: str | None
    language: str | None
    start_ms: float
    end_ms: float
    asked: frozenset[str] = frozenset()  # languages that had readers when it ended
    channels: dict[str, Told] = field(default_factory=dict)
    moved: int = 0

    @property
    def source(self) -> Told:
        """The source text."""
        return self.channels.setdefault(SOURCE, Told())
