"""The same time is said in four languages."""

import pytest

from tokenspeed.text.quantities.clock import clock_words

LANGUAGES = ("en", "de", "fr", "es")


@pytest.mark.parametrize(
    ("hour", "minute", "said"),
    [
        (9, 30, ("half past nine", "halb zehn", "neuf heures et demie", "las nueve y media")),
        (7, 15, ("a quarter past seven", "Viertel nach sieben", "sept heures et quart",
                 "las siete y cuarto")),
        (12, 45, ("a quarter to one", "Viertel vor eins", "une heure moins le quart",
                  "la una menos cuarto")),
        (11, 50, ("ten to twelve", "zehn vor zwölf", "midi moins dix", "las doce menos diez")),
        (1, 0, ("one o'clock", "ein Uhr", "une heure", "la una")),
        (12, 0, ("noon", "zwölf Uhr mittags", "midi", "mediodía")),
        (0, 0, ("midnight", "Mitternacht", "minuit", "medianoche")),
        (4, 7, ("four oh seven", "vier Uhr sieben", "quatre heures sept", "las cuatro y siete")),
        (8, 21, ("eight twenty-one", "acht Uhr einundzwanzig", "huit heures vingt et une",
                 "las ocho y veintiuno")),
        (10, 35, ("twenty-five to eleven", "fünf nach halb elf", "onze heures moins vingt-cinq",
                  "las once menos veinticinco")),
    ],
)  # fmt: skip
def test_clock_in_words(hour: int, minute: int, said: tuple[str, ...]) -> None:
    assert tuple(clock_words(hour, minute, language) for language in LANGUAGES) == said
