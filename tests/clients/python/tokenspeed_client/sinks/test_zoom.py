"""Zoom: a server that follows the published interface of the caption URL, on a real socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tokenspeed_client.sinks.feed import SinkError
from tokenspeed_client.sinks.zoom import Zoom, zoom_code

QUERY = "id=200610693&ns=GZHkEA==&expire=86400&spparams=id%2Cns%2Cexpire&signature=nYt%2BXJ"


class Meeting:
    """A meeting.

    Attributes:
        captions: number, language and text.
        failures: status codes of the next answers.
    """

    def __init__(self, seq: int = 0) -> None:
        self.seq = seq
        self.captions: list[tuple[int, str, str]] = []
        self.failures: list[int] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/closedcaption?{QUERY}"

    def post(self, seq: int, language: str, text: str) -> int:
        # Counts up by one; one that is sent again has the number that it had.
        if seq not in (self.seq, self.seq + 1):
            return 400
        if seq == self.seq + 1:
            self.seq = seq
            self.captions.append((seq, language, text))
        return 200


@contextmanager
def running(meeting: Meeting) -> Iterator[Meeting]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_seq = urlsplit(self.path).path == "/closedcaption/seq"
            self._reply(200 if is_seq else 405, str(meeting.seq))

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            query = parse_qs(urlsplit(self.path).query)
            assert urlsplit(self.path).path == "/closedcaption"
            if query.get("signature") != ["nYt+XJ"] or query.get("ns") != ["GZHkEA=="]:
                self._reply(403, "")
            elif meeting.failures:
                self._reply(meeting.failures.pop(0), "")
            else:
                assert self.headers["Content-Type"].startswith("text/plain")
                self._reply(meeting.post(int(query["seq"][0]), query["lang"][0], text), "")

        def _reply(self, code: int, text: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        meeting.port = server.server_port
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield meeting
        finally:
            server.shutdown()
            thread.join()


async def test_captions_are_counted_from_where_the_meeting_is() -> None:
    with running(Meeting(seq=7)) as meeting:
        zoom = Zoom(meeting.url, "de")
        await zoom.open()
        await zoom.show("Grüß Gott.")
        await zoom.show("Ja & nein.")
        await zoom.close()
    assert meeting.captions == [(8, "de-DE", "Grüß Gott.\n"), (9, "de-DE", "Ja & nein.\n")]


async def test_a_caption_that_is_sent_again_has_the_same_number() -> None:
    with running(Meeting()) as meeting:
        zoom = Zoom(meeting.url, "en")
        meeting.failures = [503, 400]
        for problem in ("status 503", "not begun"):
            with pytest.raises(SinkError, match=problem) as told:
                await zoom.show("Yes.")
            assert told.value.is_retryable
        await zoom.show("Yes.")
        await zoom.show("No.")
    assert meeting.captions == [(1, "en-US", "Yes.\n"), (2, "en-US", "No.\n")]


async def test_what_is_told_holds_no_secret() -> None:
    with running(Meeting()) as meeting:
        url = meeting.url
        with pytest.raises(SinkError, match="not valid") as told:
            await Zoom(url.replace("nYt", "other"), "en").show("Yes.")
        assert "other" not in str(told.value)
    with pytest.raises(SinkError, match="does not answer") as told:
        await Zoom(url, "en").show("Yes.")
    assert "signature" not in str(told.value)


@pytest.mark.parametrize("url", ["https://zoom.us/closedcaption", "zoom.us", "ws://zoom.us/?id=1"])
def test_another_address_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="caption URL"):
        Zoom(url, "en")


def test_languages_are_named_as_zoom_does() -> None:
    assert [zoom_code(each) for each in ("de", "en", "ja", "pt-PT", "fr")] == [
        "de-DE", "en-US", "jp-JP", "pt-PT", "fr-FR",
    ]  # fmt: skip
