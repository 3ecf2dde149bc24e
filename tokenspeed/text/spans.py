"""What of a text must come through a translation as it is: addresses, codes, tags, signs, pictures.

Knows the forms of such spans; does not know languages, models or how a span is protected. Every
pattern is read once from left to right: what one look consumes no other looks at again, or its
length is bounded, so that the time grows with the length of a text whatever stands in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import regex

Kind = Literal["word", "mark", "picture", "break"]
"""word: stands for a noun in its sentence. mark: belongs to a place, not to the sentence. picture:
a mark that ends or begins a phrase. break: parts two texts that have nothing to do with each other.
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text that must come through. `wanted` is what is to stand there."""

    start: int
    end: int
    kind: Kind
    wanted: str


_PICTURE_PART: Final = (
    r"(?:\p{Regional_Indicator}{2}|[0-9#*]\ufe0f?\u20e3"
    r"|\p{Extended_Pictographic}[\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*+"
    r"(?:\u200d\p{Extended_Pictographic}[\ufe0f\U0001f3fb-\U0001f3ff]*+)*+)"
)
_NUMBER: Final = r"\d[\d.,]*+(?<![.,])"
_TERM: Final = rf"(?:{_NUMBER}|[A-Za-z](?![\p{{L}}\p{{N}}]))"  # of a formula
_MENU_WORD: Final = r"\p{Lu}[\p{L}\p{N}&]*+"
_FOREIGN: Final = r"(?:[\p{L}--[\p{Latin}\p{Common}]]\p{M}*+)"

_STRUCTURE: Final = regex.compile(
    rf"""(?V1)(?x:
    (?P<code> ```[^`]*+(?:```|$) | `[^`\n]++`
      | \$\$[^$]{{1,200}}+\$\$ | \$(?=[^$\n]{{0,100}}[\\^_=])[^$\s][^$\n]{{0,100}}+\$(?!\d) )
  | (?P<tag>
        </?[A-Za-z][^<>]{{0,500}}+> | <!--[^<>]{{0,500}}+-->     # HTML, SRT, VTT, SSML
      | <\d\d[:.\d]{{2,12}}+> | \{{\\[^{{}}]{{0,80}}+\}}         # times within cues, ASS
      | &lt;/?[A-Za-z][^&<>]{{0,80}}+&gt;                        # escaped tags
      | \[\^\w{{1,20}}\]                                         # footnotes
      | \{{%[^{{}}]{{0,200}}?%\}} | <%(?!=)[^<>]{{0,200}}?%> | \{{\{{[\#/^!>][^{{}}]{{0,80}}+\}}\}}
      | &(?:[A-Za-z]{{2,8}}|\#\d{{1,6}}|\#x[0-9A-Fa-f]{{1,6}});
      | \d\d:\d\d:\d\d[.,]\d{{3}}\s?-->\s?\d\d:\d\d:\d\d[.,]\d{{3}} )
  | (?P<hole>
        \{{\w{{1,40}}+,[^{{}}]{{0,80}}+(?:\{{[^{{}}]{{0,200}}+\}}[^{{}}]{{0,80}}+){{1,12}}\}}
      | <%=[^<>]{{0,200}}?%> | (?<!\S):[a-z_]{{2,30}}+(?![:\p{{L}}])
      | \{{\{{[^{{}}]{{0,80}}+\}}\}} | [$\#%]?\{{[^{{}}\n]{{0,80}}+\}} | \[\[[^\[\]\n]{{0,80}}+\]\]
      | (?<![\w%])%(?:\(\w{{1,40}}+\))?(?:\d{{1,2}}\$)?[-+0\#]?\d{{0,3}}(?:\.\d{{1,3}})?
        (?:l{{0,2}}[sdifgxXcuo]|@)(?!\w)(?:%%)? )
  | (?P<face> ¯\\_\(ツ\)_/¯ | \([^\p{{L}}\p{{N}}\s()]{{2,8}}\)
      | (?<!\S)(?:[:;=]['’]?-?[)(\]\[DPpOo/\\|*3]++|<3++|\^\^|[xX]D++)(?![\p{{L}}\p{{N}}]) )
  | (?P<call> (?<!\w)[A-Za-z_][\w.]{{0,40}}+\([^()\n]{{0,60}}?[,="'\d\[][^()\n]{{0,60}}+\) )
  | (?P<link> !?\[(?P<text>[^\[\]\n]{{0,500}}+)\](?P<url>\([^()\s]{{0,500}}+\)) )
  | (?P<tail> \]\([^()\s]{{0,500}}+\) )                              # of one cut off before
  | (?P<menu> (?<![\p{{L}}\p{{N}}]){_MENU_WORD}
        (?:[ ](?:>|→|›|»|➔)[ ]{_MENU_WORD}(?:[ ]{_MENU_WORD}){{0,2}})++ )
  | (?P<sum> (?<![^\s(\["'“„])[-+±]?{_TERM}
        (?:[ ]?[+*×÷=^<>≤≥≠≈±][ ]?[-+]?{_TERM}|[ ][-−/][ ]{_TERM}(?=[ ]?=))++%?
        (?![^\s.,;:!?)\]"'”’]) )
  | (?P<signed> (?<!\w)(?:§§?|¶|№|\#|[±≈≥≤<>~])[ ]?{_NUMBER}(?!\w) )
  | (?P<picture> {_PICTURE_PART}(?:[ ]?{_PICTURE_PART})*+ )
  | (?P<shortcode> (?<![\w:]):[a-z][a-z0-9_+-]{{1,30}}+:(?![\w:]) )
  | (?P<foreign> {_FOREIGN}(?:[\s\p{{P}}\p{{N}}\p{{M}}\p{{Cf}}]*+{_FOREIGN})*+[。！？、，：；]*+ )
  | (?P<speaker> >{{2,}}+ | (?<=^\s{{0,8}})>++(?=\s) )
  | (?P<arrow> (?<![-=])[-=]++> | <[-=]++ | [\u2190-\u21ff\u27f0-\u27ff\u2794-\u27be] )
  | (?P<censored> (?<!\p{{L}})\p{{L}}{{1,3}}+\*{{2,}}+\p{{L}}{{0,8}}+(?!\*) )          # "f***"
  | (?P<emphasis> (?<![\p{{L}}\p{{N}}*])\*{{1,3}}+(?=[\p{{L}}\p{{N}}"'“])
      | (?<=[\p{{L}}\p{{N}}.!?,:;…"'”)])\*{{1,3}}+(?![\p{{L}}\p{{N}}])
      | ~~ | (?<![\p{{L}}\p{{N}}_])_{{1,2}}+(?=\p{{L}})
      | (?<=[\p{{L}}.!?])_{{1,2}}+(?![\p{{L}}\p{{N}}_]) )
  | (?P<lone> (?<![^\s])[|=+•·~^*/\\>]++(?![^\s]) )
    )""",
)
_AUTOLINK: Final = regex.compile(r"<(?:https?|ftp|mailto):")
_KEYCAP: Final = regex.compile(r"[0-9#*]\ufe0f?\u20e3")
# Any of these is in whatever `_STRUCTURE` finds; most texts have none, and are not looked through.
_SIGN_OF_STRUCTURE: Final = regex.compile(r"(?V1)[^\p{Latin}\d\s.,!?'\"’‘“”„«»…]|[xX]D")
_KINDS: Final[dict[str, Kind]] = {
    "code": "word", "tag": "mark", "hole": "word", "menu": "word", "sum": "word",
    "signed": "word", "picture": "picture", "shortcode": "picture", "foreign": "word",
    "censored": "word", "speaker": "break", "arrow": "break", "emphasis": "mark", "lone": "break",
    "tail": "mark",
    "face": "picture",
    "call": "word",
}  # fmt: skip
_NAME_TAG: Final = regex.compile(r"<(\p{Lu}[\p{L}\d_ -]*)>")  # "<NAME>", in place of a word
_NAME_END: Final = regex.compile(r"</(\p{Lu}[\p{L}\d_ -]*)")
_HTML: Final = regex.compile(
    r"<(?:A|B|I|U|S|P|Q|BR|HR|EM|LI|UL|OL|TD|TH|TR|DIV|SPAN|FONT|STRONG|CENTER|SMALL|PRE|H\d)>",
    regex.IGNORECASE,
)
_CODE_END: Final = regex.compile(r"(?:;|\{|[;\s]\}|^\s*\})\s*$")
_CODE_SIGNS: Final = tuple(
    regex.compile(sign)
    for sign in (
        r"&&|\|\|",
        r"[=!<>]==?|=>|[+*/-]=",
        r"^\s*(?:if|for|while|switch|catch)\s*\(",
        r"\s=\s",
        r"^\s*(?:const|var|function|#include|import|return|def|static|public)\s",
        r"\w\(.*\)\s*[;{]",
        r"^\s*\}",
    )
)
_BLOCK: Final = regex.compile(
    r"</?(?:p|div|br|hr|li|ul|ol|dl|dt|dd|h[1-6]|t[rdh]|table|tbody|thead|section|article|header"
    r"|footer|nav|title|option|button|blockquote|pre|speak|s|par|break)\b",
    regex.IGNORECASE,
)

_DOMAINS: Final = (
    "com|org|net|edu|gov|info|dev|app|io|eu|de|at|ch|fr|be|es|mx|uk|ie|us|ca|int|ai|tv"
)
_FILES: Final = (
    "pdf|docx?|xlsx?|pptx?|odt|ods|odp|txt|md|csv|tsv|json|ya?ml|toml|xml|html?|css|js|ts|jsx|tsx"
    "|py|rs|go|c|h|cc|cpp|java|rb|php|sh|bat|ps1|exe|dll|so|zip|tar|gz|tgz|bz2|7z|rar|iso|img|dmg"
    "|deb|rpm|apk|jpe?g|png|gif|svg|webp|bmp|tiff?|heic|psd|mp[34]|m4[av]|wav|ogg|flac|avi|mov|mkv"
    "|webm|srt|vtt|ass|po|pot|log|ini|cfg|conf|env|lock|sql|db|bak|tmp|ipynb|tex|epub|ics|eml"
)
_CHUNK: Final = regex.compile(r"\S+")
_MAX_WORD: Final = 500  # characters; of a longer word only addresses are told
# No language with spaces between its words has one of so many letters; a model spells it out.
_NO_WORD: Final = regex.compile(r"(?V1)(?:[\p{Latin}\p{Greek}\p{Cyrillic}][\p{M}\p{Cf}]*+){100}")
_ADDRESS: Final = regex.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}+://|www\.|data:")
_OPENING: Final = "([{<\"'“„«‘‚¿¡"
_CLOSING: Final = ".,;:!?…)]}>\"'”“»’‘"
_TRIGGER: Final = regex.compile(r"[@#/\\_.\d=$+\-*(²³¹⁰-⁹₀-₉]|\p{Ll}\p{Lu}|\(\)")
_WORD: Final = regex.compile(
    rf"""(?V1)(?x:
    (?:[A-Za-z][A-Za-z0-9+.-]{{1,15}}+://|www\.|mailto:|tel:)\S++           # address
  | [\p{{L}}\p{{N}}.+%_-]++@[\p{{L}}\p{{N}}-]++(?:\.[\p{{L}}\p{{N}}-]++)++  # e-mail
  | [\p{{L}}\p{{N}}-]++(?:\.[\p{{L}}\p{{N}}-]++)*\.(?:{_DOMAINS})(?:[:/]\S*+)?
  | @[\p{{L}}\p{{N}}_][\p{{L}}\p{{N}}_.-]*+ | \#\p{{N}}*+[\p{{L}}_][\p{{L}}\p{{N}}\p{{M}}_]*+
  | (?:[A-Za-z]:)?[\\/~]?[\w.\-\\/]*+(?<=[\w/\\-]\.(?i:{_FILES}))           # files
  | [A-Za-z]:[\\/]\S*+ | \S*+(?<=\\\S{{0,500}}) | ~?/[\w.@%+-]++(?:/[\w.@%+-]*+)++ | ~/\S++
  | \.{{1,2}}/\S++ | \.[a-z][a-z0-9_-]++
  | v\d++(?:\.\d++)*+[\w.+-]*+ | \d++\.\d++\.\d++(?:\.\d++)*+(?:[-+][\w.]++)?  # versions
  | (?=[\p{{Lu}}\p{{N}}_-]*+$)(?=.*\p{{Lu}})(?=.*\d)[\p{{Lu}}\p{{N}}][\p{{Lu}}\p{{N}}_-]{{2,}}+
  | \p{{L}}[\p{{L}}\p{{N}}]{{0,8}}+(?<=[²³¹⁰-⁹₀-₉].{{0,8}})                      # H₂O, m²
  | (?=.*\d)(?=.*[a-f])[0-9a-f]{{7,}}+ | [0-9a-fA-F]{{2,}}+(?:[:-][0-9a-fA-F]{{2,}}+){{3,}}+
  | (?=.*[\p{{L}}\p{{N}}])[\p{{L}}\p{{N}}]*+(?:_++[\p{{L}}\p{{N}}]++)++_*+ | __\w++__
  | \p{{Ll}}++\p{{Lu}}[\p{{L}}\p{{N}}]*+ | \p{{Lu}}\p{{Ll}}++\p{{Lu}}\p{{Ll}}[\p{{L}}\p{{N}}]*+
  | [\p{{L}}_][\p{{L}}\p{{N}}_.:]*+\((?:[^\s()]*["'=.,\d\[][^\s()]*)?\)  # calls
  | --?[A-Za-z][\w-]*+(?:=\S++)?
  | \d++(?:\*\*|\^)\d++ | [$€£]\d[\d.,]*+/\p{{L}}++                          # 2**8, $5/month
  | \$[A-Za-z_]\w*+ | [\p{{L}}_][\w.-]*+={{1,3}}\S++ | \p{{Lu}}(?:\+\+|\#)
    )"""
)
# Dates and grouped numbers look like versions; they are written anew for each language.
_LOCAL: Final = regex.compile(r"\d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})|\d{1,3}(?:\.\d{3})+|\d+")
_LEAD: Final = regex.compile(
    # Headings, bullets, dashes of dialogue, numbers of lists.
    r"\s*(?:\#{1,6}|[-*+•‣◦▪–—]|>+|\d{1,3}\)|\(\d{1,3}\)|[a-z]\))(?=\s+\S)|\s*\[[ xX]\](?=\s)"
)
_TEXT: Final = regex.compile(r"[\p{L}\p{N}]")
_ALWAYS_KNOWN: Final = frozenset("−⁄∕∗∙⋅°€£$¥%‰’‘“”„«»‹›–—…·¿¡&§ªº")
_SIGN: Final = regex.compile(r"[\p{So}\p{Sm}\p{Sk}\p{No}\ufffd]+")


def find_spans(text: str, is_known: Callable[[str], bool] | None = None) -> list[Span]:
    """Return the spans of a clean text from left to right, none overlapping another.

    Args:
        is_known: whether a vocabulary has a sign; those that it has not are spans as well.
    """
    if text.isascii() and text.isalpha() and len(text) < 100:
        return []
    if _is_code(text):
        at = len(text) - len(text.lstrip())
        return [Span(at, len(text.rstrip()), "word", text.strip())]
    found = list(_structure(text))
    lead = _LEAD.match(text)
    if lead and not any(span.start < lead.end() for span in found):
        at = lead.end() - len(lead[0].lstrip())
        found.insert(0, Span(at, lead.end(), "mark", text[at : lead.end()]))
    free = _between(found, len(text))
    words = [span for start, end in free for span in _words(text, start, end)]
    found = sorted(found + words, key=lambda span: span.start)
    if is_known is not None and not text.isascii():
        signs = [
            Span(*match.span(), "mark", match[0])
            for start, end in _between(found, len(text))
            for match in _SIGN.finditer(text, start, end)
            if not all(sign in _ALWAYS_KNOWN or is_known(sign) for sign in match[0])
        ]
        found = sorted(found + signs, key=lambda span: span.start)
    return found


def _is_code(text: str) -> bool:
    """Whether a line is a statement of a programming language, by two signs that prose has not."""
    if not _CODE_END.search(text):
        return False
    return sum(sign.search(text) is not None for sign in _CODE_SIGNS) >= 1


def has_text(text: str, spans: list[Span]) -> bool:
    """Whether there are letters or digits outside of the spans."""
    return any(_TEXT.search(text, *free) for free in _between(spans, len(text)))


def _structure(text: str) -> Iterator[Span]:
    if not _SIGN_OF_STRUCTURE.search(text):
        return
    ended: set[str] | None = None  # names of end tags; looked for once, where a name is asked for
    for match in _STRUCTURE.finditer(text):
        name = match.lastgroup
        if name in ("link", "text", "url"):
            for start, end in (
                (match.start(), match.start("text")),
                (match.end("text"), match.end()),
            ):
                yield Span(start, end, "mark", text[start:end])
            continue
        assert name is not None
        kind = _KINDS[name]
        named = _NAME_TAG.fullmatch(match[0])
        if named and not _HTML.match(match[0]):
            if ended is None:
                ended = {end[1].rstrip() for end in _NAME_END.finditer(text)}
            if named[1].rstrip() not in ended:
                kind = "word"
        if name == "tag" and _BLOCK.match(match[0]):
            kind = "break"
        if name == "tag" and _AUTOLINK.match(match[0]):
            kind = "word"
        if name == "hole" and _is_glued(text, *match.span()):
            kind = "mark"
        if name == "picture" and _KEYCAP.fullmatch(match[0]):
            kind = "word"  # a keycap is a noun
        around = text[match.start() - 1 : match.start()] + text[match.end() : match.end() + 1]
        if name == "arrow" and around.strip() == around:
            kind = "mark"
        yield Span(*match.span(), kind, match[0])


def _is_glued(text: str, start: int, end: int) -> bool:
    """Whether letters touch a stretch: what stands for it would become a part of their word."""
    return text[max(start - 1, 0) : start].isalpha() or text[end : end + 1].isalpha()


def _words(text: str, start: int, end: int) -> Iterator[Span]:
    """Return the words among spaces that are no words of a language."""
    for match in _CHUNK.finditer(text, start, end):
        chunk = match[0]
        is_no_word = len(chunk) >= 100 and _NO_WORD.search(chunk) is not None
        if not (is_no_word or _TRIGGER.search(chunk)):
            continue
        core = chunk.lstrip(_OPENING)
        at = match.start() + len(chunk) - len(core)
        core = core.rstrip(_CLOSING)
        if is_no_word:
            yield Span(at, at + len(core), "word", core)
            continue
        if core.isalpha() and (len(core) == 1 or core[1:].islower()):
            continue  # a plain word and the mark behind it, as most are
        if "(" in core and len(core) <= _MAX_WORD:  # brackets that the word has opened: "f(x)"
            core = text[at : max(text.rfind(")", at, match.end()) + 1, at + len(core))]
            core = core[: len(core) - max(core.count(")") - core.count("("), 0)]
        if core and _is_word(core):
            yield Span(at, at + len(core), "word", core)


def _is_word(core: str) -> bool:
    if len(core) > _MAX_WORD:
        return _ADDRESS.match(core) is not None
    return _WORD.fullmatch(core) is not None and not _LOCAL.fullmatch(core)


def _between(spans: list[Span], length: int) -> list[tuple[int, int]]:
    """Return the stretches outside of spans that are in order."""
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), length]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
