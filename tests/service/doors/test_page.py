"""The page's files, over real connections."""

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx

from service.doors.http_line import HttpLine
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.doors.test_lines import HEAD


async def test_files_of_the_page_alone_are_served(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        page = await http.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        script = await http.get("/src/client.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["cache-control"] == "no-cache"
        assert int(script.headers["content-length"]) == len(script.content) > 0
        for path in ("/tests/page.test.js", "/package.json", "/src/", "/src/none.js", "/src/%00"):
            assert (await http.get(path)).status_code == 404


async def test_a_browser_that_has_a_file_is_not_sent_it_again(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        tag = (await http.get("/src/client.js")).headers["etag"]
        again = await http.get("/src/client.js", headers={"if-none-match": tag})
        assert (again.status_code, again.content) == (304, b"")
        head = await http.head("/src/client.js")
        assert (head.content, head.headers["etag"]) == (b"", tag)


async def test_who_does_not_read_a_file_holds_no_descriptor_of_it(run: Run) -> None:
    service = run()
    wanted = HEAD.replace(b"/livez", b"/asyncapi.yaml") + b"\r\n"
    with ExitStack() as stack:
        for _ in range(10):
            line = stack.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", service.port))
            line.setblocking(False)
            line.send(wanted * 200)
        await eventually(lambda: num_paused(service) == 10 and not is_open("asyncapi.yaml"))


def num_paused(service: Service) -> int:
    lines = list(service.server.server_state.connections)
    return sum(isinstance(line, HttpLine) and line.flow.write_paused for line in lines)


def is_open(name: str) -> bool:
    """Whether this process has a file of that name open."""
    found = (Path(f"/dev/fd/{number}") for number in os.listdir("/dev/fd"))
    return any(path.resolve().name == name for path in found)
