"""HLS: what a player may read at any moment is whole, and holds every caption once it is over."""

import asyncio
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenspeed_client.sinks.feed import SinkError
from tokenspeed_client.sinks.hls import NUM_SEGMENTS, Hls, Playlist

BEGAN = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
WORDS = st.lists(st.sampled_from(["one", "two", "<three>", "&", "Grüße"]), min_size=1, max_size=30)


def read(folder: Path, language: str = "de") -> tuple[int, list[str], bool]:
    """Read as a player does; return the first number, the segments and whether it is over."""
    lines = (folder / f"{language}.m3u8").read_text().splitlines()
    assert lines[0] == "#EXTM3U"
    tags = dict(line.partition(":")[::2] for line in lines if line.startswith("#EXT-X"))
    names = [line for line in lines if not line.startswith("#")]
    lengths = [float(line[8:-1]) for line in lines if line.startswith("#EXTINF:")]
    assert len(lengths) == len(names) <= NUM_SEGMENTS
    assert all(length <= int(tags["#EXT-X-TARGETDURATION"]) for length in lengths)
    first = int(tags["#EXT-X-MEDIA-SEQUENCE"])
    assert [int(re.findall(r"(\d+)\.vtt", name)[0]) for name in names] == [
        first + index for index in range(len(names))
    ]
    return first, names, "#EXT-X-ENDLIST" in tags


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 12), st.none() | WORDS), max_size=20))
def test_whoever_reads_along_gets_every_word_in_its_order(
    events: list[tuple[float, list[str] | None]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, now_s, said = Path(name), 0.0, list[str]()
        playlist = Playlist(folder, "de", BEGAN)
        seen: dict[str, str] = {}

        def look() -> bool:
            first, names, is_over = read(folder)
            assert first >= BEGAN.timestamp() // 6
            for each in names:
                text = (folder / each).read_text()  # every file that is named is there
                assert seen.setdefault(each, text) == text  # and never changes
            return is_over

        for pause_s, words in events:
            now_s += pause_s
            playlist.advance(now_s)
            if words:
                playlist.add(" ".join(words), now_s)
                said += words
            assert not look()
        playlist.finish()
        assert look()
        # The last segments may be more than the playlist names, after a burst: read all.
        cues: dict[str, str] = {}
        for path in sorted(folder.glob("*.vtt")):
            seen.setdefault(path.name, path.read_text())
        for index, each in enumerate(sorted(seen)):
            found = webvtt.from_string(seen[each])
            for cue in found.captions:
                assert cue.end_in_seconds >= index * 6
                assert cue.start_in_seconds <= index * 6 + 6
                assert cues.setdefault(cue.start + cue.end, cue.text) == cue.text
        shown = " ".join(cues.values()).split()
        assert [word.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
                for word in shown] == said  # fmt: skip
        assert not list(folder.glob(".*"))  # nothing half-written is left


def test_old_segments_go_and_a_second_run_counts_on(tmp_path: Path) -> None:
    Playlist(tmp_path, "de", BEGAN).advance(6.0 * 50)
    first, names, _ = read(tmp_path)
    assert len(names) == NUM_SEGMENTS
    assert len(list(tmp_path.glob("de-*.vtt"))) == 2 * NUM_SEGMENTS
    again = Playlist(tmp_path, "de", datetime.fromtimestamp(BEGAN.timestamp() + 400, UTC))
    assert list(tmp_path.glob("*.vtt")) == []
    again.advance(6.0)
    assert read(tmp_path)[0] > first + NUM_SEGMENTS - 1


async def test_segments_come_by_the_clock_while_nobody_speaks(tmp_path: Path) -> None:
    hls = Hls(tmp_path / "out", "fr", segment_s=0.05)
    await hls.open()
    await hls.show("Bonjour.")
    while len(read(tmp_path / "out", "fr")[1]) < 3:  # noqa: ASYNC110  files tell nobody
        await asyncio.sleep(0.01)
    await hls.close()
    _, names, is_over = read(tmp_path / "out", "fr")
    assert is_over
    assert "Bonjour." in "".join((tmp_path / "out" / name).read_text() for name in names)


async def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    hls = Hls(tmp_path / "out", "fr", segment_s=0.001)
    (tmp_path / "out" / "fr.m3u8").unlink()
    (tmp_path / "out").rmdir()
    await asyncio.sleep(0.01)
    with pytest.raises(SinkError, match="HLS"):
        await hls.show("Bonjour.")
    await hls.close()
