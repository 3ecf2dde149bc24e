"""The source side of one segment: its newest text, which part is frozen, and its pieces.

A complete piece within the stable text is frozen: its translation is committed and its source is
not looked at again. Knows text; does not know translations, targets or the wire.
"""

import hashlib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from service.captions.policy import Source
from service.captions.spoken import Spoken
from tokenspeed.text.pipeline import Cut, Hygiene
from tokenspeed.text.words import are_apart, count_words, ends_spaceless, skip_words, word_ends

MAX_HISTORY: Final = 64 * 1024  # characters; no revision is longer, so older ones are never needed
MAX_REWRITTEN: Final = 4000  # characters; a longer rewritten prefix is skipped by characters
MAX_CUT: Final = 500  # characters of a long text that are cut in one go, in 2 ms
MAX_LAST_WORD: Final = 300  # characters to look back for the start of a word
_STATE: Final = (
    "segment_id", "client_id", "first_arrival_s", "base", "part", "rev", "stable", "unstable",
    "start_ms", "end_ms", "speaker", "arrival_s", "committed_s", "last_update", "is_appended",
    "is_ending", "is_dirty", "is_mismatch_told", "number", "commit_number",
)  # fmt: skip


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
    _begun: tuple[tuple[str, int], tuple[Cut, ...]] = (("", 0), ())  # a text; its cuts so far
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
            _begun=(("", 0), ()),
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
        self._begun = ("", 0), ()

    def pieces(self, covered_words: int, hygiene: Hygiene | None = None) -> list[Source] | None:
        """Cut the newest text into pieces, freeze what can no longer change, return all pieces.

        None if only the beginning of a long text has been cut, which takes milliseconds: the rest
        is cut by calling again.

        Args:
            covered_words: source words of the first unfrozen piece that committed text covers
                already; no cut falls among them.
            hygiene: decides where a text is cut.
        """
        full = self.stable + self.unstable
        frozen = "".join(source.text for source in self.frozen)
        offset = _offset_after(full, self.base + frozen)
        stable_end = len(full) if self.is_committed else self._stable_end()
        hygiene = hygiene or Hygiene()
        begun, cuts = self._begun
        if begun != (full, offset):
            cuts = ()
        rest = full[offset + sum(len(cut.text) for cut in cuts) :]
        least = 0 if cuts else covered_words
        if len(rest) > 2 * MAX_CUT:
            # The last piece is not whole, and the one before it may be followed by half a word.
            some = hygiene.cut(rest[:MAX_CUT], least)[:-2]
            if some:
                self._begun = (full, offset), (*cuts, *some)
                return None
        cuts = (*cuts, *hygiene.cut(rest, least))
        self.forget_cuts()
        sources: list[Source] = []
        is_prefix = True
        for i, cut in enumerate(cuts):
            text, is_last = cut.text, i == len(cuts) - 1
            is_complete = self.is_committed or not is_last
            is_prefix = is_prefix and offset + len(text) <= stable_end and is_complete
            if is_prefix and not is_last:
                self.frozen.append(Source(text, count_words(text), False, True, cut.is_cut))
            else:
                ends = word_ends(text) if offset < stable_end else ()  # otherwise none is stable
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
