"""SubRip and WebVTT: times, numbers and tags stay, whatever the translation is like."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import regex
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.documents.translators import ALL, same, shout, translate
from tokenspeed.documents.subtitles import open_srt, open_vtt

FIELD = """1
00:00:00,500 --> 00:00:02,000
Good morning, everyone.

2
00:00:02,100 --> 00:00:05,000
<i>We have a lot to talk about
this afternoon.</i>

3
00:00:05,100 --> 00:00:07,000
- Where is the key?
- It is on the table.
"""
RUNNING = """1
00:00:01,000 --> 00:00:02,000
And so we were walking

2
00:00:02,100 --> 00:00:03,000
down the <i>old</i> road. Then

3
00:00:03,100 --> 00:00:04,000
it rained.
"""
VTT = """WEBVTT - Talk
Kind: captions

NOTE not --a-- cue

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.000 align:start line:0
<v Bob>Good morning.

01:00:02.500 --> 01:00:04.000
1984

01:00:04.500 --> 01:00:05.000
{\\an8}♪ La la ♪
"""


def test_the_texts_of_a_file_are_whole_sentences() -> None:
    assert open_srt(FIELD.encode(), "de").texts == (
        "Good morning, everyone.",
        "We have a lot to talk about this afternoon.",
        "Where is the key?",
        "It is on the table.",
    )
    assert open_srt(RUNNING.encode(), "de").texts == (
        "And so we were walking down the <g1>old</g1> road. Then it rained.",
    )
    assert open_vtt(VTT.encode(), "de").texts == ("Good morning.", "La la")


def test_a_sentence_over_cues_is_shared_out() -> None:
    (translation,) = ["Und so gingen wir die <g1>alte</g1> Straße entlang. Dann regnete es."]
    written = open_srt(RUNNING.encode(), "de").translated([translation]).decode()
    assert [cue.content for cue in srt.parse(written)] == [
        "Und so gingen wir die",
        "<i>alte</i> Straße entlang. Dann",
        "regnete es.",
    ]


def test_tags_placing_and_speakers_are_no_words() -> None:
    assert translate(open_vtt(VTT.encode(), "de"), shout) == VTT.replace(
        "Good morning.", "GOOD MORNING."
    ).replace("La la", "LA LA")
    assert translate(open_srt(FIELD.encode(), "de"), shout) == (
        FIELD.replace("Good morning, everyone.", "GOOD MORNING, EVERYONE.")
        .replace("We have a lot to talk about\nthis", "WE HAVE A LOT TO TALK ABOUT\nTHIS")
        .replace("afternoon.", "AFTERNOON.")
        .replace("Where is the key?", "WHERE IS THE KEY?")
        .replace("It is on the table.", "IT IS ON THE TABLE.")
    )


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        (["♪ Oh, my little", "friend ♪", "He was late"], ["Oh, my little friend", "He was late"]),
        (["And then", "[applause]", "we left"], ["And then", "[applause]", "we left"]),
        (["(coughs)", "Well, so"], ["(coughs)", "Well, so"]),
        (["and so it went", "JOHN: Hello"], ["and so it went", "JOHN: Hello"]),
        (["We met Mr.", "Brown there."], ["We met Mr. Brown there."]),
        (["- And so", "it went", "- No"], ["And so it went", "No"]),
        (["It went on...", "and on."], ["It went on... and on."]),
    ],
)
def test_songs_sounds_and_speakers_are_said_by_themselves(
    lines: list[str], texts: list[str]
) -> None:
    cues = (f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\n{line}\n" for i, line in enumerate(lines, 1))
    assert list(open_srt("\n".join(cues).encode(), "de").texts) == texts


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("<v Anna>We have <b>ten</b> guests</v>", "We have <g1>ten</g1> guests"),
        ("<i>Old</i> house", "<g1>Old</g1> house"),
        ("the <i>old house</i>", "the <g1>old house</g1>"),
        ("<i>so it</i> went <i>on</i>", "<g1>so it</g1> went <g3>on</g3>"),
        ("<v Bob>well, <00:00:01.500>so", "well, <x1/>so"),
        ("{\\an8}<font color='#fff'>Well</font>", "Well"),
    ],
)
def test_tags_round_a_line_are_not_among_its_words(line: str, text: str) -> None:
    file = f"1\n00:00:01,000 --> 00:00:02,000\n{line}\n"
    document = open_srt(file.encode(), "de")
    assert document.texts == (text,)
    assert translate(document, shout) == file.replace(line, _shouted(line))


def _shouted(line: str) -> str:
    return regex.sub(r"(<[^<>]*>|\{[^{}]*\})|[^<{]+", lambda m: m[1] or m[0].upper(), line)


def test_a_long_pause_ends_a_sentence() -> None:
    late = RUNNING.replace("00:00:03,100 --> 00:00:04,000", "00:01:03,100 --> 00:01:04,000")
    assert len(open_srt(late.encode(), "de").texts) == 2


LINE = st.text("ab. ,!?<>i/-♪{}\\", max_size=16)
TEXT = st.lists(LINE, max_size=3).map("\n".join)


@st.composite
def files(draw: st.DrawFn, *, is_vtt: bool) -> str:
    """A file as programs write it: some with blank lines, tags, ends of line of other systems."""
    blocks = []
    for i, text in enumerate(draw(st.lists(TEXT, min_size=1, max_size=5)), 1):
        mark = "." if is_vtt else ","
        words = draw(st.sampled_from(["good day", "<i>and so</i>", "- No.\n- Yes.", "it went\non"]))
        body = "\n".join(line for line in f"{words}\n{text}".split("\n") if line.strip())
        body = body.replace("-->", "")
        blocks.append(f"{i}\n00:00:0{i}{mark}000 --> 00:00:0{i}{mark}900\n{body}\n")
    text = ("WEBVTT\n\n" if is_vtt else "") + "\n".join(blocks)
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


@given(files(is_vtt=False))
def test_an_unchanged_srt_file_survives_byte_for_byte(text: str) -> None:
    assert same(open_srt(text.encode(), "de")) == text.encode()


@given(files(is_vtt=True))
def test_an_unchanged_vtt_file_survives_byte_for_byte(text: str) -> None:
    assert same(open_vtt(text.encode(), "de")) == text.encode()


def cues(text: str, *, is_vtt: bool) -> list[Any]:
    """Number and times of all cues, and whether they have text, as another library reads them."""
    if is_vtt:
        found = webvtt.from_buffer(io.StringIO(text))
        return [(c.identifier, c.start, c.end, bool(c.text.strip())) for c in found.captions]
    text = text.replace("\r\n", "\n")
    return [(c.index, c.start, c.end, bool(c.content.strip())) for c in srt.parse(text)]


@given(st.data(), st.booleans(), st.sampled_from(ALL))
def test_cues_keep_number_time_and_words(
    data: st.DataObject, is_vtt: bool, translator: Callable[[str], str]
) -> None:
    text = data.draw(files(is_vtt=is_vtt))
    document = (open_vtt if is_vtt else open_srt)(text.encode(), "de")
    assert cues(translate(document, translator), is_vtt=is_vtt) == cues(text, is_vtt=is_vtt)


def test_odd_files_are_read() -> None:
    no_numbers = "00:00:01,000-->00:00:02,000\nHello there\n0:0:3.5 --> 0:0:4.5\nGoodbye all"
    assert open_srt(no_numbers.encode(), "de").texts == ("Hello there Goodbye all",)
    blank_inside = (
        "1\n00:00:01,000 --> 00:00:02,000\nHello\n\nthere\n\n2\n00:00:03,000 --> 00:00:04,000\nBye"
    )
    assert open_srt(blank_inside.encode(), "de").texts == ("Hello there Bye",)
    assert same(open_srt(FIELD.encode("utf-16"), "de")) == FIELD.encode("utf-16")
    with pytest.raises(ValueError, match="no cue"):
        open_srt(b"Hello", "de")
    with pytest.raises(ValueError, match="WEBVTT"):
        open_vtt(FIELD.encode(), "de")
