"""What must come through as it is: found by its form, in time that grows with the length."""

from collections.abc import Callable

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tokenspeed.text import spans
from tokenspeed.text.spans import Span, find_spans, has_text
from tokenspeed.text.steps import at_once

WORD, MARK, PICTURE, BREAK = "word", "mark", "picture", "break"


def spans_of(text: str, is_known: Callable[[str], bool] | None = None) -> list[Span]:
    return at_once(find_spans(text, is_known))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Great job 👍🏽!", [("👍🏽", PICTURE)]),
        ("👨‍👩‍👧 🇩🇪🇫🇷 1️⃣ and ❤️", [("👨‍👩‍👧 🇩🇪🇫🇷 1️⃣", PICTURE), ("❤️", PICTURE)]),
        ("Hi :smile: there", [(":smile:", PICTURE)]),
        ("<i>Down <b>we</b> go.</i>", [(tag, MARK) for tag in ("<i>", "<b>", "</b>", "</i>")]),
        ("I am <NAME>, <I>you</I>", [("<NAME>", WORD), ("<I>", MARK), ("</I>", MARK)]),
        ("Hi <Name>, <Box>you</Box>", [("<Name>", WORD), ("<Box>", MARK), ("</Box>", MARK)]),
        ("&lt;b&gt; now", [("&lt;b&gt;", MARK)]),
        ("if (a < b && c > d) { return; }", [("if (a < b && c > d) { return; }", WORD)]),
        ("We went home (late);", []),
        ("16:9, not 4:3 at 16:45", [("16:9", WORD), ("4:3", WORD)]),
        ("Open 24/7, section 3(b)(ii) or 7(a)", [("24/7", WORD), ("3(b)(ii)", WORD)]),
        ("1:23:45 and 1:500", [("1:23:45", WORD), ("1:500", WORD)]),
        ('I\'m 5\'7" and have a 27" and a 6.1" one', [(n, WORD) for n in ("5'7\"", '27"', '6.1"')]),
        ('He said "I am 27" and "27" again', []),
        ("Thx, c u l8r, 15K of them", []),
        ("x = y + 2", [("x = y + 2", WORD)]),
        ("What the f*** is print('a')?", [("f***", WORD), ("print('a')", WORD)]),
        ("One<br>two</p>", [("<br>", BREAK), ("</p>", BREAK)]),
        (
            "{\\an8}Up & <00:01.000>down&nbsp;",
            [(tag, MARK) for tag in ("{\\an8}", "<00:01.000>", "&nbsp;")],
        ),
        ("we < you and so <d", []),
        (
            "Hello {name}, {{ n }} ${x} %s %1$s %(a)s.",
            [(hole, WORD) for hole in ("{name}", "{{ n }}", "${x}", "%s", "%1$s", "%(a)s")],
        ),
        ("100% sure, 5 % of us", []),
        ("Go to Settings > General > About.", [("Settings > General > About", WORD)]),
        (">> Hello. >> Hi.", [(">>", BREAK), (">>", BREAK)]),
        ("we → they = all", [("→", BREAK), ("=", BREAK)]),
        ("Use `pip install` now", [("`pip install`", WORD)]),
        ("**bold** and _this_", [("**", MARK), ("**", MARK), ("_", MARK), ("_", MARK)]),
        ("See [the page](http://x.org/a).", [("[", MARK), ("](http://x.org/a)", MARK)]),
        ("## Heading", [("##", MARK)]),
        ("- a point", [("-", MARK)]),
        ("§ 5 and #12", [("§ 5", WORD), ("#12", WORD)]),
        ("5 + 3 = 8", [("5 + 3 = 8", WORD)]),
        ("Say 你好，世界 or Привет, мир!", [("你好，世界", WORD), ("Привет, мир", WORD)]),
        ("Write to anna.b+c@mail.example.com.", [("anna.b+c@mail.example.com", WORD)]),
        (
            "See https://ex.org/a?b=1, or www.x-y.fr!",
            [("https://ex.org/a?b=1", WORD), ("www.x-y.fr", WORD)],
        ),
        ("At https://a.org/?b=c&d=1 (x=y).", [("https://a.org/?b=c&d=1", WORD), ("x=y", WORD)]),
        ("See example.com/live: it is (new.org).", [("example.com/live", WORD), ("new.org", WORD)]),
        ("@ana wrote #AskTheBoard2027", [("@ana", WORD), ("#AskTheBoard2027", WORD)]),
        (
            "In C:\\Users\\me\\a.txt, /etc/hosts or ~/b",
            [(path, WORD) for path in ("C:\\Users\\me\\a.txt", "/etc/hosts", "~/b")],
        ),
        (
            "report.pdf v1.2.3 10.0.0.1 A320 COVID-19",
            [(code, WORD) for code in ("report.pdf", "v1.2.3", "10.0.0.1", "A320", "COVID-19")],
        ),
        (
            "foo() iPhone snake_case C++ --force x=5",
            [(code, WORD) for code in ("foo()", "iPhone", "snake_case", "C++", "--force", "x=5")],
        ),
        ("<!-- TODO -->Hi", [("<!-- TODO -->", MARK)]),
        ("<0>Terms</0> in <b bold", [("<0>", MARK), ("</0>", MARK), ("<b", MARK)]),
        ("Use <code>x = 1</code>", [("<code>x = 1</code>", WORD)]),
        ("H<sub>2</sub>O is wet", [("H<sub>2</sub>O", WORD)]),
        ("00:05.000 --> 00:07.500 align:start", [("00:05.000 --> 00:07.500 align:start", MARK)]),
        (
            "*|NAME|* [%name%] %PATH% %%x_y%% ##first## @@more !count",
            [
                (hole, WORD)
                for hole in "*|NAME|* [%name%] %PATH% %%x_y%% ##first## @@more !count".split()
            ],
        ),
        ("told you\\Nnot to", [("\\N", MARK)]),
        ("Out!{\\i0}\\NNow", [("{\\i0}", MARK), ("\\N", BREAK)]),
        ("One.\\nTwo", [("\\n", BREAK)]),
        ("I am ______ now", [("______", WORD)]),
        ("45% [####------]", [("[####------]", MARK)]),
        ("**`bold`** go", [("**", MARK), ("`bold`", WORD), ("**", MARK)]),
        ("f(x) = 3x + 1, file(s)", [("f(x) = 3x + 1", WORD)]),
        ("We ate ラーメン today", [("ラーメン", WORD)]),
        ("npm run build && npm start", [("npm run build && npm start", WORD)]),
        ("docker is slow and git is great", []),
        (
            "0x80070057 2001:db8::1 python3-pip 10.1000/xyz12 .NET iii 40°26′46″N bullsh*t",
            [
                (code, WORD)
                for code in (
                    "0x80070057 2001:db8::1 python3-pip 10.1000/xyz12 .NET iii 40°26′46″N bullsh*t"
                ).split()
            ],
        ),
        ("5 km2 de1 50/50-Chance CO2-Emissionen xi", [("xi", WORD)]),
        # Written anew in each language, or no codes at all.
        ("05.11.2026 at 3.30, 1.000.000 and 2,5 km/h, and/or e.g. No.5 it's", []),
    ],
)
def test_each_form_is_found(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(span.wanted, span.kind) for span in spans_of(text)] == expected


def test_a_statement_is_one_span_and_a_line_without_end_is_text() -> None:
    line = "} else if (a < b) { c = 1;"
    assert [span.wanted for span in spans_of(line)] == [line]
    assert max(len(span.wanted) for span in spans_of(" ".join([line] * 40))) < len(line)


def test_signs_that_the_vocabulary_lacks_are_spans() -> None:
    found = spans_of("x² and ½, ™ at 5 €", str.isascii)
    assert [span.wanted for span in found] == ["x²", "½", "™"]
    assert spans_of("½ and ¾", lambda sign: True) == []


def test_text_of_spans_alone_has_no_text() -> None:
    for text in ("😀 👍", "こんにちは", "?", "a@b.de!"):
        assert not has_text(text, spans_of(text))
    assert has_text("so 😀", spans_of("so 😀"))


PARTS = st.sampled_from(
    ("we", " ", "go.", "👍", "<b>", "</b>", "{x}", "a@b.de", "http://x.y", "**", ">>", "5", "§",
     "`", "<", "[", "(", "привет", "\\", "%s", "#a", "🇩", "A > B", "\n")
)  # fmt: skip


@given(st.lists(PARTS, max_size=20).map("".join) | st.text())
def test_spans_are_in_order_and_say_what_is_there(text: str) -> None:
    at = 0
    for span in spans_of(text, str.isascii):
        assert at <= span.start < span.end <= len(text)
        assert span.wanted == text[span.start : span.end]
        at = span.end


def test_what_is_written_out_is_no_span() -> None:
    assert spans_of("10 Uhr, d.h. spät, z.B. hier, u.a. inkl. MwSt., p.ej. c.-à-d.") == []


@given(st.text("abcdefghjk äöüßéñ,;:?'’-", max_size=60))  # no i: "ii" is a numeral
def test_plain_words_are_no_spans(text: str) -> None:
    assert [span for span in spans_of(text) if span.kind == "word" and span.wanted.isalpha()] == []


@pytest.mark.parametrize(
    "part",
    ["🇩", "<", "a.", "{", "[", "`", "*", "A > ", "1 + ", "привет ", "a@", "@", "/", "\\", "#a",
     "_a", "https://a ", "%", "(", "👍\u200d", "=a", ": a", "§ ", "-", "1.", "0a:", "~", "x = ",
     "&lt;a", "f*"],
)  # fmt: skip
def test_nothing_takes_more_than_its_length(part: str) -> None:
    """With the square of its length one of these would take minutes, and the test's time end."""
    text = part * (60_000 // len(part))
    spans = spans_of(text, str.isascii)
    assert sum(span.end - span.start for span in spans) <= len(text)


ICU = "{n, plural, one {# day} other {# days}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[A b](https://x.org/c) d", [("[", MARK), ("](https://x.org/c)", MARK)]),
        ("A b](https://x.org/c) d", [("](https://x.org/c)", MARK)]),
        (ICU, [(ICU, WORD)]),
        ("{% if x %}a{% endif %}", [("{% if x %}", MARK), ("{% endif %}", MARK)]),
        ("a <%= n %> b {{#u}}", [("<%= n %>", WORD), ("{{#u}}", MARK)]),
        ("back{x} to {y}", [("{x}", MARK), ("{y}", WORD)]),
        ("Hi :name, (%5.1f%%)", [(":name", WORD), ("%5.1f%%", WORD)]),
        ("```py\nx = 1\n```", [("```py\nx = 1\n```", WORD)]),
        ("```py", [("```py", WORD)]),
        ("$$E=mc^2$$ and $x_1$, $5 and $6", [("$$E=mc^2$$", WORD), ("$x_1$", WORD)]),
        ("x[^1] by <mailto:a@b.de>", [("[^1]", MARK), ("<mailto:a@b.de>", WORD)]),
        ("f(a, 1) of 2**8 m² of H₂O", [(s, WORD) for s in ("f(a, 1)", "2**8", "m²", "H₂O")]),
        (":) so XD <3 ok", [(s, "picture") for s in (":)", "XD", "<3")]),
        ("¯\\_(ツ)_/¯ (^_^)", [("¯\\_(ツ)_/¯", "picture"), ("(^_^)", "picture")]),
        ("**Note:** go *on*", [("**", MARK), ("**", MARK), ("*", MARK), ("*", MARK)]),
        ("Press 3\ufe0f\u20e3 now", [("3\ufe0f\u20e3", WORD)]),
        (
            "1\ufe0f\u20e3 Open it 2\ufe0f\u20e3 Go",
            [("1\ufe0f\u20e3", BREAK), ("2\ufe0f\u20e3", BREAK)],
        ),
        ("✓ one ✘ two", [("✓", PICTURE), ("✘", PICTURE)]),
        ("Ann <a@b.de>, x", [("<a@b.de>", WORD)]),
        ("≥ 20 °C, ≤ 5 km", [("≥ 20 °C", WORD), ("≤ 5", WORD)]),
        ("1 1/2 cups, 24/7, 3/4", [("1 1/2", WORD), ("24/7", WORD)]),
        ("see $HOME/a.b, $5/day", [("$HOME/a.b", WORD), ("$5/day", WORD)]),
        ("is ^[a-z]+$ ok", [("^[a-z]+$", WORD)]),
        (
            "Hi [NAME], [ORDER_ID] [SIGHS] [YOUR NAME]",
            [(f, WORD) for f in ("[NAME]", "[ORDER_ID]", "[YOUR NAME]")],
        ),
        ("GET /api/v1/users?id=5&x#a", [("/api/v1/users?id=5&x#a", WORD)]),
        ("at 2027-03-04T10:00:00Z.", [("2027-03-04T10:00:00Z", WORD)]),
        ("def main(a, b):", [("def main(a, b):", WORD)]),
        (
            "==high== ^^up^^ a == b",
            [("==", MARK), ("==", MARK), ("^^", MARK), ("^^", MARK), ("==", BREAK)],
        ),
        ("$5/month, −5 °C", [("$5/month", WORD)]),
    ],
)
def test_what_templates_and_markdown_have_is_found(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert [(span.wanted, span.kind) for span in spans_of(text)] == expected


@given(st.text("aBxXDdpPoO é1.,;!?'\"()’-–/&@<>[]{}$%*_`~|=+:→א😀§±\n\u20e3\ufe0f", max_size=20))
def test_what_has_no_sign_of_a_structure_has_none(text: str) -> None:
    found = [match for _, match in spans._forms(text) if match is not None]
    assert not found or spans._SIGN_OF_STRUCTURE.search(text) is not None


@pytest.mark.parametrize("letter", ["a", "é", "a\u0301", "ä"])
def test_what_is_too_long_for_a_word_comes_through_as_it_is(letter: str) -> None:
    long = letter * 200
    for text in (long, f"see {long}. Good day", f"({long}), and {long}!"):
        assert {span.wanted for span in spans_of(text)} == {long}
    assert spans_of(letter * 40) == []
    assert spans_of("Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz") == []


def test_names_that_stand_for_words_are_looked_up_once() -> None:
    names = [f"<Name{chr(97 + i % 26)}{i}>" for i in range(50)]
    text = " ".join([*names, "</Nameb1>", "</Namec2 >"])
    words = [span.wanted for span in spans_of(text) if span.kind == "word"]
    assert words == [name for name in names if name not in ("<Nameb1>", "<Namec2>")]


@given(
    st.lists(
        st.sampled_from(
            ("iii", "xIv", "ix", "U.S.", "a.b", ".net", "f(x)", "()", "(a)", "::", "@a", "n²", "3",
             "aB", "no.", "well-known", "end...", "(iv),", "x" * 120, "a" * 60, "…", "<b>",
             "</b>", "www.a", "tel:1", ";", "{", "}", "x = 1")
        ),
        max_size=6,
    ),
    st.sampled_from((" ", "")),
)  # fmt: skip
def test_a_quick_look_misses_nothing(parts: list[str], gap: str) -> None:
    text = gap.join(parts)
    found = spans_of(text)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_SIGN_OF_WORD", "_SIGN_OF_STRUCTURE"):
            patch.setattr(spans, name, regex.compile(""))
        assert spans_of(text) == found
