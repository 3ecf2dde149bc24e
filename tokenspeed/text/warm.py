"""Does beforehand what the first text of a language would otherwise wait for.

Tables of CLDR, patterns and rules are made on first use and kept: 60 ms for the first sentence that
ends in a period, 10 ms for the first number of a language.
"""

from collections.abc import Iterable
from typing import Final

from tokenspeed.text import abbreviations, detection
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.languages import code_of
from tokenspeed.text.pipeline import Hygiene

# One of each kind: a short form, a date, a time, money, numbers in digits and words, a sound, and
# what is kept as it is.
SAMPLE: Final = (
    "Dr. Smith paid $5 million on 3 May at 5 p.m. for twenty-one of 3.5 km. (Applause) "
    "SEE http://a.b/c AND <b>NATO</b> houses: 1,000 dreiundzwanzig vingt-deux veintiuno, "
    "half past nine."
)
_WORDS: Final = (Term("NATO", "NATO", is_exact=True), Term("house", "Haus"))


def warm(pairs: Iterable[tuple[str, str]]) -> None:
    """Prepare and restore a text of each language, without a model.

    Args:
        pairs: (source, target) of the model.
    """
    detection.load()
    abbreviations.either()
    wanted = sorted(pairs)
    # Each language once as a source, and once as a target.
    some = [
        *{pair[0]: pair for pair in wanted}.values(),
        *{pair[1]: pair for pair in wanted}.values(),
    ]
    for source, target in dict.fromkeys(some):
        hygiene = Hygiene(
            None,
            Glossary(_WORDS, None, source),
            source,
            target,
            capitals="sentence",
            profanity="mask",
        )
        hygiene.cut(SAMPLE)
        piece = hygiene.piece()
        piece.language, piece.is_repaired = source, True
        piece.take(SAMPLE)
        piece.placed(piece.restore(piece.shown().replace("5", "6")))
        piece.certain_words(SAMPLE, ())
    spoken = {language for pair in wanted for language in pair}
    detection.language_of(SAMPLE, spoken)
    code_of("no language", spoken)
