"""HTML: blocks of words, tags among them, and all else as it was."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.documents.translators import ALL, same, shout, translate
from tokenspeed.documents.html import open_html, open_text

PARTS = st.sampled_from([
    "<p>", "</p>", "<b>", "</b>", "<i class='x'>", "</i>", "<br>", "<img alt='A cat'>", "<div", ">",
    "<script>if (a<b) {}</script>", "<!-- note -->", "<!doctype html>", "&amp;", "&nbsp;", "x.",
    "<", "< b", "word", " and so ", "\n", "<code>a b</code>", "<p translate='no'>", "<title>", "'",
    "</title>", "<textarea>", "<style>", "<svg><text>no</text></svg>", '"', '<a title="A > b">',
    "</a>", "<!--", "</", '<span class="notranslate">Foo</span>', "&lt;b&gt;",
])  # fmt: skip
PAGES = st.lists(PARTS, max_size=14).map("".join)


@given(PAGES)
def test_any_page_survives(page: str) -> None:
    assert same(open_text(page)).decode() == page
    assert same(open_html(page.encode(), "de")) == page.encode()


class _Tags(HTMLParser):
    """The tags, comments and declarations of a page, as another parser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [(k, v) for k, v in attrs if k not in ("alt", "title")]))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.found.append(data)


def tags(page: str) -> list[object]:
    parser = _Tags()
    parser.feed(page)
    parser.close()
    return parser.found


WORDS = st.text("ab .&<\xa0é", min_size=1, max_size=8)
INLINE = st.recursive(
    WORDS.map(lambda t: t.replace("&", "&amp;").replace("<", "&lt;")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(" ".join),
        st.tuples(st.sampled_from(["b", "i", "em"]), inner).map(
            lambda t: f"<{t[0]}>{t[1]}</{t[0]}>"
        ),
        inner.map(lambda t: f"<code>{t}</code> <!--{t[:0]}x--> and so"),
    ),
    max_leaves=5,
)
BLOCKS = st.lists(INLINE.map(lambda t: f"<li>{t}</li>"), max_size=4).map("\n".join)


@given(BLOCKS, st.sampled_from(ALL))
def test_tags_of_a_page_stay(page: str, translator: Callable[[str], str]) -> None:
    translated = translate(open_text(page), translator)
    assert sorted(map(str, tags(translated))) == sorted(map(str, tags(page)))
    blocks = [each for each in tags(page) if "li" in str(each)]
    assert [each for each in tags(translated) if "li" in str(each)] == blocks


@pytest.mark.parametrize(
    ("page", "texts", "expected"),
    [
        ("Hello <b>world</b>", ["Hello <g1>world</g1>"], "HELLO <b>WORLD</b>"),
        (
            "<p>Tom &amp; <i>Ann</i>.</p> <p>A<br>B</p>",
            ["Tom & <g1>Ann</g1>.", "A", "B"],
            "<p>TOM &amp; <i>ANN</i>.</p> <p>A<br>B</p>",
        ),
        ("<p><b>All</b></p>", ["All"], "<p><b>ALL</b></p>"),
        (
            "<p>Use <code>if x</code> for &lt;b&gt;\n  text</p>",
            ["Use {x1} for <b> text"],
            "<p>USE <code>if x</code> FOR &lt;B&gt; TEXT</p>",
        ),
        ("10&nbsp;km off", ["10\xa0km off"], "10&nbsp;KM OFF"),
        ("<p>no <b>end", ["no <x1/>end"], "<p>NO <b>END"),
        ("<img alt='A &quot;cat&quot;'>", ['A "cat"'], "<img alt='A &quot;CAT&quot;'>"),
        ("<p>x <b title='t", ["x"], "<p>X <b title='t"),
        ("<ul>\n <li> One\n two </li></ul>", ["One two"], "<ul>\n <li> ONE TWO </li></ul>"),
        (
            "<title>Hi</title><script>var a='b'</script>",
            ["Hi"],
            "<title>HI</title><script>var a='b'</script>",
        ),
        (
            "<pre>a b</pre><p translate=no>c</p><p class='a notranslate'>d</p>e",
            ["e"],
            "<pre>a b</pre><p translate=no>c</p><p class='a notranslate'>d</p>E",
        ),
        ("a < b", ["a < b"], "A &lt; B"),
        ("", [], ""),
    ],
)
def test_words_of_blocks(page: str, texts: list[str], expected: str) -> None:
    document = open_text(page)
    assert list(document.texts) == texts
    assert translate(document, shout) == expected


def test_a_page_keeps_its_encoding() -> None:
    page = '<meta charset="iso-8859-1"><p>Höhe</p>'.encode("latin-1")
    document = open_html(page, "de")
    assert document.texts == ("Höhe",)
    assert document.translated(["Höhe → Tür"]) == page.replace(
        b"H\xf6he", b"H\xf6he &#8594; T\xfcr"
    )


def test_large_broken_pages_take_linear_time() -> None:
    for part in (
        "<a ",
        "<b>",
        '<a x="',
        "<!--",
        "</i>",
        "<code>",
        "&",
        "<a title='x'>y",
        "<b>x</i>",
    ):
        page = part * 6_000
        assert same(open_text(page)).decode() == page
