"""The translation within a model's output, without remarks about it and text added to it.

A general model may begin with "Here is the translation:" and end with a note; one that was trained
to translate may continue with text of its own. Knows text; does not know ids or models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import regex

from tokenspeed.text.detokenizer import TokenText

# "Sure! Here's the German translation of the caption:", "Translation:", "The translation is:"
_CHATTER: Final = regex.compile(
    r"(?i)(?:(?:sure|certainly|of course|okay|ok)\b[^\n:]{0,30}?[,.!:]?\s*)?"
    r"(?:here(?:['’]s|\s+is|\s+are)(?:\s+\p{L}+){0,3}\s+translat(?:ion|ed)[^\n:]{0,60}"
    r"|(?:the\s+)?(?:\p{L}+\s+)?translation(?:\s+(?:is|in|into|to|of)\b[^\n:]{0,60})?):\s*"
)


@dataclass(frozen=True)
class Answer:
    """Where a translation begins and ends in an output.

    With neither attribute it is the whole output.

    Attributes:
        ends_at: texts that never occur in a translation: it ends there.
        has_chatter: whether remarks about the translation may come first.
    """

    ends_at: Sequence[str] = ()
    has_chatter: bool = False

    def text(self, output: str) -> str:
        """Return the translation in an output."""
        start, end = self._span(output)
        return output[start:end]

    def is_ended(self, output: str) -> bool:
        """Whether the translation has ended, even if the output goes on."""
        return self._span(output)[1] < len(output)

    def token_text(self, token_text: TokenText) -> TokenText:
        """Return a function that turns the ids of an output into the text of its translation."""
        if not self.ends_at and not self.has_chatter:
            return token_text

        def answered(tokens: Sequence[int]) -> tuple[str, list[int]]:
            text, offsets = token_text(tokens)
            start, end = self._span(text)
            return text[start:end], [min(max(o, start), end) - start for o in offsets]

        return answered

    def _span(self, output: str) -> tuple[int, int]:
        if not self.ends_at and not self.has_chatter:
            return 0, len(output)
        start = len(output) - len(output.lstrip())
        chatter = _CHATTER.match(output, start) if self.has_chatter else None
        # If nothing follows the remark, it is the translation of such words itself.
        if chatter is not None and chatter.end() < len(output):
            start = chatter.end()
        found = (output.find(mark, start) for mark in self.ends_at)
        return start, min((at for at in found if at >= 0), default=len(output))
