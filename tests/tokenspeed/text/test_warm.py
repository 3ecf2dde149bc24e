"""Nothing is left to be loaded by the first text that somebody waits for."""

import subprocess
import sys

# In a process of its own: this one has read texts already.
PROGRAM = """
import functools, gc, sys
from babel import localedata
from tokenspeed.text.detection import language_of
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.languages import code_of
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.warm import warm

LANGUAGES = ("en", "de", "fr", "es")
BY_TEXT = (
    "_cardinal _may_count _read _ranked_head _named are_forms _key _keys_of normalise "
    "_normalised script_of".split()
)

def kept():
    found = {"modules": len(sys.modules), "locales": len(localedata._cache)}
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper) and each.__name__ not in BY_TEXT:
            if each.__module__.startswith("tokenspeed."):
                found[f"{each.__module__}.{each.__name__}"] = each.cache_info().currsize
    return found

if len(sys.argv) > 1:
    warm([(a, b) for a in LANGUAGES for b in LANGUAGES if a != b])
before = kept()
for source in LANGUAGES:
    for target in LANGUAGES:
        if source == target:
            continue
        terms = Glossary([Term("house", "Haus")], None, source)
        hygiene = Hygiene(None, terms, source, target, profanity="mask", capitals="sentence")
        for text in (
            "We met Mr. Jones on 5 May. HELLO AGAIN. It cost $3.", "Am 3. Mai um 17 Uhr, drei.",
            "Le 1er mai, quatre-vingts. (Rires)", "Unas veintiuna casas. Houses, damn!",
        ):
            hygiene.cut(text)
            piece = hygiene.piece()
            piece.language, piece.is_repaired = source, True
            piece.take(text)
            piece.placed(piece.restore(piece.shown() + " 7"))
            language_of(text, LANGUAGES)
code_of("German", LANGUAGES)
after = kept()
print(sorted(name for name in after if after[name] != before.get(name, 0)))
"""


def loaded(*arguments: str) -> str:
    program = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def test_after_it_texts_find_all_that_they_need() -> None:
    assert loaded("warm") == "[]"


def test_without_it_they_do_not() -> None:
    found = loaded()
    assert "locales" in found
    assert "tokenspeed.text.detection._identifier" in found
