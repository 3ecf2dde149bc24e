"""The command as a process: lines or speech in, captions out of a real service."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import srt
import webvtt

from tests.clients.network import Network
from tests.clients.python.tokenspeed_client.captioning.test_recognisers import UNDERSTOOD, speak
from tests.clients.python.tokenspeed_client.sinks import test_obs, test_zoom
from tests.service.conftest import Service
from tokenspeed_client import listen
from tokenspeed_client.audience import NOBODY, apply_room_event

ROOT = Path(__file__).parents[5]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'clients/python'}"}
COMMAND = [sys.executable, "-m", "tokenspeed", "captions"]


def captions(
    arguments: Sequence[str], said: str = "", folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments], input=said, capture_output=True, text=True, timeout=60,
        cwd=folder, env=ENVIRONMENT,
    )  # fmt: skip


def test_lines_are_translated_in_their_order(service: Service) -> None:
    said = "".join(f"sentence number {number}\n" for number in range(40))
    done = captions(["--url", service.http, "--from", "en", "--to", "de"], said)
    assert done.stderr == ""
    assert done.stdout == said.upper()
    assert done.returncode == 0


def test_subtitles_of_several_languages(service: Service, tmp_path: Path) -> None:
    said = "[00:00:01.000 --> 00:00:02.500]  Good morning.\n[00:00:03.000 --> 00:00:04.000]  Yes.\n"
    arguments = ["--url", service.http, "--from", "en", "--to", "de,fr", "--vtt", "talk.vtt"]
    done = captions(arguments, said, tmp_path)
    assert done.returncode == 0, done.stderr
    for target in ("de", "fr"):
        found = webvtt.read(str(tmp_path / f"talk.{target}.vtt"))
        assert [(cue.start, cue.end, cue.text) for cue in found.captions] == [
            ("00:00:01.000", "00:00:02.500", "GOOD MORNING."),
            ("00:00:03.000", "00:00:04.000", "YES."),
        ]


def test_lines_that_come_at_once_are_shown_long_enough_to_be_read(
    service: Service, tmp_path: Path
) -> None:
    said = "A line of thirty-four characters.\n" * 3
    arguments = ["--url", service.http, "--from", "en", "--to", "de", "--srt", "talk.srt"]
    assert captions(arguments, said, tmp_path).returncode == 0
    cues = srt.parse((tmp_path / "talk.srt").read_text())
    assert [round((cue.end - cue.start).total_seconds()) for cue in cues] == [2, 2, 2]


def test_speech_is_heard_and_translated(service: Service, tmp_path: Path) -> None:
    speak(tmp_path / "talk.wav")
    arguments = ["--audio", "talk.wav", "--from", "en", "--to", "de", "--srt", "talk.srt"]
    done = captions(["--url", service.http, *arguments], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(UNDERSTOOD.upper())
    assert UNDERSTOOD.upper() in (tmp_path / "talk.srt").read_text()


async def test_a_room_reads_along_and_a_signal_ends_it_with_the_last_finals(
    service: Service,
) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--url", service.http, "--from", "en", "--room", "Talk",
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    async with listen(line.removeprefix("Readers: ").strip(), "de") as reader:
        process.stdin.write(b"Good morning.\nWelcome all")
        state = NOBODY
        async for event in reader:
            state = apply_room_event(state, event)
            if len(state.segments) == 2 and state.segments[0].is_final:
                break
        process.send_signal(signal.SIGINT)
        async for event in reader:
            state = apply_room_event(state, event)
            if all(segment.is_final for segment in state.segments):
                break
        assert [segment.text for segment in state.segments] == ["GOOD MORNING.", "WELCOME ALL"]
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_lost_line_is_told_and_loses_nothing(service: Service) -> None:
    async with Network(service.port).running() as network:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--url", network.http, "--from", "en", "--to", "de",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"One.\n")
        assert await process.stdout.readline() == b"ONE.\n"
        network.cut()
        process.stdin.write(b"Two.\n")
        process.stdin.close()
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"TWO.\n"
    assert b"trying again" in err


def test_captions_go_to_obs_to_a_meeting_and_to_playlists(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, meeting = test_obs.Studio("secret"), test_zoom.Meeting()
    monkeypatch.setitem(ENVIRONMENT, "TOKENSPEED_OBS_PASSWORD", "secret")
    with test_obs.running_in_a_thread(studio) as port, test_zoom.running(meeting):
        arguments = ["--url", service.http, "--from", "en", "--to", "de,fr"]
        arguments += ["--obs", f"ws://127.0.0.1:{port}", "--zoom", meeting.url, "--hls", "out"]
        done = captions(arguments, "Yes.\nNo.\n", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        monkeypatch.setitem(ENVIRONMENT, "TOKENSPEED_OBS_PASSWORD", "another")
        refused = captions(arguments, "Perhaps.\n", tmp_path)
    assert studio.captions == ["YES.", "NO."]
    assert meeting.captions == [(1, "de-DE", "YES.\n"), (2, "de-DE", "NO.\n")]
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "tokenspeed captions: OBS: the password is wrong\n"


def test_a_sink_that_is_not_there_is_told_and_holds_up_nothing(
    service: Service, tmp_path: Path
) -> None:
    arguments = ["--url", service.http, "--from", "en", "--to", "de,fr", "--hls", "out"]
    done = captions([*arguments, "--obs", "ws://127.0.0.1:9"], "Yes.\nNo.\n", tmp_path)
    assert done.returncode == 0
    assert "OBS does not answer" in done.stderr
    assert sorted(done.stdout.splitlines()) == ["de: NO.", "de: YES.", "fr: NO.", "fr: YES."]
    for target in ("de", "fr"):
        assert "#EXT-X-ENDLIST" in (tmp_path / "out" / f"{target}.m3u8").read_text()
        shown = "".join(path.read_text() for path in (tmp_path / "out").glob(f"{target}-*.vtt"))
        assert shown.index("YES.") < shown.index("NO.")


def test_an_open_room_is_spoken_in(service: Service) -> None:
    room, token = asyncio.run(service.state.rooms.create("", None, service.state.now_s()))
    link = f"{service.http}/r/{room.id}"
    arguments = ["--url", service.http, "--from", "en", "--to", "de", "--room", link]
    assert captions([*arguments, "--host-token", token], "Yes.\n").stdout == "YES.\n"
    refused = captions([*arguments, "--host-token", "another"], "Yes.\n")
    assert "needs its host token" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "name the languages"),
        (["--room", "Talk", "--vtt", "a.vtt"], "subtitles need a language"),
        (["--to", "de", "--audio", "none.wav"], "none.wav"),
        (["--to", "de", "--audio", "none.wav", "--recogniser", "vosk"], "pip install"),
        (["--to", "de", "--url", "nowhere"], "expected http"),
        (["--to", "de", "--obs", "http://127.0.0.1"], "ws://"),
        (["--to", "de", "--zoom", "zoom.us"], "caption URL"),
        (["--room", "Talk", "--hls", "out"], "subtitles need a language"),
        (["--to", "de", "--srt", "no/such/folder.srt"], "No such file"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: list[str], problem: str, service: Service
) -> None:
    done = captions(["--url", service.http, *arguments], "Yes.\n")
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
