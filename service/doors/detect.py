"""Which of some languages a text is in: for `POST /detect` and `source: auto` of `POST /translate`.

Translation does not need it, the model takes a source of unknown language.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

_ENOUGH: Final = 1000  # characters that are looked at


def detect(text: str, languages: Iterable[str]) -> list[tuple[str, float]]:
    """Return (language, confidence in 0 to 100) of the given languages, likeliest first.

    A text without any letters gets the same confidence for all of them; a language that the library
    does not know gets none. The first call of a process reads the library's model, about 0.6 s.
    """
    wanted = tuple(sorted(set(languages)))
    identifier = _identifier(wanted)
    looked_at = text[:_ENOUGH]
    if not any(map(str.isalpha, looked_at)):
        looked_at = ""  # digits and signs would be guessed from, too
    known = identifier.rank(looked_at) if identifier else []
    found = [(str(language), round(100 * float(share), 1)) for language, share in known]
    return found + [(language, 0.0) for language in wanted if language not in dict(found)]


@lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> LanguageIdentifier | None:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = sorted(set(languages) & set(identifier.labels))
    if not known:
        return None
    identifier.set_languages(known)
    return identifier
