"""Texts as people send them, written by hand for the kinds of problem in public bug reports.

Beside each is what its translation must contain: words, marks and codes in order, or a pattern if
there are several right ways. No case depends on the wording of a model.
"""

from functools import partial
from pathlib import Path
from typing import Final

import regex

from tokenspeed.bench.quality.text.cases import Case

_FILE: Final = Path(__file__).with_name("field.tsv")


def field_cases() -> list[Case]:
    """Return the cases of the table; its columns: kind, source, target, text, what is wanted."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [_case(*line.split("\t")) for line in lines]


def _case(kind: str, source: str, target: str, text: str, wanted: str) -> Case:
    plain = text.replace("\\n", "\n")
    return Case(f"field/{kind}", source, target, plain, partial(_holds, wanted.split(" ¦ ")))


def _holds(wanted: list[str], output: str) -> bool:
    """Whether everything is there in this order; `/.../` is a pattern, matched in any case."""
    at = 0
    for each in wanted:
        pattern = each[1:-1] if each[0] == each[-1] == "/" and len(each) > 1 else regex.escape(each)
        flags = regex.IGNORECASE if pattern is not each else 0
        match = regex.compile(pattern.replace("\\n", "\n"), flags).search(output, at)
        if match is None:
            return False
        at = match.end()
    return True
