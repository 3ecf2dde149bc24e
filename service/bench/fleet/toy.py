"""A language that the toy model reads and writes, for the service's own text path to run on.

The tokenizer and the prompts that `service.translator.Translator` needs. A word of the source is
one id, or two if it is long, as in a vocabulary of some thousand pieces; an output id is a made-up
word of four letters. Knows ids and letters; the translation is `simulator.toy_translation`.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final
from zlib import crc32

from service.bench.load.simulator import FIRST_WORD, NUM_WORDS, toy_prompt
from tokenspeed.model.profile import Profile
from tokenspeed.model.prompt import Formality, length_cap
from tokenspeed.text.answer import Answer

LONG_WORD: Final = 5  # letters: 1.2 ids a word of the load test, the shipped vocabulary has 1.16
_CONSONANTS: Final = "bdfgklmnprstvz"
_VOWELS: Final = "aeiou"


class ToyTokenizer:
    """Ids of words by their letters, and letters of ids."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [token for word in text.split() for token in _tokens(word)]

    def piece_id(self, piece: str) -> int | None:
        """Return None: it has no special pieces."""
        return None

    def decoder(self) -> "ToyDecoder":
        """Return a decoder of output ids."""
        return ToyDecoder()


class ToyDecoder:
    """Writes a word for each id."""

    def __init__(self) -> None:
        self._is_first = True

    def push(self, ids: Sequence[int]) -> str:
        """Return the text of more ids."""
        text = " ".join(map(_word, ids))
        if text and not self._is_first:
            text = " " + text
        self._is_first = self._is_first and not text
        return text


class ToyPrompts:
    """Prompts as `ToyBackend` reads them."""

    profile = Profile("toy", "Toy")
    languages: tuple[str, ...] = ("de", "en")
    pairs = frozenset([("en", "de")])
    context_pairs = 0
    tells_context = False
    formalities: frozenset[str] = frozenset()
    stop_ids: tuple[int, ...] = ()
    answer = Answer()

    def __init__(self, tokenizer: ToyTokenizer) -> None:
        self._tokenizer = tokenizer

    def length_cap(
        self,
        prompt_tokens: int,
        source_language: str | None,
        target_language: str,
        *,
        terms: Sequence[tuple[str, str]] = (),
        context: Sequence[str] = (),
    ) -> int:
        """Return how many tokens a translation may have."""
        return length_cap(prompt_tokens)

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
        terms: Sequence[tuple[str, str]] = (),
        context: Sequence[str] = (),
    ) -> tuple[int, ...]:
        """Return the prompt."""
        return toy_prompt(self._tokenizer.encode(source), is_open=is_open)


@cache
def _tokens(word: str) -> tuple[int, ...]:
    ends = ("", "-") if len(word) > LONG_WORD else ("",)
    return tuple(
        FIRST_WORD + crc32((word + end).encode()) % (NUM_WORDS - FIRST_WORD) for end in ends
    )


@cache
def _word(token: int) -> str:
    letters = ""
    for signs in (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS):
        token, at = divmod(token, len(signs))
        letters += signs[at]
    return letters
