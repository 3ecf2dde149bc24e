"""A terminal and subtitle files."""

import io
import tempfile
from pathlib import Path

import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenspeed_client.captioning.outputs import (
    MAX_CHARS,
    Subtitles,
    Terminal,
    subtitle_files,
)


def test_a_pipe_gets_finals_alone() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, ("de", "fr"), 0)
    terminal.grow("1", "de", "Guten ", "Mor")
    terminal.end("1", "de", "Guten Morgen.")
    terminal.end("1", "fr", "Bonjour.")
    assert stream.getvalue() == "de: Guten Morgen.\nfr: Bonjour.\n"


def test_a_terminal_shows_what_grows() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, ("de",), 20)
    shown = []
    terminal.grow("1", "de", "Guten ", "Mor")
    terminal.grow("1", "de", "Morgen", ", Sie da drüben")
    shown.append(stream.getvalue().rpartition("\x1b[2K")[2])
    terminal.end("1", "de", "Guten Morgen.")
    terminal.grow("2", "de", "Weg", "")
    terminal.drop("2", "de")
    assert shown == ["rgen, Sie da drüben"]
    assert stream.getvalue().endswith("Guten Morgen.\n\r\x1b[2K\r\x1b[2KWeg\r\x1b[2K")


def test_what_a_new_session_tells_again_is_not_there_twice() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, ("de",), 40)
    terminal.grow("1", "de", "Guten ", "Mor")
    terminal.begin_anew()
    terminal.grow("1", "de", "Guten Mor", "gen")
    assert stream.getvalue().rpartition("\x1b[2K")[2] == "Guten Morgen"
    terminal.show("1", "de", "Guten Morgen, Sie", " da")
    terminal.grow("1", "de", " da", " drüben")
    assert stream.getvalue().rpartition("\x1b[2K")[2] == "Guten Morgen, Sie da drüben"


TEXTS = st.text("abc é<&.", min_size=1, max_size=180).filter(str.strip)
TIMES = st.integers(0, 9000)


@settings(max_examples=40)
@given(st.lists(st.tuples(TEXTS, TIMES, TIMES), max_size=4))
def test_others_read_the_files(said: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.srt", "a.vtt"):
            subtitles = Subtitles(Path(folder) / name)
            for text, start_ms, length_ms in said:
                subtitles.add(text, start_ms, start_ms + length_ms)
            subtitles.close()
        words = [word for text, _, _ in said for word in text.split()]
        cues = list(srt.parse((Path(folder) / "a.srt").read_text(encoding="utf-8")))
        captions = webvtt.read(str(Path(folder) / "a.vtt")).captions
    assert len(cues) == len(captions)
    read = [word for cue in cues for word in cue.content.split()]
    assert "".join(read) == "".join(words)
    assert all(len(line) <= MAX_CHARS for cue in cues for line in cue.content.splitlines())
    for before, after in zip(cues, cues[1:], strict=False):
        assert before.start < before.end <= after.start


def test_each_of_several_languages_has_its_file(tmp_path: Path) -> None:
    files = subtitle_files(tmp_path / "talk.vtt", ("de", "fr"))
    for target, file in files.items():
        file.add(f"in <{target}>", 1500, 2500)
        file.close()
    assert (tmp_path / "talk.fr.vtt").read_text() == (
        "WEBVTT\n\n1\n00:00:01.500 --> 00:00:02.500\nin &lt;fr&gt;\n\n"
    )
