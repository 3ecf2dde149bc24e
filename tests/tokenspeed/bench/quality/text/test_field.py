"""Cases by hand: what must be there is there in its order, and no wording is asked for."""

import pytest

from tokenspeed.bench.quality.text.field import field_cases


def test_there_are_enough_of_every_direction_and_all_differ() -> None:
    cases = field_cases()
    assert len({case.text for case in cases}) == len(cases) > 200
    assert len({(case.source, case.target) for case in cases}) == 6
    assert all(not case.is_right("") for case in cases)


@pytest.mark.parametrize(
    ("begin", "right", "wrong"),
    [
        ("{% if admin %}", "{% if admin %}Hola{% endif %}", "{% endif %}Hola{% if admin %}"),
        ("Es ist drei viertel", "It's 8:45.", "It's 3:45."),
        ("I'M NOT GOING", "ICH GEHE NICHT.", "Ich gehe nicht."),
        ("* milk", "* leche\n* huevos\n* pan", "* leche * huevos * pan"),
        # Several ways to say it are right, and what they were written for is still wrong.
        ("Prices rose", "En el tercer trimestre, un 2,75 % más.", "En el tercer trimestre, 2.75%."),
        ("Prices rose", "Subieron un 2,75% en el tercero.", "Subieron un 2,75% en el trimestre."),
        ("The the the", "Die Besprechung ist abgesagt.", "Die die Besprechung ist abgesagt."),
        ("temperature", "Temperatur: −5 bis +10 °C", "Temperatur: 5 bis +10 °C"),
        ("temperature", "Temperatur: -5 bis 10 °C", "Temperatur: -5 bis 10"),
        ("Loading", "Es lädt… 45 % [####------]", "Es lädt… [####------] 45 %"),
        ("NUNCA digas", "Please never say that.", "Never say that."),
    ],
)
def test_what_is_right_is_told_from_what_is_not(begin: str, right: str, wrong: str) -> None:
    (case,) = [case for case in field_cases() if case.text.startswith(begin)]
    assert case.is_right(right)
    assert not case.is_right(wrong)
