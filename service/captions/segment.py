"""The source side of one segment: its newest text, which part is frozen, and its pieces.

A complete piece within the stable text is frozen: its translation is committed and its source is
not looked at again. Knows text; does not know translations, targets or the wire.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

from service.captions.policy import Source
from service.captions.spoken import Spoken
from tokenspeed.text.pipeline import Cut, Hygiene
from tokenspeed.text.steps import Steps, never, some_of
from tokenspeed.text.words import (
    are_apart,
    count_words,
    ends_spaceless,
    has_words,
    skip_words,
    word_ends,
)

MAX_HISTORY: Final = 64 * 1024  # characters; no revision is longer, so older ones are never needed
MAX_REWRITTEN: Final = 4000  # characters; a longer rewritten prefix is skipped by characters
MAX_CUT: Final = 500  # characters of a long text that are looked at for each cut
MAX_LAST_WORD: Final = 300  # characters to look back for the start of a word
PIECES_OF_A_STEP: Final = 10  # whose words are found in one go
_STATE: Final = (
    "segment_id", "client_id", "first_arrival_s", "base", "part", "rev", "stable", "unstable",
    "start_ms", "end_ms", "speaker", "arrival_s", "committed_s", "last_update", "is_appended",
    "is_ending", "is_dirty", "is_mismatch_told", "number", "commit_number",
)  # fmt: skip


_Piece: TypeAlias = tuple[Cut, list[int]]  # where its words end


@dataclass(slots=True)
class Segment:
    """What a client said in one segment.

    Attributes:
        segment_id: its name on the wire. client_id: the client's name for it; they differ once a
            long segment continues under another name.
        base: beginning of the client's segment that earlier parts have translated.
        rev: the newest revision seen, -1 before the first.
        arrival_s: when the newest revision came. first_arrival_s: when the first came.
        committed_s: when it was committed.
        speaker: as the client named them.
        number: counts the segments of a session. commit_number: counts its commits.
    """

    segment_id: str
    client_id: str
    first_arrival_s: float
    base: str = ""
    part: int = 1
    rev: int = -1
    stable: str = ""
    unstable: str = ""
    start_ms: float | None = None
    end_ms: float | None = None
    speaker: str | None = None
    arrival_s: float = 0.0
    committed_s: float | None = None
    last_update: tuple[int, str] | None = None  # rev and digest of the newest `source.update`
    is_appended: bool = False
    is_ending: bool = False  # to be committed once it has been cut into parts that are short enough
    is_dirty: bool = False  # has changes that the translations have not been given
    frozen: list[Source] = field(default_factory=list)
    _found: tuple[str, str, int] = ("", "", 0)  # full text, prefix left out, offset of the rest
    _begun: tuple[tuple[object, ...], Steps[list[_Piece]]] | None = None  # of what; its pieces
    sources: list[Source] = field(default_factory=list)  # its pieces as last translated
    spoken: Spoken = field(default_factory=Spoken)
    is_mismatch_told: bool = False
    number: int = 0
    commit_number: int = 0

    def dump(self) -> dict[str, Any]:
        """Return its state as plain values."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            "frozen": [(source.text, source.stable_words, source.is_cut) for source in self.frozen],
            "spoken": self.spoken.dump(),
        }

    @staticmethod
    def loaded(state: dict[str, Any], later_s: float) -> "Segment":
        """Return a segment restored from the state that another instance dumped.

        Args:
            later_s: added to its times.
        """
        found = Segment(state["segment_id"], state["client_id"], 0.0)
        for name in _STATE:
            setattr(found, name, state[name])
        found.first_arrival_s += later_s
        found.arrival_s = found.arrival_s and found.arrival_s + later_s
        found.committed_s = None if found.committed_s is None else found.committed_s + later_s
        if found.last_update is not None:
            found.last_update = (found.last_update[0], found.last_update[1])
        found.frozen = [
            Source(text, words, False, True, is_cut) for text, words, is_cut in state["frozen"]
        ]
        found.spoken.load(state["spoken"])
        return found

    @property
    def is_committed(self) -> bool:
        """Whether the source is complete."""
        return self.committed_s is not None

    @property
    def text(self) -> str:
        """The whole source of this segment, without what earlier parts have translated."""
        full = self.stable + self.unstable
        if self._found[:2] != (full, self.base):
            self._found = (full, self.base, _offset_after(full, self.base))
        return full[self._found[2] :]

    def cut(self, length: int, now_s: float) -> "Segment":
        """End this segment after that many characters; return the one in which the rest continues.

        Only the rest keeps the text before it, to recognise it in later revisions. Appended text
        longer than any revision cannot come again, so not even the rest keeps that.
        """
        full = self.stable + self.unstable
        begin = len(full) - len(self.text)
        end = begin + length
        stable_end = max(end, len(self.stable))
        history = 0 if end <= MAX_HISTORY or not self.is_appended else end
        rest = replace(
            self,
            segment_id=_part_id(self.client_id, self.part + 1),
            first_arrival_s=now_s,
            base=full[history:end],
            part=self.part + 1,
            stable=full[history:stable_end],
            unstable=full[stable_end:],
            arrival_s=0.0,
            committed_s=None,
            is_dirty=False,
            frozen=[],
            _found=("", "", 0),
            _begun=None,
            sources=[],
            spoken=Spoken(),
        )
        self.base, self.stable, self.unstable = "", full[begin:end], ""
        return rest

    def rename(self) -> None:
        """Take the name of the next part, because this one is in use."""
        self.part += 1
        self.segment_id = _part_id(self.client_id, self.part)

    def forget_cuts(self) -> None:
        """Cut the newest text from its beginning again, as any replica would that takes it over."""
        self._begun = None

    def pieces(
        self,
        covered_words: int,
        hygiene: Hygiene | None = None,
        is_spent: Callable[[], bool] = never,
    ) -> list[Source] | None:
        """Cut the newest text into pieces, freeze what can no longer change, return all pieces.

        None if time ran out before a long text was cut: calling again goes on.

        Args:
            covered_words: source words of the first unfrozen piece that committed text covers
                already; no cut falls among them.
            hygiene: decides where a text is cut.
            is_spent: whether time has run out.
        """
        full = self.stable + self.unstable
        frozen = "".join(source.text for source in self.frozen)
        offset = _offset_after(full, self.base + frozen)
        stable_end = len(full) if self.is_committed else self._stable_end()
        begun = (full, offset, stable_end, covered_words)
        if self._begun is None or self._begun[0] != begun:
            cutting = _cutting(
                full[offset:], stable_end - offset, covered_words, hygiene or Hygiene()
            )
            self._begun = begun, cutting
        cuts = some_of(self._begun[1], is_spent)
        if cuts is None:
            return None
        self.forget_cuts()
        sources: list[Source] = []
        is_prefix = True
        for i, (cut, ends) in enumerate(cuts[0]):
            text, is_last = cut.text, i == len(cuts[0]) - 1
            is_complete = self.is_committed or not is_last
            is_prefix = is_prefix and offset + len(text) <= stable_end and is_complete
            if is_prefix and not is_last:
                num_words = len(ends) if has_words(text) else 0
                self.frozen.append(Source(text, num_words, False, True, cut.is_cut))
            else:
                stable_words = sum(offset + end <= stable_end for end in ends)
                sources.append(
                    Source(text, stable_words, not is_complete, self.is_committed, cut.is_cut)
                )
            offset += len(text)
        return _linked(self.frozen + sources)

    def _stable_end(self) -> int:
        if not self.is_appended or not self.stable or self.stable[-1].isspace():
            return len(self.stable)
        # The last word of typed text may still grow.
        begin = max(len(self.stable) - MAX_LAST_WORD, 0)
        ends = word_ends(self.stable[begin:])
        return begin + (ends[-2] if len(ends) > 1 else 0)


def _cutting(text: str, stable: int, covered_words: int, hygiene: Hygiene) -> Steps[list[_Piece]]:
    """Cut a text in steps; the places where words end are found of pieces with stable text only.

    Args:
        stable: its first characters that will not be revised.
    """
    found: list[_Piece] = []
    at, least = 0, covered_words
    while True:
        is_long = len(text) - at > 2 * MAX_CUT
        cuts: list[Cut] = []
        if is_long:
            # The last piece is not whole, and the one before it may be followed by half a word.
            cuts = (yield from hygiene.cutting(text[at : at + MAX_CUT], least))[:-2]
            yield
        if not cuts:
            is_long = False
            cuts = yield from hygiene.cutting(text[at:], least)
        for cut in cuts:
            found.append((cut, word_ends(cut.text) if at < stable else []))
            at += len(cut.text)
            if not len(found) % PIECES_OF_A_STEP:
                yield
        if not is_long:
            return found
        least = 0


def digest_of(text: str) -> str:
    """Return a digest that recognises a text in any process."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=12).hexdigest()


def _part_id(client_id: str, part: int) -> str:
    return f"{client_id}~{part}"


def _linked(sources: list[Source]) -> list[Source]:
    """Tell each piece whether the previous one was cut in mid-sentence, and whether they touch."""
    found = sources[:1]
    for before, source in pairwise(sources):
        cut, touches = before.is_cut, _touches(before.text, source.text)
        if (source.continues, source.touches) != (cut, touches):
            source = replace(source, continues=cut, touches=touches)
        found.append(source)
    return found


def _touches(before: str, after: str) -> bool:
    return not (are_apart(before, after) or ends_spaceless(before))


def _offset_after(full: str, prefix: str) -> int:
    """Return where the text after `prefix` begins.

    If the client rewrote text that it had called stable, the same number of words is skipped; if it
    rewrote pages, the same number of characters, which costs nothing to count.
    """
    if full.startswith(prefix):
        return len(prefix)
    same = full.rfind(" ", 0, _num_same(full, prefix)) + 1
    if len(prefix) - same > MAX_REWRITTEN:
        return min(len(prefix), len(full))
    rest = full[same : same + 2 * MAX_REWRITTEN]
    return same + skip_words(rest, count_words(prefix[same:]))


def _num_same(a: str, b: str) -> int:
    """Return the length of the common prefix of two texts, in characters."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
