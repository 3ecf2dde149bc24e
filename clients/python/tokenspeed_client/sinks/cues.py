"""Caption text cut into pieces of a few lines, and WebVTT. Pure."""

import textwrap
from typing import Final

READ_CHARS_PER_S: Final = 17.0  # how fast captions are read


def pieces(text: str, max_chars: int, max_lines: int) -> list[list[str]]:
    """Return a text in pieces of at most `max_lines` lines."""
    lines = textwrap.wrap(text, max_chars)
    return [lines[i : i + max_lines] for i in range(0, len(lines), max_lines)]


def clock(ms: int, point: str) -> str:
    """Return a time as `00:01:02.500`."""
    seconds, rest = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{rest:03}"


def vtt_text(lines: list[str]) -> str:
    """Return lines as the text of a cue of WebVTT."""
    shown = "\n".join(lines)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
