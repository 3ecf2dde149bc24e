"""Outputs that no reader should see."""

import pytest

from tokenspeed.text.guard import fault_of

ZH = "我们今天想谈谈我们的新房子，以及明天早上大家要坐的那班火车什么时候离开。"
EN = (
    "Today we would like to talk about our new house, and when the train leaves that everybody "
    "is going to take tomorrow in the morning."
)


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [
        ("See you at noon.", "Wir sehen uns mittags.", None),
        ("See you.", 'Der Claims "Der Claims "Der Claims "Der Claims "Der Claims', "loop"),
        ("yeah yeah yeah yeah yeah yeah", "ja ja ja ja ja ja", None),
        (
            "Great job",
            "Großartige Arbeit, „Dream!“ und noch vieles mehr davon, wie man weiß, ja",
            "long",
        ),
        ("we have never seen this before", "we have never seen this before.", "copy"),
        ("Taxi, Hotel, Restaurant", "Taxi, Hotel, Restaurant", None),  # may well be the same
        ("12 34 56 78 90 12", "12 34 56 78 90 12", None),
        (ZH, EN, None),
        (EN, ZH, None),
        (ZH, ZH, "copy"),
        ("hahaha", "哈哈哈哈", None),
        ("good", "好好好好好好好好好", "loop"),
        ("good", "早上好早上好早上好早上好早上好早上好早上好早上好", "loop"),
        (ZH, EN * 3, "long"),
        ("==a== and ^^up^^", "", "empty"),
        ("hm?", "?!", "empty"),
        ("\ue001 now", "\ue001", None),
        ("Found \ue001 file", "\ue001", "empty"),
        ("the 5", "5", None),
        ("12", "", None),
        ("no, never, not today, never", "nein, niemals, nicht heute, niemals", None),
    ],
)
def test_what_is_wrong_is_told(source: str, output: str, expected: str | None) -> None:
    assert fault_of(source, output, is_whole=True, is_same_language=False) == expected


def test_a_copy_is_right_where_the_language_may_be_the_same() -> None:
    text = "we have never seen this before"
    assert fault_of(text, text, is_whole=True, is_same_language=True) is None
    assert fault_of(text, "nie", is_whole=False, is_same_language=False) == "long"
