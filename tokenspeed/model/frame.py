"""What comes before and after a text in a prompt, and the ids of all three together.

A tokenizer may join the end of the wording with the beginning of the text (":\n\nGood" has other
ids than ":\n\n" and "Good"), so what is next to the text is encoded together with it. Nothing is
joined across a control piece, so what lies beyond one is encoded only once. Knows ids and text;
does not know wordings or models.
"""

from tokenspeed.model.tokenizer import Tokenizer


class Frame:
    """The wording around a text.

    Args:
        before, after: with control pieces, as a reference tokenizer would read them.
        begin: ids that come first.

    Attributes:
        overhead: tokens of a prompt without a text. controls: the control pieces among them.

    Raises:
        ValueError: a control piece is not read as one.
    """

    def __init__(
        self, tokenizer: Tokenizer, before: str, after: str, begin: tuple[int, ...] = ()
    ) -> None:
        self._tokenizer = tokenizer
        spans, end_spans = tokenizer.find_controls(before), tokenizer.find_controls(after)
        start, end = spans[-1] if spans else (0, 0)
        first, stop = end_spans[0] if end_spans else (len(after), len(after))
        # The control pieces at the seams are encoded too, so that nothing counts as a beginning.
        self._mark, self._before = before[start:end], before[end:]
        self._after, self._end_mark = after[:first], after[first:stop]
        for piece in filter(None, (self._mark, self._end_mark)):
            if tokenizer.encode_frame(piece) != [tokenizer.controls[piece]]:
                raise ValueError(f"the tokenizer does not read {piece} as one piece")
        self._ids = (*begin, *tokenizer.encode_frame(before[:end]))
        self._end_ids = tuple(tokenizer.encode_frame(after[first:]))
        without = self.ids("")
        self.overhead = len(without)
        self.controls = [token for token in without if token in tokenizer.control_ids]

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the prompt of a text; nothing in the text becomes a control piece."""
        inner = self._joined(self._tokenizer.defused(text))
        if not self._tokenizer.control_ids.isdisjoint(inner):
            # The tokenizer's own normalisation has produced a control piece after all.
            before, after = self._joined(""), self._tokenizer.encode_frame(self._after)
            inner = [*before[: len(before) - len(after)], *self._tokenizer.encode(text), *after]
        return (*self._ids, *inner, *self._end_ids)

    def _joined(self, text: str) -> list[int]:
        whole = "".join((self._mark, self._before, text, self._after, self._end_mark))
        ids = self._tokenizer.encode_frame(whole)
        return ids[int(bool(self._mark)) : len(ids) - int(bool(self._end_mark))]
