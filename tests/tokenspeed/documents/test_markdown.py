"""Markdown: blocks and marks stay."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.tokenspeed.documents.translators import ALL, lose_marks, same, shout, translate
from tokenspeed.documents.markdown import open_markdown

ROOT = Path(__file__).parents[3]
PARTS = st.sampled_from([
    "# Title", "words that go", "on here.", "- item", "  more", "> quote", "```", "x = 1", "---",
    "**bold** and *it*", "a [link](u.html 't') b", "![pic](p.png)", "`code`", "| a | b |", "",
    "|---|---|", "<p>Inside</p>", "1. one", "    indented", "hard  ", "back\\", "snake_case_x",
    "* * *", "&amp; so", "[ref]: u.html", "see [the ref][ref].", "**open", "a\\*b", "Setext", "===",
    "<b>x</b> y", "``a` b``",
])  # fmt: skip
FILES = st.lists(PARTS, max_size=10).map("\n".join)


@given(FILES, st.sampled_from(["\n", "\r\n"]))
def test_any_file_survives(text: str, line_end: str) -> None:
    data = text.replace("\n", line_end).encode()
    assert same(open_markdown(data, "de")) == data


@given(st.text("ab *_`[]()<>!#|-\n\\&;~\t", max_size=40))
def test_any_text_survives(text: str) -> None:
    assert same(open_markdown(text.encode(), "de")) == text.encode()


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda path: path.name)
def test_our_own_pages_survive(page: Path) -> None:
    assert same(open_markdown(page.read_bytes(), "de")) == page.read_bytes()


def blocks(text: str) -> list[str]:
    """The blocks and marks of a file, as the library reads them."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found.append(token.type)
        marks = [t for t in token.children or () if t.type not in ("text", "softbreak")]
        found += sorted(f"{mark.type} {mark.attrs} {mark.markup}" for mark in marks)
    return found


PAGE = """---
title: Front matter
---

# Hello *World* of `code`

A paragraph with **bold text** and a [link](https://x.org/a_b "T i") and
an image ![Alt text](a.png). It has snake_case_words and 2 * 3 * 4.

> Quoted words that
> go on here.

- item one
- item *two*
  wrapped here

```py
x = "no words"
```

| Head one | Head two |
|----------|----------|
| cell one | cell **two** |

<p align="center">Inside <i>html</i></p>

[ref]: https://x.org

See [the ref][ref] &amp; more  
after a hard break.
"""


def test_texts_of_a_page() -> None:
    assert open_markdown(PAGE.encode(), "de").texts == (
        "Hello <g1>World</g1> of {x3}",
        "A paragraph with <g1>bold text</g1> and a <g3>link</g3> and an image <g5>Alt text</g5>."
        " It has snake_case_words and 2 * 3 * 4.",
        "Quoted words that go on here.",
        "item one",
        "item <g1>two</g1> wrapped here",
        "Head one",
        "Head two",
        "cell one",
        "cell <g1>two</g1>",
        "Inside <g1>html</g1>",
        "See <g1>the ref</g1> <x3/> more",
        "after a hard break.",
    )


NOTES = """\
- [ ] task one
- [x] done *already*

Words with a note[^1] here,
and a line\\
that breaks.

[^1]: The note says
    more of it.
[^two]: Another one.
[ref]: http://x.example/a_b 'Some title'
"""


def test_boxes_footnotes_and_breaks_are_no_words() -> None:
    document = open_markdown(NOTES.encode(), "de")
    assert document.texts == (
        "task one",
        "done <g1>already</g1>",
        "Words with a note<x1/> here, and a line",
        "that breaks.",
        "The note says more of it.",
        "Another one.",
    )
    assert same(document) == NOTES.encode()
    translated = translate(document, lose_marks)
    assert "- [ ] TASK ONE\n- [x] DONE *ALREADY*\n" in translated
    assert "A LINE\\\nTHAT BREAKS.\n" in translated
    assert "[^1]" in translated.partition("[^1]:")[0]
    assert "[^two]: ANOTHER ONE.\n[ref]: http://x.example/a_b 'Some title'\n" in translated


@pytest.mark.parametrize("translator", ALL)
def test_blocks_and_marks_stay(translator: Callable[[str], str]) -> None:
    translated = translate(open_markdown(PAGE.encode(), "de"), translator)
    assert blocks(translated) == blocks(PAGE)
    assert translated.count('x = "no words"') == translated.count("title: Front matter") == 1


def test_the_words_are_written() -> None:
    translated = translate(open_markdown(PAGE.encode(), "de"), shout)
    assert '**BOLD TEXT** AND A [LINK](https://x.org/a_b "T i") AND\nAN IMAGE' in translated
    assert "> QUOTED WORDS THAT\n> GO ON HERE." in translated


@pytest.mark.parametrize("part", ["`a ``b ", "[", "> ", "* a\n", "|a", "<b>", "*a _b ", "\n> a\n"])
def test_large_broken_files_take_linear_time(part: str) -> None:
    text = part * 3_000
    assert same(open_markdown(text.encode(), "de")) == text.encode()
