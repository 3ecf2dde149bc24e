"""Readers of a room, counted: a real server, a speaker, bare sockets."""

import json
from pathlib import Path

import pytest

from service.bench.load.readers import Heard, ReaderSocket, room_table
from tokenspeed.cli import main


def test_every_reader_hears_all_and_when(
    brief_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "readers.json"
    arguments = ["bench", "room", "--readers", "3,6", "--seconds", "1", "--words-per-minute", "900"]
    arguments += ["--model", str(brief_translator), "--device", "cpu", "--to", "de"]
    assert main([*arguments, "--json", str(path)]) == 0
    assert "| readers | frames |" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = found["rows"]
    assert [row["readers"] for row in rows] == [3, 6]
    for row in rows:
        assert row["frames"] % row["readers"] == 0  # all are told the same
        assert row["frames"] > 0
        assert row["frame_ms_p50"] > 0
        assert row["lost_readers"] == 0


async def test_frames_are_read_however_they_are_cut() -> None:
    delta = b'{"type":"translation.delta","segment_id":"7","target":"de","source_rev":3}'
    final = b'{"type":"translation.final","segment_id":"7","stats":{}}'
    long = b'{"type":"room.state","x":"' + b"x" * 70_000 + b'"}'
    data = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"
    for payload in (delta, long, final):
        size = len(payload)
        head = bytes([0x81, size]) if size < 126 else b"\x81\x7f" + size.to_bytes(8)
        data += head + payload
    for step in (997, 4096, len(data)):
        reader = ReaderSocket("/", "127.0.0.1:1")
        for i in range(0, len(data), step):
            reader.data_received(data[i : i + step])
        assert reader.opened.done()
        assert [(segment, revision) for _, segment, revision in reader.frames] == [
            (7, 3),
            (7, None),
        ]
        assert reader.finals == 1


def test_a_table_has_a_row_for_each_number() -> None:
    rows = [Heard(2, [10.0, 20.0], [30.0], frames=6, cpu_s=0.5, seconds=2.0)]
    assert rows[0].numbers()["cpu_ms_a_reader_and_second"] == 125.0
    assert room_table(rows).count("\n") == 2
