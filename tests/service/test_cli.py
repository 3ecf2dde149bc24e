"""`tokenspeed serve` as a process: what it refuses, and how it ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from service.cli import bind
from service.config import variables
from service.wire import protocol as p
from tests.service.client import session
from tests.service.process import environment, serving_anew
from tokenspeed.cli import main


def check_refusal(code: int, out: str, err: str, problem: str) -> None:
    assert (code, out) == (2, "")
    assert err.startswith("tokenspeed: ")
    assert problem in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "problem"),
    [
        (["--host", "0.0.0.0"], {}, "TOKENSPEED_API_KEYS: is required to listen on 0.0.0.0"),
        (["--host", "no.such.host.invalid"], {"TOKENSPEED_INSECURE": "1"}, "no.such.host.invalid"),
        ([], {"TOKENSPEED_PORT": "many"}, "TOKENSPEED_PORT: is 'many'"),
        (["--port", "70000"], {}, "--port: is 70000"),
        (["--port", "0", "--model", "/nowhere"], {}, "/nowhere"),
    ],
)
def test_start_up_stops_with_one_line(
    arguments: list[str],
    variables: dict[str, str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("service.logs.configure", lambda level: None)
    for name in list(os.environ):
        if name.startswith("TOKENSPEED_"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code = main(["serve", *arguments])
    captured = capfd.readouterr()
    check_refusal(code, captured.out, captured.err, problem)


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    assert [variable.name for variable, _ in variables() if variable.name not in shown] == []
    assert "TOKENSPEED_IDLE_S          seconds after" in shown


def test_a_port_in_use_is_told_by_the_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "tokenspeed", "serve", "--port", port]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=60
        )
    check_refusal(done.returncode, done.stdout, done.stderr, "address already in use")


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Small writes leave at once: a head and its body came 40 ms apart."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = writer.get_extra_info("socket")
        found.set_result(line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = bind("127.0.0.1", 0)
    async with await asyncio.start_server(handle, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await found == 1
        writer.close()


async def test_sigterm_drains(tiny_translator: Path, capfd: pytest.CaptureFixture[str]) -> None:
    secret = "nobody logs this sentence"
    with serving_anew(tiny_translator, TOKENSPEED_LOG_LEVEL="DEBUG") as (
        process,
        port,
    ):
        async with session(f"ws://127.0.0.1:{port}/v1/stream") as client:
            await client.start("de", timing=True)
            await client.send(p.SourceUpdate(1, secret, segment_id="a"))
            await client.until(p.TranslationDelta)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as caught:
                await client.until(p.SessionClosed, count=2)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1001
        code = await asyncio.to_thread(process.wait, 20)
    assert code == 0
    kinds = [event.type for event in client.received if event.type != "translation.delta"]
    assert kinds == [
        "session.created",
        "session.updated",
        "session.going_away",
        "translation.final",
        "session.closed",
    ]
    log = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {"ready", "draining", "segment done", "connection ended"} <= {e["message"] for e in log}
    assert secret not in json.dumps(log)
