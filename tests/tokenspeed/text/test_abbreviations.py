"""Lists of abbreviations hold nothing that is two things at once."""

import pytest
import regex

from tokenspeed.text import abbreviations
from tokenspeed.text.abbreviations import LEADING, NUMBERED, STARTERS, either, spell_out


def test_months_are_from_cldr_and_words_are_none() -> None:
    assert {"jan", "sept", "janv", "févr", "okt"} <= either()
    assert not {"may", "mar", "mai", "ago"} & either()


@pytest.mark.parametrize("words", [LEADING, NUMBERED, STARTERS, either()])
def test_entries_are_as_they_are_looked_up(words: frozenset[str]) -> None:
    assert all(word == word.lower().strip(". ") for word in words)


def test_what_never_ends_a_sentence_is_in_no_other_list() -> None:
    assert not LEADING & (NUMBERED | either() | STARTERS)


@pytest.mark.parametrize(
    ("text", "language", "written"),
    [
        ("No. 5 is alive.", "en", "Number 5 is alive."),
        ("the No.2 player, not Nos. 3 and 4", "en", "the number 2 player, not numbers 3 and 4"),
        ("No. I am not. No 5 of them.", "en", "No. I am not. No 5 of them."),
        ("Gleis Nr. 3", "de", "Gleis Nummer 3"),
        ("le n° 5, le no 5", "fr", "le numéro 5, le numéro 5"),
        ("El n.º 5, el núm. 5, no 5", "es", "El número 5, el número 5, no 5"),
        ("No. 5", None, "No. 5"),
        ("vol. 3, no. 4, w/o 5", "en", "vol. 3, number 4, without 5"),
        ("z. B. hier, d.h. da", "de", "Zum Beispiel hier, das heißt da"),
        ("inkl. MwSt., ca. 5 Std.", "de", "Inklusive Mehrwertsteuer, circa 5 Stunden"),
        (
            "Hr. Ott und Fr. Ott, Mo. bis Fr. Abb. 3",
            "de",
            "Herr Ott und Frau Ott, Montag bis Freitag Abbildung 3",
        ),
        ("25.– Franken", "de", "25 Franken"),
        ("See p. 5, pp. 6-8, fig. 3", "en", "See page 5, pages 6-8, figure 3"),
        (
            "Mo.–Fr. von 8 bis 12, Sa. und So. nie, So. ist es.",
            "de",
            "Montag bis Freitag von 8 bis 12, Samstag und Sonntag nie, So. ist es.",
        ),
        ("on Mon., Wed. and Fri.", "en", "on Monday, Wednesday and Friday."),
        ("5 ft. 10 in. tall; under the Sun.", "en", "5 feet 10 inches tall; under the Sun."),
        (
            "The U.K.'s law, the U.K. and the E.U., in the U.N.",
            "en",
            "The UK's law, the UK and the EU, in the UN.",
        ),
        ("Made in the U.K. It is new.", "en", "Made in the U.K. It is new."),
        ("bread & butter @ home, 3 @ $5", "en", "bread and butter at home, 3 at $5"),
        ("Marks & Spencer, Q&A, a@b", "en", "Marks & Spencer, Q&A, a@b"),
        ("in Rm. 5, 2 yrs and 3 hrs, b/c", "en", "in room 5, 2 years and 3 hours, b/c"),
        ("Rs. 5,00,000 and Rs 40, Mrs. 5", "en", "₹5,00,000 and ₹40, Mrs. 5"),
        ("at 3 p.m. sharp, at 5 sharp.", "en", "at 3 p.m. exactly, at 5 exactly."),
        ("nine o'clock sharp! 5 sharp knives", "en", "nine o'clock! 5 sharp knives"),
        ("in 9.58s, v2.0s, 1.5s.", "en", "in 9.58 s, v2.0s, 1.5 s."),
        ("hier & da", "de", "hier und da"),
        (
            "Mo-Fr 9-18 Uhr, Sa 10-14 Uhr, So ist es",
            "de",
            "Montag bis Freitag von 9 bis 18 Uhr, Samstag von 10 bis 14 Uhr, So ist es",
        ),
        (
            "Fr-So 10-18 Uhr; Freitag – So war es",
            "de",
            "Freitag bis Sonntag von 10 bis 18 Uhr; Freitag – So war es",
        ),
        ("von 9-18 Uhr, 10–11.30 Uhr", "de", "von 9-18 Uhr, von 10 bis 11.30 Uhr"),
        ("rd. 10 u. mehr, u. a. in Art. 5", "de", "Rund 10 und mehr, unter anderem in Artikel 5"),
        (
            "9h-18h, 9 € TTC, art. 5, al. 2, X et al. 2023",
            "fr",
            "De 9h à 18h, 9 € toutes taxes comprises, article 5, alinéa 2, X et al. 2023",
        ),
        (
            "el art. 5, párr. 2 y ss., C/ Mayor, 9-18 h",
            "es",
            "el artículo 5, párrafo 2 y siguientes, calle Mayor, de 9 a 18 h",
        ),
        (
            "du lun. au ven., sam. et dim., en mar.",
            "fr",
            "du lundi au vendredi, samedi et dimanche, en mar.",
        ),
        (
            "de lun. a vie., sáb. y dom., el mar.",
            "es",
            "de lunes a viernes, sábado y domingo, el mar.",
        ),
        ("env. 20 pers.", "fr", "Environ 20 personnes"),
        ("aprox. 30 min. de espera", "es", "Aproximadamente 30 minutos de espera"),
        ("p. ex. ici, c.-à-d. là", "fr", "Par exemple ici, c'est-à-dire là"),
        ("p. ej. en EE. UU. y EEUU", "es", "Por ejemplo en Estados Unidos y Estados Unidos"),
    ],
)
def test_short_forms_of_numbers_are_written_out(
    text: str, language: str | None, written: str
) -> None:
    assert spell_out(text, language) == written


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
def test_a_quick_look_misses_no_short_form(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorts = (
        "No. 5", "Nos. 5", "approx.", "incl.", "Min. of", "hrs. now", "5 lbs.", "5 ft.",
        "5 in. long", "Mon. 5", "w/ it", "w/o it", "Nr. 5", "z.B.", "MwSt", "Std.", "S. 5",
        "Fr. Ott", "25.–", "n° 5", "no 5", "nos 5", "p. ex.", "pers.", "c-à-d.", "núm. 5",
        "EE UU", "EEUU", "Ing. Ott", "U.K. law", "bread & butter", "home @ noon", "5 yrs", "word",
    )  # fmt: skip
    found = [spell_out(short, language) for short in shorts]
    assert found[:-1] != list(shorts[:-1])
    monkeypatch.setattr(abbreviations, "_SIGN_OF_SHORT", regex.compile(""))
    assert [spell_out(short, language) for short in shorts] == found
