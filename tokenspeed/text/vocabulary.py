"""What text hygiene must know about a model's vocabulary: its characters, and what it copies.

Knows pieces and characters; does not know ids or models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Protocol

import regex

MARKS: Final = tuple(chr(0xE001 + i) for i in range(16))
"""Pieces of a vocabulary that a model was trained to copy in place; nobody writes them."""

NAMES: Final = (
    # Models without such training copy them unchanged in most sentences of the test sets; no
    # language here has another name for them, and translations do not depend on what they are.
    "Microsoft", "Python", "Toronto", "Google", "Twitter", "Obama", "Samsung", "Boston",
    "Toyota", "Facebook", "Houston", "Intel", "Linux", "Chicago", "Sony", "Honda",
)  # fmt: skip
_SCRIPTS: Final = {
    # The letters of each alphabet, or the most common characters.
    regex.compile(rf"\p{{{name}}}"): letters
    for name, letters in {
        "Cyrillic": "абвгдежзийклмнопрстуфхцчшщыьэюя",
        "Greek": "αβγδεζηθικλμνξοπρστυφχψως",
        "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
        "Hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
        "Hiragana": "あいうえおかきくけこさしすせそたちつてとなにのはまみもやよらりるれろをん",
        "Katakana": "アイウエオカキクコサシスセソタチツテトナニノハマミムメモヤラリルレロワン",
        "Han": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会",
        "Hangul": "이다는에의가고을로지하한사기도자리정어나",
        "Devanagari": "अआइउएओकखगघचजटडतथदधनपफबभमयरलवशषसह",
        "Thai": "กขคงจฉชซดตถทนบปผพฟมยรลวสหอ",
    }.items()
}
_COPIED: Final = regex.compile(
    # Symbols and rare punctuation, which texts in sentences hardly have: with a piece of their own
    # a model may still know nothing of them.
    r"(?V1)[[\p{S}\p{P}\p{No}]--[\x00-\x7f]--[£€°½×«»‹›‘’‚“”„…–—−¡¿]]"
)
RARE_PIECES: Final = 4  # a model cannot spell a name of so many pieces


class Tokenizer(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...
    def piece_id(self, piece: str) -> int | None: ...


def _never(word: str) -> bool:
    return False


def _one(word: str) -> int:
    return 1


def _always(sign: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A vocabulary as text sees it.

    Attributes:
        is_rare: whether it spells a word badly.
        count_pieces: of a word; the same for every word if unknown.
        is_known: whether it has a character.
        placeholders: what replaces protected words, in the order of use.
    """

    is_rare: Callable[[str], bool] = _never
    is_known: Callable[[str], bool] = _always
    placeholders: Sequence[str] = NAMES
    count_pieces: Callable[[str], int] = _one

    def reads(self, text: str) -> bool:
        """Whether it has the letters of the non-Latin script in which a text begins.

        A few stray characters of a script, from the texts that the vocabulary was made from, are
        not enough.
        """
        found = (letters for script, letters in _SCRIPTS.items() if script.match(text))
        return all(map(self.is_known, next(found, text)))


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """Return what text hygiene must know about a tokenizer."""

    @lru_cache(maxsize=4096)
    def count_pieces(word: str) -> int:
        return len(tokenizer.encode(word))

    def is_rare(word: str) -> bool:
        return count_pieces(word) >= RARE_PIECES

    marks = tuple(mark for mark in MARKS if tokenizer.piece_id(mark) is not None)

    @cache
    def is_known(sign: str) -> bool:
        if marks and _COPIED.match(sign):
            return False
        return sign.isascii() or any(tokenizer.piece_id(p) is not None for p in (sign, "▁" + sign))

    # Only with byte fallback does the list of pieces show which characters are known.
    falls_to_bytes = tokenizer.piece_id("<0xC3>") is not None
    known = is_known if falls_to_bytes else _always
    return Vocabulary(is_rare, known, marks or NAMES, count_pieces)
