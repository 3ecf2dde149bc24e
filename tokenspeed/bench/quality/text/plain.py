"""How the product translates plain text, compared with the model alone.

Text hygiene is for text that is not plain, while public test sets are nearly all plain text. So the
product's BLEU must equal the model's, and where lines differ the product must not be worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.quality.sets import TestSet
from tokenspeed.bench.quality.text_score import bleu, score_text
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.loading import LoadedModel
from tokenspeed.engine.request import Completion, Request
from tokenspeed.engine.translate import translate

_AT_ONCE = 256  # lines


@dataclass(frozen=True)
class PlainScore:
    """A set in one direction.

    Attributes:
        differ: lines that the product translates differently from the model alone.
        untranslated: lines with a piece that the product left as it was, mostly because of a loop.
        alone, product: BLEU of all lines.
        differ_alone, differ_product: BLEU of those that differ; 0 if none does.
    """

    set: str
    direction: str
    lines: int
    differ: int
    untranslated: int
    alone: float
    product: float
    differ_alone: float
    differ_product: float
    bleu_signature: str


class _Remembering:
    """An engine that runs equal requests once: for plain text most are the same both ways."""

    def __init__(self, engine: Engine) -> None:
        self.backend = engine.backend
        self._engine = engine
        self._known: dict[tuple[tuple[int, ...], int], Completion] = {}

    def run(self, requests: Sequence[Request]) -> list[Completion]:
        keys = [(request.prompt, request.max_new_tokens) for request in requests]
        new = {key: r for key, r in zip(keys, requests, strict=True) if key not in self._known}
        self._known |= zip(new, self._engine.run(list(new.values())), strict=True)
        return [self._known[key] for key in keys]


def score_plain(model: LoadedModel, test_set: TestSet, bar: Any) -> tuple[PlainScore, list[str]]:
    """Translate a set both ways; return its score, and the lines that differ, for reading."""
    engine: Any = _Remembering(model.engine)
    asked = replace(model, engine=engine)
    source, target = test_set.source, test_set.target
    alone: list[str] = []
    product: list[str] = []
    untranslated = 0
    for at in range(0, len(test_set.sources), _AT_ONCE):
        lines = test_set.sources[at : at + _AT_ONCE]
        alone += [each.text for each in translate(asked, lines, source, target, is_alone=True)]
        found = translate(asked, lines, source, target)
        product += [each.text for each in found]
        untranslated += sum(each.untranslated > 0 for each in found)
        bar.update(len(lines))
    references = test_set.references
    differ = [i for i, (a, b) in enumerate(zip(alone, product, strict=True)) if a != b]
    name = f"{test_set.name} {source}-{target}"
    all_alone, all_product = (score_text(texts, references) for texts in (alone, product))
    differing_alone, differing_product = (
        bleu([texts[i] for i in differ], [references[i] for i in differ]) if differ else 0.0
        for texts in (alone, product)
    )
    row = PlainScore(
        test_set.name,
        f"{source}-{target}",
        len(alone),
        len(differ),
        untranslated,
        round(all_alone.bleu, 2),
        round(all_product.bleu, 2),
        round(differing_alone, 2),
        round(differing_product, 2),
        all_alone.bleu_signature,
    )
    told_lines = [
        f"{name}\n  {test_set.sources[i]}\n= {references[i]}\n- {alone[i]}\n+ {product[i]}\n"
        for i in differ
    ]
    return row, told_lines


def plain_table(scores: Sequence[PlainScore]) -> str:
    """Return the table; its last line has the means over sets and directions."""
    rows = [
        [s.set, s.direction, s.lines, s.differ, f"{s.alone:.2f}", f"{s.product:.2f}",
         f"{s.product - s.alone:+.2f}", s.untranslated]
        for s in scores
    ]  # fmt: skip
    count = max(len(scores), 1)
    alone, product = (sum(getattr(s, n) for s in scores) / count for n in ("alone", "product"))
    sums = [sum(getattr(s, name) for s in scores) for name in ("lines", "differ", "untranslated")]
    mean = f"{product - alone:+.2f}"
    rows.append(["**mean**", "", *sums[:2], f"{alone:.2f}", f"{product:.2f}", mean, sums[2]])
    titles = "set | direction | lines | differ | model alone | product | difference | untranslated"
    return markdown_table(titles, "llrrrrrr", rows)
