"""Text hygiene, the way of all texts to a model and back: what the model is shown, and what a
reader gets of its output.

A text is cut into pieces; for each piece it decides what comes before and after it, what the model
reads, and how its output becomes text again. Knows text; does not know models, tokens or the wire.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import regex

from tokenspeed.text import segmenter
from tokenspeed.text.abbreviations import STARTERS, spell_out
from tokenspeed.text.capitals import are_capitals, quieten, to_sentence, unstressed
from tokenspeed.text.chat import written_out
from tokenspeed.text.clean import FRACTION, clean, fold, read_entities
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.glossary import Found, Glossary
from tokenspeed.text.guard import Fault, fault_of
from tokenspeed.text.informal import plainly_spelled
from tokenspeed.text.placeholders import Placeholders
from tokenspeed.text.profanity import mask
from tokenspeed.text.quantities.computing import Change, corrections, first_doubt, replaced
from tokenspeed.text.sounds import find_sounds
from tokenspeed.text.spans import Span, find_spans, has_text
from tokenspeed.text.steps import Steps, at_once
from tokenspeed.text.vocabulary import Vocabulary
from tokenspeed.text.words import count_words

MIN_HALVED: Final = 6  # spaces that a sentence must have to be cut in two
MAX_SPANS: Final = 40  # in a piece; more of them are cut like words
PIECES_OF_A_STEP: Final = 50  # joined in one go, in 0.3 ms
MAX_REMEMBERED: Final = 8  # texts whose spans are kept

_STATE: Final = (
    "prefix", "core", "suffix", "sight", "language", "is_repaired", "_is_open", "_are_capitals",
    "_is_one_loud_word", "_is_bracketed", "_is_labelled", "_continues", "_taken",
)  # of a piece  # fmt: skip

Capitals = Literal["keep", "sentence"]
Profanity = Literal["raw", "mask"]

_FOREIGN: Final = regex.compile(r"(?V1)[\p{L}--\p{Latin}]")
_AFTER_PICTURE: Final = regex.compile(r"[.!?…)\]]*\s*$")
_BRACKETED: Final = regex.compile(r"\[[^\[\]]{2,}\]|\([^()]{2,}\)")
# A single letter is no word, except these; a model's output for it is arbitrary.
_LETTER_ALONE: Final = regex.compile(r"(?![iaoyeuàôIAOYEUÀÔ])\p{L}[.)]?")
_LETTER_OF_LIST: Final = regex.compile(r"[AEOUYÀÔ][.)]?")  # in a text that does not grow
_LEADING_MARK: Final = regex.compile(r"(?:^|(?<=[.!?…]\s))\s*\[[^\[\]\n]{2,60}\](?=\s+\p{L})")
_ENDED: Final = regex.compile(r"[.!?…:;,。！？][\"'”’»)\]]*$")
_STARRED: Final = regex.compile(r"\*+(?=\w)|(?<=\w)\*+")
_LABEL: Final = regex.compile(r"\p{Lu}[\p{Lu}\p{N} .'’-]{1,30}:\s")  # "JOHN: I am late."
_LABEL_SAID: Final = regex.compile(r"[^\s:.!?][^:.!?\n]{0,40}:(?=\s)")
_BRACKETS: Final = regex.compile(r"^[(\[]|[)\]][.!]?$")
_MARKED: Final = regex.compile(r"[\p{L}\p{N}.!?…:;>)\]\"'”’»*]\s*$")  # no picture
# A noun follows these words, be it a picture.
_NOUN_FOLLOWS: Final = regex.compile(
    r"(?<![\p{L}'’])(?i:an?|the|my|your|his|her|our|their|some|more|this|these|those|and|or|of|with"
    r"|for|to|like|vs\.?|versus|ein(?:e[nmrs]?)?|der|die|das|den|dem|mein(?:e[nmrs]?)?|und|oder|mit"
    r"|für|gegen|une?|des|les?|la|mon|ma|mes|et|ou|avec|pour|contre|una?|los|las|mi|mis|y|con|para"
    r"|contra) $"
)
_LONGEST_BEFORE: Final = 10  # characters of what that matches, with one before it
_VERSUS: Final = regex.compile(
    r" (?:(?i:vs\.?|versus|gegen|contre|contra) |(?:and|or|und|oder|et|ou|y|o) "
    r"(?=\p{Extended_Pictographic}|\p{Regional_Indicator}))"
)
_GOES_ON: Final = regex.compile(r" ?(\p{Ll}[\p{L}'’]*)")
_UNENDED: Final = regex.compile(r"[\p{L}\p{N},] ?$")
# In small letters behind a picture they begin another sentence, as people write in chats.
_BEGIN_ANEW: Final = frozenset(
    "i i'm i’m i'll i’ll i've i’ve we we're we’re he he's he’s she she's she’s they that's that’s"
    " there's there’s let's let’s lets see come go please thanks thank thx love miss hope happy"
    " good nice great congrats lol haha omg yes no ok okay hey hi hello bye sorry don't don’t"
    " ich wir du er bitte danke ja nein hallo tschüss bis j'ai j’ai je tu il elle on merci bonjour"
    " salut oui non yo gracias hola sí adiós".split()
)
_FIRST_WORD: Final = regex.compile(r"[\p{L}'’]+")
_FRACTION: Final = regex.compile(rf"\d{{0,3}}{FRACTION.pattern}")
_GAP: Final = regex.compile(r"(?<=\S) (?=\S)")
_TEXT: Final = regex.compile(r"\p{L}|\p{N}")
_LAST_TEXT: Final = regex.compile(r"(?r)\p{L}|\p{N}")
# What the end of an open text may still become: a tag, a hole, a mark, an address.
_INCOMPLETE: Final = regex.compile(
    r"(?:<(?:code|kbd|samp|tt|var|say-as|time)\b[^<>]{0,200}>[^<]{0,200}</?[a-z-]{0,8}"
    r"|<(?:code|kbd|samp|tt|var|say-as|time)\b[^<>]{0,200}>[^<]{0,200}"
    r"|</?[A-Za-z!][^<>]{0,200}|<|\$?\{+[^{}\n]{0,80}|`[^`\n]{0,200}|\[[^\[\]]{0,60}|%\d{0,2}\$?"
    r"|\bhttps?:?/{0,2}|\bwww\.?|[@#])$"
)

# Whatever `_INCOMPLETE` finds has one of these.
_SIGN_OF_INCOMPLETE: Final = regex.compile(r"[<{`\[%@#]|http|www")


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of a text: what it says, and whether its sentence goes on in the next piece."""

    text: str
    is_cut: bool


class Hygiene:
    """What is done to texts of one language pair.

    Args:
        vocabulary: of the model.
        glossary: words whose translation is fixed.
        source: language of the texts; None if unknown. target: language to translate into.
        capitals: whether text in capitals is returned in capitals, or as sentences.
        profanity: whether swear words are returned as they are, or with stars.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None = None,
        glossary: Glossary | None = None,
        source: str | None = None,
        target: str = "",
        capitals: Capitals = "keep",
        profanity: Profanity = "raw",
    ) -> None:
        self.vocabulary = vocabulary or Vocabulary()
        self.source = source
        self.target = target
        self.capitals = capitals
        self.profanity = profanity
        self.glossary = glossary or Glossary()
        self._found_spans: dict[str, list[Span]] = {}
        # Asked for several times in a row, while the next piece of its segment begins.
        self._newest = self._last = ("", list[Found]())

    def piece(self) -> "Piece":
        """Return a new piece that has no text yet."""
        return Piece(self)

    def cut(self, text: str, min_words: int = 0, scale: int = 1) -> list[Cut]:
        """Cut a text into pieces that are translated separately; joined they are the text.

        Like `segmenter.cut`, but never within a span, and also wherever two texts meet.
        """
        return at_once(self.cutting(text, min_words, scale))

    def cutting(self, text: str, min_words: int = 0, scale: int = 1) -> Steps[list[Cut]]:
        """Cut a text in steps, as `cut` does at once."""
        spans = yield from self._finding_spans(text)
        masked = _masked(text, spans) if spans else text
        breaks = self._breaks(text, spans)
        yield
        pieces = yield from segmenter.cutting(masked, min_words, scale)
        starts = [span.start for span in spans]
        found: list[Cut] = []
        start = end = 0
        behind = -1  # a span after which there was a cut
        for number, piece in enumerate(pieces, 1):
            if not number % PIECES_OF_A_STEP:
                yield
            end += len(piece)
            if end <= behind:
                continue
            for at in breaks[bisect_right(breaks, start) : bisect_left(breaks, end)]:
                if found or count_words(text[start:at]) >= min_words:
                    found.append(Cut(text[start:at], is_cut=False))
                    start = at
            for at in _crowded(text, spans, starts, start, end):
                if found or count_words(text[start:at]) >= min_words:
                    found.append(Cut(text[start:at], is_cut=True))
                    start = at
            if _touches(spans, starts, end, end):
                # Longer than any piece; but hundreds of spans without a gap are not one.
                num_spans = bisect_left(starts, end) - bisect_left(starts, start)
                is_long = end - start >= 2 * segmenter.MAX_CHARS * scale
                if is_long or num_spans > MAX_SPANS:
                    last = spans[bisect_left(starts, end) - 1]
                    # A line of a thousand dashes is parted anywhere, a long address nowhere.
                    is_one = is_long and last.kind in ("mark", "break")
                    at = end if is_one else last.end
                    found.append(Cut(text[start:at], is_cut=at < len(text)))
                    start = behind = at
                continue
            is_cut = end < len(text) and not segmenter.is_sentence(masked[start:end])
            found.append(Cut(text[start:end], is_cut and end not in breaks))
            start = end
        return found

    def halves(self, text: str) -> tuple[str, ...]:
        """Return a sentence cut in two, at a clause or a space; nothing if it is short."""
        masked = _masked(text, self.spans(text))
        spaces = [match.start() for match in _GAP.finditer(masked)]
        clauses = [at for at in spaces if masked[at - 1] in ",;:–—"]
        for places in (clauses, spaces):
            middle = [at for at in places if len(text) // 4 <= at <= 3 * len(text) // 4]
            if middle and len(spaces) >= MIN_HALVED:
                at = min(middle, key=lambda at: abs(2 * at - len(text)))
                return text[:at], text[at:].lstrip()
        return ()

    def spans(self, text: str) -> list[Span]:
        """Return what must be kept, with sound marks in the words of the target language."""
        found = self._found_spans.get(text)  # a single piece is looked up three times in a row
        return at_once(self._finding_spans(text)) if found is None else found

    def _finding_spans(self, text: str) -> Steps[list[Span]]:
        found = self._found_spans.get(text)
        if found is None:
            found = yield from self._searching_spans(text)
            if len(self._found_spans) >= MAX_REMEMBERED:
                self._found_spans.clear()  # by another thread, perhaps, before it is asked again
            self._found_spans[text] = found
        return found

    def _searching_spans(self, text: str) -> Steps[list[Span]]:
        known = self.vocabulary.is_known
        kept = yield from find_spans(text, known)
        yield
        spans = [
            replace(span, kind="word") if _is_noun(text, span) else span
            for span in kept
            if not self._is_read(text, span)
        ]
        sounds = list(find_sounds(text, self.source, self.target))
        if sounds:
            starts = [sound.start for sound in sounds]
            spans = [s for s in spans if not _touches(sounds, starts, s.start, s.end)]
        return sorted([*spans, *sounds], key=lambda span: span.start)

    def find(self, text: str) -> list[Found]:
        """Return all that is protected in a piece, from left to right, none overlapping another."""
        newest, last = self._newest, self._last
        if text == last[0]:
            newest = last
        elif text != newest[0]:
            self._last, newest = newest, (text, self._find(text))
            self._newest = newest
        return list(newest[1])

    def fault_of(self, shown: str, output: str, *, is_whole: bool) -> Fault | None:
        """Return what is wrong with an output of the model; None if nothing looks wrong."""
        is_same = self.source is None or self.source == self.target
        return fault_of(shown, output, is_whole=is_whole, is_same_language=is_same)

    def _find(self, text: str) -> list[Found]:
        terms = self.glossary.find(text)
        found = []
        for span in self.spans(text):
            inside = [t for t in terms if t.start < span.end and span.start < t.end]
            if any(t.kind == "term" and t.end - t.start >= span.end - span.start for t in inside):
                continue
            terms = [t for t in terms if t not in inside]
            is_word = span.kind == "word"
            # A placeholder of a tag or a picture takes the place of a word, or gets a comma.
            kind: Literal["word", "mark"] = "word" if is_word else "mark"
            found.append(Found(span.start, span.end, span.wanted, True, kind, is_word))
        return sorted([*terms, *found], key=lambda item: item.start)

    def _is_read(self, text: str, span: Span) -> bool:
        """Whether a span in another script is in letters that the vocabulary has."""
        said = text[span.start : span.end]
        is_foreign = span.kind == "word" and _FOREIGN.match(said) is not None
        return is_foreign and self.vocabulary.reads(said)

    def _breaks(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return where two texts meet: next to marks that separate them, between words.

        A picture within a sentence separates nothing: "my cat 🐈 is asleep".
        """
        if not spans and "[" not in text:
            return []
        starts = [span.start for span in spans]
        found = [
            match.end()
            for match in _LEADING_MARK.finditer(text)
            if not _touches(spans, starts, *match.span())
        ]
        # Searched once: else a page of signs without letters would be read again for each sign.
        first, last = _TEXT.search(text), _LAST_TEXT.search(text)
        if first is None or last is None:
            return found
        for span in spans:
            is_break = span.kind == "break"
            if not is_break and span.kind != "picture":
                continue
            begins = text.startswith((">>", "♪"), span.start) or _opens_block(span.wanted)
            begins = begins or span.wanted.endswith("\u20e3")  # a keycap numbers what follows
            at = span.start if begins else span.end
            if not (is_break or begins) and _is_within(text, span):
                continue
            if first.start() < span.start and span.end <= last.start():
                found.append(at)
        return sorted(found)


class Piece:
    """A stretch of text that is translated separately, as it grows.

    Attributes:
        prefix, suffix: what comes before and after it, as readers get it.
        core: what is in between, cleaned; "" if there is nothing for a model.
        placeholders: what replaces its protected words.
        sight: what readers saw while there was nothing for a model, shown until there is more.
        language: of the text; None if unknown: then numbers in it are not computed.
        is_repaired: whether numbers of the output are corrected, once it is complete.
    """

    def __init__(self, hygiene: Hygiene) -> None:
        self.prefix = self.core = self.suffix = self.sight = ""
        self.language: str | None = None
        self.is_repaired = False
        self._is_open = False
        self.placeholders = Placeholders(hygiene, hygiene.vocabulary.placeholders)
        self._hygiene = hygiene
        self._are_capitals = False
        self._is_one_loud_word = False  # which does not make capitals of what follows it
        self._is_bracketed = False  # whether prefix and suffix are brackets around all of it
        self._is_labelled = False  # whether it begins with a label in capitals
        self._continues = False  # whether it begins in the middle of a sentence
        self._taken: tuple[str, bool, bool] | None = None

    def dump(self) -> dict[str, Any]:
        """Return its state in plain values."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            # A piece that continues a sentence shares those of the piece before.
            "placeholders": None if self._continues else self.placeholders.dump(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over the state that another piece has dumped."""
        for name in _STATE:
            setattr(self, name, state[name])
        self._taken = None if self._taken is None else (*self._taken,)
        if state["placeholders"] is not None:
            self.placeholders.load(state["placeholders"])

    @property
    def hygiene(self) -> Hygiene:
        """What is done to it; a change takes effect with the next text."""
        return self._hygiene

    @hygiene.setter
    def hygiene(self, hygiene: Hygiene) -> None:
        self._hygiene = hygiene
        self._taken = None
        self.placeholders.finder = hygiene

    def take(self, text: str, *, is_open: bool = False, committed: str = "") -> None:
        """Read the newest text of the piece.

        Args:
            text: as it was sent. is_open: whether it may still grow.
            committed: the part of its translation that is final for readers.
        """
        if self._taken == (text, is_open, bool(committed)):
            return
        self._taken = (text, is_open, bool(committed))
        self._is_open = is_open
        text = read_entities(clean(text)).strip()
        if is_open:
            if _SIGN_OF_INCOMPLETE.search(text):
                text = _INCOMPLETE.sub("", text)
            text = text.rstrip()
        spans = self._hygiene.spans(text)
        if not has_text(text, spans):
            whole = "".join(_wanted(text, spans, 0, len(text)))
            self._leave(whole, committed)
            self.sight = self._seen(text, spans) or self.sight
            return
        start, end = _peel(text, spans)
        self._is_bracketed = _BRACKETED.fullmatch(text, start, end) is not None
        if self._is_bracketed:  # an unknown mark: translate its words
            start, end = start + 1, end - 1
        is_letter = _LETTER_ALONE.fullmatch(text, start, end) is not None
        if is_letter or (not is_open and _LETTER_OF_LIST.fullmatch(text, start, end)):
            self._leave("".join(_wanted(text, spans, 0, len(text))), committed)
            return
        if not committed:
            self.prefix = "".join(_wanted(text, spans, 0, start))
        self.suffix = "".join(_wanted(text, spans, end, len(text)))
        self.core = self._core(text, spans, start, end, is_fixed=bool(committed))

    def _seen(self, text: str, spans: Sequence[Span]) -> str:
        """Return what readers see of a text with nothing for a model yet.

        Marks after a word are left out: they will be placed together with the words that follow,
        once these are complete.
        """
        end = len(text)
        if self._is_open:
            words = [span.start for span in spans if span.kind == "word"]
            marks = [span.start for span in spans if span.kind != "word"]
            end = min((at for at in marks if words and at > words[0]), default=end)
        return "".join(_wanted(text, spans, 0, end))

    def _leave(self, whole: str, committed: str) -> None:
        """Take a text with nothing for a model: readers get it, except what they already have."""
        self.core = self.suffix = ""
        if not committed:
            self.prefix = whole
            return
        given = self.prefix + committed
        if whole.startswith(given):
            self.suffix = whole[len(given) :]
            return
        for word in whole.split():
            found = given.find(word)
            if found < 0:
                self.suffix += f" {word}"
            else:
                given = given[found + len(word) :]

    def shown(self, committed: str = "") -> str:
        """Return what the model reads."""
        return self._replaced(self.core, committed)

    def token_text(self, token_text: TokenText) -> TokenText:
        """Return a function from ids of an output to text for readers, without its edges."""
        restored = self.placeholders.token_text(token_text)

        def read(tokens: Sequence[int]) -> tuple[str, list[int]]:
            text, offsets = self._without_additions(*restored(tokens))
            text = self._with_label(text)
            is_masked = self._hygiene.profanity == "mask"
            return mask(text, self._hygiene.target) if is_masked else text, offsets

        return read

    def restore(self, output: str) -> str:
        """Return a finished output of the model as readers get it, without prefix and suffix."""
        text, _ = self._without_additions(*self.placeholders.restore(output, []))
        text = self._with_label(text)
        if self.is_repaired:
            text = replaced(text, self._corrections(text))
        return mask(text, self._hygiene.target) if self._hygiene.profanity == "mask" else text

    def _without_additions(self, text: str, offsets: list[int]) -> tuple[str, list[int]]:
        """Remove stars that a model adds around words that it does not know, and extra brackets."""
        added = None
        if self._is_bracketed and text[:1] in ("(", "["):
            added = _BRACKETS
        elif "*" in text and "*" not in self.core:
            added = _STARRED
        if added is None:
            return text, offsets
        places = [match.span() for match in added.finditer(text)]
        moved = [o - sum(min(max(o - a, 0), b - a) for a, b in places) for o in offsets]
        return added.sub("", text), moved

    def _with_label(self, text: str) -> str:
        """Write who speaks, or "WARNING:", in capitals again, if that changes no offsets."""
        label = _LABEL_SAID.match(text) if self._is_labelled else None
        loud = label[0].upper() if label else ""
        return loud + text[len(loud) :] if label and len(loud) == len(label[0]) else text

    def placed(self, text: str, committed: str = "") -> str:
        """Return a restored output with everything that it lacks put at the nearest place.

        Args:
            text: the output. committed: its beginning, which stays as it is.
        """
        self.finish(text, committed)
        return self.placeholders.with_placed(text)

    def finish(self, text: str, committed: str = "") -> None:
        """Mark an output as the last one, so that what it lacks is placed.

        Wrong numbers in it are corrected, except those that readers already have.
        """
        if self.language is not None:
            least = len(committed)
            changes = [c for c in self._corrections(text) if c.start >= least]
            text = self.placeholders.correct(changes, text)
        is_ended = bool(_ENDED.search(self.core)) or not self.suffix
        self.placeholders.place(self.core, text, committed, is_ended=is_ended)

    def _corrections(self, text: str) -> list[Change]:
        """Return what is wrong with the numbers of an output, but for those that are protected."""
        if self.language is None:
            return []
        found = corrections(self.core, text, self.language, self._hygiene.target)
        kept = self.placeholders.protected(text) if found else []
        return [c for c in found if all(c.end <= start or end <= c.start for start, end in kept)]

    def certain_words(self, output: str, missing: Sequence[Found]) -> int | None:
        """Return how many words of the core come before the first one that is wrong in an output.

        A number at the end of an open text counts as wrong. None if there is no such word.

        Args:
            output: restored. missing: protected words that it lacks.
        """
        at = [item.start for item in missing]
        if self.language is not None:
            doubt = first_doubt(
                self.core, output, self.language, self._hygiene.target, is_open=self._is_open
            )
            at += [] if doubt is None else [doubt]
        return count_words(self.core[: min(at)]) if at else None

    def following(self) -> "Piece":
        """Return a piece that continues the sentence of this one, with the same placeholders."""
        piece = Piece(self._hygiene)
        piece.placeholders = self.placeholders
        piece._are_capitals = self._are_capitals
        piece._continues = True
        return piece

    def fault_of(self, output: str, *, is_whole: bool) -> Fault | None:
        """Return what is wrong with an output of the model; None if nothing looks wrong."""
        return self._hygiene.fault_of(self.shown(), output, is_whole=is_whole)

    def plainly(self) -> str:
        """Return the core with its final mark changed, for a model whose output was faulty."""
        return self.core[:-1] if self.core.endswith((".", "!", "?")) else self.core + "."

    def plainly_shown(self) -> str:
        """Return `plainly` with its placeholders."""
        return self._replaced(self.plainly())

    def _replaced(self, text: str, committed: str = "") -> str:
        return self.placeholders.replace(
            text,
            committed,
            language=self.language,
            is_open=self._is_open,
            is_repaired=self.is_repaired,
            target=self._hygiene.target,
        )

    def untranslated(self) -> str:
        """Return the text itself, if there is no translation, with its sound marks translated."""
        parts, at = [], 0
        for item in self._hygiene.find(self.core):
            said = self.core[item.start : item.end]
            free = self.core[at : item.start]
            parts += [self._in_case(free), said if item.kind == "term" else item.wanted]
            at = item.end
        return "".join([*parts, self._in_case(self.core[at:])])

    def _in_case(self, text: str) -> str:
        return text.upper() if self.placeholders.is_upper else text

    def _core(
        self, text: str, spans: Sequence[Span], start: int, end: int, *, is_fixed: bool
    ) -> str:
        """Return the text between prefix and suffix as a model reads it, except for its spans."""
        free = "".join(part for part, is_span in _parts(text, spans, start, end) if not is_span)
        if not is_fixed and not self._continues:
            before = self._are_capitals and not self._is_one_loud_word
            self._is_one_loud_word = self._is_loud_word(free)
            self._are_capitals = self._is_one_loud_word or are_capitals(free, before)
            self.placeholders.is_upper = self._are_capitals and self._hygiene.capitals == "keep"
        self._is_labelled = not self._are_capitals and bool(_LABEL.match(text, start, end))
        parts: list[str] = []
        count_pieces, at = self._hygiene.vocabulary.count_pieces, start
        for part, is_span in _parts(text, spans, start, end):
            at += len(part)
            if is_span:
                parts.append(part)
                continue
            part = spell_out(part, self.language)
            is_beginning = not parts and not self._continues
            if self._are_capitals:
                part = to_sentence(part, is_beginning=is_beginning, language=self.language)
            else:
                part = quieten(
                    part, count_pieces, is_beginning=is_beginning, language=self.language
                )
            is_known = self._hygiene.vocabulary.is_known
            if not part.isascii():
                fractions = (match[0] for match in _FRACTION.finditer(part))
                signs = [sign for sign in fractions if not is_known(sign[-1])]
                self.placeholders.keep({fold(sign, is_known): sign for sign in signs})
                part = fold(part, is_known)
            is_growing = self._is_open and at == end
            part = written_out(part, self.language, is_open=is_growing)
            parts.append(plainly_spelled(part, count_pieces, self.language))
        return "".join(parts)

    def _is_loud_word(self, text: str) -> bool:
        """Whether a text is one word in capitals that is neither a short form nor a name."""
        word = text.strip(" .,!?…\"'")
        if not (word.isalpha() and word.isupper()):
            return False
        vocabulary = self._hygiene.vocabulary
        is_known = len(word) >= 5 and not vocabulary.is_rare(word.lower())
        return is_known or unstressed(word, vocabulary.count_pieces, self.language) is not None


def _is_noun(text: str, span: Span) -> bool:
    """Whether a picture stands for a word of its sentence: "we saw a 🦊", "I love 🍕 and 🍔"."""
    if span.kind != "picture":
        return False
    before = text[max(span.start - _LONGEST_BEFORE, 0) : span.start]
    # Within a sentence only: a growing text must not lose a break, nor what readers see already.
    is_within = _UNENDED.search(before[-2:]) is not None
    is_beside = is_within and _VERSUS.match(text, span.end) is not None
    return is_beside or _NOUN_FOLLOWS.search(before) is not None


def _is_within(text: str, picture: Span) -> bool:
    """Whether a sentence goes on behind a picture."""
    following = _GOES_ON.match(text, picture.end)
    if following is None:
        return False
    is_whole = following.end() < len(text)  # else it may still become another word
    is_anew = is_whole and following[1] in _BEGIN_ANEW
    before = text[max(picture.start - 2, 0) : picture.start]
    return not is_anew and _UNENDED.search(before) is not None


def goes_on(before: str, source: str) -> bool:
    """Whether a piece continues the sentence of the one before, with only a picture between."""
    return bool(before.strip()) and not _MARKED.search(before) and source[:1].islower()


def begin_small(text: str) -> str:
    """Write the first word of a continued sentence in lower case, if it is an ordinary word."""
    word = _FIRST_WORD.match(text)
    is_small = word is not None and word[0].lower() in STARTERS - {"i", "i'm"}
    return text[0].lower() + text[1:] if is_small else text


def _peel(text: str, spans: Sequence[Span]) -> tuple[int, int]:
    """Return where a text begins and ends without the marks at its edges."""
    start, end = 0, len(text)
    for span in spans:
        if span.kind == "word" or _TEXT.search(text, start, span.start):
            break
        start = span.end
        while text[start : start + 1].isspace():
            start += 1
    for span in reversed(spans):
        if span.kind == "word" or span.start < start:
            break
        rest = text[span.end : end]
        is_last = not rest.strip() or (span.kind == "picture" and _AFTER_PICTURE.match(rest))
        if not is_last:
            break
        end = span.start
        while text[end - 1 : end].isspace():
            end -= 1
    return start, end


def _crowded(
    text: str, spans: Sequence[Span], starts: Sequence[int], start: int, end: int
) -> list[int]:
    """Return the gaps that part a stretch with very many spans, so that none has too many."""
    found = []
    first, last = bisect_left(starts, start), bisect_left(starts, end)
    while last - first > MAX_SPANS:
        first += MAX_SPANS
        gap = text.find(" ", spans[first - 1].end, end)
        while gap >= 0 and _touches(spans, starts, gap, gap + 1):
            gap = text.find(" ", gap + 1, end)
        if gap < 0:
            break
        found.append(gap)
        first = bisect_left(starts, gap)
    return found


def _touches(spans: Sequence[Span], starts: Sequence[int], start: int, end: int) -> bool:
    """Whether a span overlaps a stretch, or has an empty stretch inside it.

    Args:
        spans: in order, none overlapping another. starts: of the spans.
    """
    before = bisect_left(starts, end)
    return before > 0 and start < spans[before - 1].end


def _parts(text: str, spans: Sequence[Span], start: int, end: int) -> list[tuple[str, bool]]:
    """Return (part, whether it is a span) of a stretch, in order."""
    parts, at = [], start
    for span in spans:
        if start <= span.start and span.end <= end:
            parts += [(text[at : span.start], False), (text[span.start : span.end], True)]
            at = span.end
    return [part for part in [*parts, (text[at:end], False)] if part[0]]


def _wanted(text: str, spans: Sequence[Span], start: int, end: int) -> list[str]:
    """Return the parts of a stretch, with spans replaced by what is wanted for them."""
    parts, at = [], start
    for span in spans:
        if start <= span.start and span.end <= end:
            parts += [text[at : span.start], span.wanted]
            at = span.end
    return [*parts, text[at:end]]


def _masked(text: str, spans: Sequence[Span]) -> str:
    """Return the text for the segmenter, in which no mark within a span ends a sentence."""
    parts, at = [], 0
    for span in spans:
        length = span.end - span.start
        # Brackets for tags: with quotes two sentences would look like a dialogue.
        is_closing = text[span.end : span.end + 1].isspace() or span.end == len(text)
        said = ("x" if span.kind == "word" else ")" if is_closing else "(") * length
        if span.kind == "picture":  # one word, which ends no sentence
            said = "\U0001f539" + "'" * (length - 1)
        parts += [text[at : span.start], said]
        at = span.end
    return "".join([*parts, text[at:]])


def _opens_block(tag: str) -> bool:
    return tag.startswith("<") and not tag.startswith(("</", "<br", "<hr"))
