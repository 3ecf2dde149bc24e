"""Captions of a Zoom meeting, through the URL that its host copies.

Source: Zoom, "Closed captioning REST API": text by POST, counted by `seq`, which grows by one with
each new caption and not when one is sent again.
"""

import asyncio
from typing import Final
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from tokenspeed_client.sinks.feed import SinkError

TIMEOUT_S: Final = 5.0
# Zoom's codes of languages; for others the country is derived from the language.
CODES: Final = {
    "ar": "ar-SA", "cs": "cs-CZ", "da": "da-DK", "en": "en-US", "hi": "hi-IN", "ja": "jp-JP",
    "ko": "ko-KR", "pt": "pt-BR", "sv": "sv-SE", "uk": "uk-UA", "zh": "zh-CN",
}  # fmt: skip


class Zoom:
    """A meeting.

    Args:
        url: the caption URL, or API token, that the host copies. It is a secret.
        language: of the captions.
    Raises:
        ValueError: this is not such a URL.
    """

    def __init__(self, url: str, language: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.query:
            raise ValueError(
                "expected a caption URL of Zoom such as https://.../closedcaption?id=..."
            )
        self._parts = parts
        self._language = zoom_code(language)
        self._seq: int | None = None  # of the last caption

    async def open(self) -> None:
        """Ask for the meeting's last `seq`; another program may have sent captions before.

        Raises:
            SinkError: the meeting does not answer, or has not begun.
        """
        path = self._parts.path.rstrip("/") + "/seq"
        told = await self._ask(Request(urlunsplit(self._parts._replace(path=path))))
        try:
            self._seq = int(told.strip() or "0")
        except ValueError:
            raise SinkError("Zoom does not say how many captions there are") from None

    async def show(self, text: str) -> None:
        """Send a caption.

        Raises:
            SinkError: it was not sent.
        """
        if self._seq is None:
            await self.open()
            assert self._seq is not None
        counted = {"seq": str(self._seq + 1), "lang": self._language}
        query = urlencode({**dict(parse_qsl(self._parts.query)), **counted})
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        url = urlunsplit(self._parts._replace(query=query))
        await self._ask(Request(url, f"{text}\n".encode(), headers, method="POST"))
        self._seq += 1

    async def close(self) -> None:
        """Do nothing: no connection is kept."""

    async def _ask(self, request: Request) -> str:
        try:
            return await asyncio.to_thread(_ask, request)
        except HTTPError as exc:
            exc.close()
            why = {400: "the meeting has not begun", 403: "the caption URL is not valid"}
            reason = why.get(exc.code, f"status {exc.code}")
            raise SinkError(f"Zoom refuses captions: {reason}") from None
        except OSError as exc:  # its text does not contain the URL, which is a secret
            raise SinkError(f"Zoom does not answer: {exc}") from None


def zoom_code(language: str) -> str:
    """Return Zoom's code of a language, such as `de-DE`."""
    return language if "-" in language else CODES.get(language, f"{language}-{language.upper()}")


def _ask(request: Request) -> str:
    with urlopen(request, timeout=TIMEOUT_S) as reply:
        body: bytes = reply.read()
        return body.decode(errors="replace")
