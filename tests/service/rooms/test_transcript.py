"""Transcripts: all that was said, in order, in the form of each file."""

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rooms.room import Room
from service.rooms.said import SOURCE
from service.rooms.transcript import FORMS, Spoken, transcript, write
from service.wire import protocol as p

STATS = p.FinalStats(0, 0, 0.0, 0.0)
TIME = re.compile(r"(\d\d):(\d\d):(\d\d)[.,](\d\d\d)")


class Nobody:
    def set_audience(self, targets: frozenset[str]) -> None:
        pass

    def tell(self, event: p.ServerEvent) -> None:
        pass


def a_talk() -> Room:
    room = Room("r", "Talk", 0.0)
    room.join("x", Nobody())
    room.speak("x", p.SourceFinal("a", "Good morning.", "Ann"), 1.0)
    room.speak("x", p.TranslationFinal("a", "de", "Guten Morgen.", "Good morning.", STATS), 1.5)
    room.speak("x", p.SourceFinal("b", "a < b & c --> d"), 4.0)
    room.speak("x", p.SourceDelta("c", "still open", ""), 5.0)
    return room


def test_what_has_no_translation_stands_as_it_was_said() -> None:
    found = transcript(a_talk().segments.values(), "de")
    assert [(s.text, s.speaker, s.is_translated) for s in found] == [
        ("Guten Morgen.", "Ann", True),
        ("a < b & c --> d", None, False),
    ]
    assert [s.text for s in transcript(a_talk().segments.values(), SOURCE)] == [
        "Good morning.",
        "a < b & c --> d",
    ]


def test_each_form() -> None:
    said = transcript(a_talk().segments.values(), "de")
    vtt = write(said, "vtt", 42, 2).decode()
    assert vtt == (
        "WEBVTT\n\n"
        "1\n00:00:01.000 --> 00:00:01.800\n<v Ann>Guten Morgen.\n\n"
        "2\n00:00:04.000 --> 00:00:04.882\na &lt; b &amp; c --&gt; d\n"
    )
    srt = write(said, "srt", 42, 2).decode()
    assert srt.startswith("1\n00:00:01,000 --> 00:00:01,800\nAnn: Guten Morgen.\n\n2\n")
    assert write(said, "txt", 42, 2).decode() == "Ann: Guten Morgen.\na < b & c --> d\n"
    assert [each["text"] for each in orjson.loads(write(said, "json", 42, 2))] == [
        "Guten Morgen.",
        "a < b & c --> d",
    ]
    with pytest.raises(KeyError):
        write(said, "doc", 42, 2)
    assert set(FORMS) == {"vtt", "srt", "txt", "json"}


@given(
    st.lists(
        st.tuples(st.text("ab <>&\n-", min_size=1, max_size=90), st.floats(0, 1e6)), max_size=8
    )
)
def test_cues_never_overlap_and_have_no_tags(said: list[tuple[str, float]]) -> None:
    segments = [
        Spoken(text.strip(), None, at, at + 500, is_translated=True)
        for text, at in sorted(said, key=lambda each: each[1])
        if text.strip()
    ]
    vtt = write(segments, "vtt", 20, 2).decode()
    times = [
        ((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms) for h, m, s, ms in TIME.findall(vtt)
    ]
    assert times == sorted(times)
    assert "<" not in vtt
    assert vtt.count("-->") == len(times) / 2
