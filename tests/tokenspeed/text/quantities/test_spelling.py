"""Numbers in words are as people write them, with their gender."""

import pytest

from tokenspeed.text.quantities.spelling import cardinal, ordinal, year


@pytest.mark.parametrize(
    ("number", "language", "gender", "said"),
    [
        (123, "en", "", "one hundred twenty-three"),
        (121, "de", "", "hunderteinundzwanzig"),
        (2_300_000, "de", "", "zwei Millionen dreihunderttausend"),
        (21, "fr", "f", "vingt et une"),
        (80, "fr", "m", "quatre-vingts"),
        (71, "fr", "", "soixante et onze"),
        (21, "es", "m", "veintiún"),
        (321, "es", "f", "trescientas veintiuna"),
        (200_000, "es", "f", "doscientas mil"),
    ],
)
def test_cardinals_agree(number: int, language: str, gender: str, said: str) -> None:
    assert cardinal(number, language, gender) == said  # type: ignore[arg-type]


def test_long_forms() -> None:
    assert cardinal(1123, "en", is_long=True) == "one thousand one hundred and twenty-three"
    assert cardinal(300_000, "en", is_long=True) == "three hundred thousand"
    assert cardinal(1100, "de", is_long=True) == "eintausendeinhundert"


def test_ordinals_and_years() -> None:
    assert [ordinal(21, language) for language in ("en", "de", "fr", "es")] == [
        "twenty-first",
        "einundzwanzigste",
        "vingt et unième",
        "vigésimo primero",
    ]
    assert ordinal(3, "es", "f") == "tercera"
    assert year(1984, "en") == "nineteen eighty-four"
    assert year(1984, "de") == "neunzehnhundertvierundachtzig"
    assert year(1984, "fr") == "mille neuf cent quatre-vingt-quatre"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(KeyError):
        cardinal(1, "xx")
