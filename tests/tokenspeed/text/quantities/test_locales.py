"""All four languages have all words, and each pattern compiles."""

import pytest

from tokenspeed.text.quantities.locales import LANGUAGES, month_name, months, words
from tokenspeed.text.quantities.reading import read


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_whole(language: str) -> None:
    known = words(language)
    assert known.decimal != known.group
    assert set(known.currencies.values()) == set(words("en").currencies.values())
    assert set(known.noons.values()) == {0, 12}
    assert len(set(months(language).values())) == 12
    assert [months(language)[month_name(n, language).lower()] for n in range(1, 13)] == list(
        range(1, 13)
    )
    assert read("1", language)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(KeyError):
        words("xx")
