"""Numbers are found where they stand, in digits and in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text.quantities import items
from tokenspeed.text.quantities.items import find_items, number_of


@pytest.mark.parametrize(
    ("text", "language", "value"),
    [
        ("1,234.5", "en", 1234.5), ("1.234,5", "de", 1234.5), ("1 234,5", "fr", 1234.5),
        ("1.234", "de", 1234), ("1.234", "en", 1.234), ("1,234", "en", 1234),
        ("1,234", "fr", 1.234), ("12.345.678", "es", 12345678), ("3.14", "de", 3.14),
        ("0.500", "de", 0.5), ("1.2.3", "en", None), ("007", "en", 7), ("1,2,3", "en", None),
        ("5,00,000", "en", 500_000), ("12,34,567.5", "en", 1234567.5), ("1,23", "en", 1.23),
    ],
)  # fmt: skip
def test_digits_are_read_as_a_locale_writes_them(
    text: str, language: str, value: float | None
) -> None:
    assert number_of(text, language) == value


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("a million, twenty-three", "en", [("a million", 1e6), ("twenty-three", 23)]),
        ("hundreds of nineteen", "en", [("nineteen", 19)]),
        ("eine Million, dreiundzwanzig", "de", [("eine Million", 1e6), ("dreiundzwanzig", 23)]),
        ("vingt et une à cent pour cent", "fr", [("vingt et une", 21), ("cent", 100)]),
        ("doscientas mil y cuarto", "es", [("doscientas mil", 200_000)]),
        ("£52m, 8pm", "en", [("52", 52), ("8", 8)]),
        ("nine oh five", "en", [("nine", 9), ("oh five", 5)]),
    ],
)
def test_items_stand_where_they_are(
    text: str, language: str, found: list[tuple[str, float]]
) -> None:
    items = find_items(text, language)
    assert [(text[item.start : item.end], item.value) for item in items] == found


def test_codes_are_no_numbers() -> None:
    assert find_items("B2B, v1.2.3, COVID19, x86_64, 3D", "en") == []


SAID = {
    "en": "a an oh o hundred thousand twenty-three first third half quarter noon midnight point"
    " dozen the sixtieth fiftieth percent million eighties and zero nil",
    "de": "ein eine eins hundert tausend dreiundzwanzig anderthalb zweieinhalb erste achten mittag"
    " hunderteine komma zwanzigste million und null viertel",
    "fr": "un une cent mille vingt et deux soixante-dix premier seconde midi virgule vingtaine"
    " XXIe XVIIe Louis XIV zéro pour cents quatre",
    "es": "un una uno ciento mil veintiún primer tercer décimo mediodía coma punto siglo XXI y"
    " medio veinti dos cuarto por cientos cero",
}


@given(st.data(), st.sampled_from(sorted(SAID)))
def test_a_quick_look_misses_no_item(data: st.DataObject, language: str) -> None:
    known = st.sampled_from((*SAID[language].split(), "word", "I", "5"))
    text = " ".join(data.draw(st.lists(known, max_size=5)))
    found = find_items(text, language)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "_has_items", lambda text, language: True)
        assert find_items(text, language) == found
