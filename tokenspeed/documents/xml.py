"""XML in a string: the words of each element, with the tags among them; all else stays.

Which tags separate sentences is given, or inferred: an element is among words if its parent has
words of its own beside it. Attributes, comments and CDATA are not translated.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from tokenspeed.documents.document import Source, SpanDocument, Unit
from tokenspeed.documents.markup import BLANKS, Token, partners, run_units, tokens, whole_elements


def open_text(
    text: str,
    splitting: Iterable[str] = (),
    joining: Iterable[str] = (),
    ignored: Iterable[str] = (),
    *,
    is_outline_seen: bool = True,
) -> SpanDocument:
    """Return XML as a document.

    Args:
        splitting: names of tags that separate sentences. joining: of those that never do.
        ignored: of those whose content is not translated.
        is_outline_seen: whether it is inferred for other tags if they separate sentences.
    """
    kept = {name.lower() for name in ignored}

    def is_kept(token: Token) -> Literal["word"] | None:
        return "word" if token.name in kept else None

    found = list(whole_elements(list(tokens(text, 0, len(text))), is_kept))
    parting = _parting(text, found, splitting, joining, is_outline_seen=is_outline_seen)
    units: list[Unit] = []
    run: list[Token] = []
    for i, token in enumerate(found):
        if i in parting:
            units += run_units(text, run)
            run = []
        else:
            run.append(Token("single", token.start, token.end) if token.kind == "other" else token)
    return SpanDocument(Source(text, "utf-8"), units + run_units(text, run))


def _parting(
    text: str,
    found: Sequence[Token],
    splitting: Iterable[str],
    joining: Iterable[str],
    *,
    is_outline_seen: bool,
) -> set[int]:
    """Return the indices of the tags that separate sentences."""
    splits, joins = ({name.lower() for name in names} for names in (splitting, joining))
    pairs = partners(found)
    children: list[list[int]] = [[]]  # for each open element, the tags directly in it
    has_words = [False]
    parting: set[int] = set()
    for i, token in enumerate(found):
        if token.kind == "end" and i in pairs and len(children) > 1:
            inner, is_mixed = children.pop(), has_words.pop()
            parting |= set() if is_mixed else set(inner)
            children[-1].append(i)
        elif token.kind == "start" and i in pairs:
            children[-1].append(i)
            children.append([])
            has_words.append(False)
        elif token.kind in ("start", "end", "single"):
            children[-1].append(i)
        elif token.kind == "text" and text[token.start : token.end].strip(BLANKS):
            has_words[-1] = True
    for inner, is_mixed in zip(children, has_words, strict=True):
        parting |= set() if is_mixed else set(inner)
    names = {
        i: token.name for i, token in enumerate(found) if token.kind in ("start", "end", "single")
    }
    told = {i for i, name in names.items() if name in splits}
    seen = {i for i in parting if names[i] not in joins} if is_outline_seen else set()
    return told | seen
