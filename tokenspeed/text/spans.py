"""What a translation must keep unchanged: addresses, codes, tags, signs, pictures.

Knows the forms of such spans; does not know languages, models or how a span is protected. Every
pattern reads a text once from left to right: no part is read again by another attempt, or its
length is bounded, so that the time is linear whatever the text is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Final, Literal

import regex

from tokenspeed.text.abbreviations import LEADING, STARTERS
from tokenspeed.text.chat import WITH_DIGITS
from tokenspeed.text.clean import FRACTION, UNITS
from tokenspeed.text.steps import Steps

SPANS_OF_A_STEP: Final = 40  # found in one go, in 0.3 ms
MAX_CODE: Final = 400  # characters of a statement; a longer line is read as text

Kind = Literal["word", "mark", "picture", "break"]
"""word: used like a noun in its sentence. mark: belongs to a place, not to the sentence. picture:
a mark that ends or begins a phrase, or stands within one. break: separates two unrelated texts.
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text that must be kept. `wanted` is what must appear in its place."""

    start: int
    end: int
    kind: Kind
    wanted: str


_PICTURE_PART: Final = (
    r"(?:\p{Regional_Indicator}{2}|[0-9#*]\ufe0f?\u20e3|[\u2713\u2717\u2718]"  # ✓ ✗ ✘
    r"|\p{Extended_Pictographic}[\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*+"
    r"(?:\u200d\p{Extended_Pictographic}[\ufe0f\U0001f3fb-\U0001f3ff]*+)*+)"
)
_NUMBER: Final = r"\d++(?:[.,]\d++)*+"
# In templates; other words in brackets and capitals are sounds.
_FIELD: Final = (
    r"\p{Lu}[\p{Lu}\d]*+_[\p{Lu}\d_]++"
    r"|(?:FIRST|LAST|FULL|USER|YOUR|COMPANY|CUSTOMER|ORDER|PRODUCT)?[ ]?(?:NAME|NUMBER|ID)"
    r"|ADDRESS|AMOUNT|CITY|CODE|COMPANY|COUNT|COUNTRY|CUSTOMER|DATE|EMAIL|LINK|PHONE|PRICE|PRODUCT"
    r"|TIME|TITLE|URL|USER"
)
_TERM: Final = (  # of a formula: 3, 2x, x, x², f(x)
    rf"(?:{_NUMBER}(?:[a-z](?!\p{{L}}))?|[A-Za-z](?:\([a-z\d]\))?[²³]?(?![\p{{L}}\p{{N}}]))"
)
_MENU_WORD: Final = r"\p{Lu}[\p{L}\p{N}&]*+"
# Letters common to several scripts belong to the one before them: the long vowel of "ラーメン".
_FOREIGN: Final = r"(?:[\p{L}--[\p{Latin}\p{Common}]][\p{M}[\p{L}&&\p{Common}]]*+)"
# Line breaks written out, as in ASS (`\N`) and in strings of programs (`\n`), unless they look like
# part of a path.
_NEWLINE: Final = (
    r"(?=\\N)(?<![\\/:][^\s{}]{0,40})\\N(?![\w.]*[\\/]) | (?<=[\p{P}\s])\\[nrh](?!\p{Ll})"
    r" | (?<=\p{Ll})\\[nr](?=\p{Lu}|\s|$|\\n)"
)

# Forms in the order of their importance: of two at one place the first one counts. Each is searched
# by itself, which takes a fifth of the time of one pattern for all of them.
_FORMS: Final = {
    name: regex.compile(f"(?V1)(?x:{form}\n)")  # the last line may have a comment
    for name, form in {
        "code": r"""```[^`]*+(?:```|$) | `[^`\n]++`
      | <(?P<verbatim>code|kbd|samp|tt|var|script|style|say-as|time)\b[^<>]{0,200}+>[^<]{0,200}+
          </(?P=verbatim)>
      | (?<![\p{L}\p{N}])[\p{L}\p{N}]{0,8}+                  # H<sub>2</sub>O
          (?:<su[bp]>[^<>]{1,20}+</su[bp]>[\p{L}\p{N}]{0,8}+)++
      | \$\$[^$]{1,200}+\$\$ | \$(?=[^$\n]{0,100}[\\^_=])[^$\s][^$\n]{0,100}+\$(?!\d)""",
        "tag": r"""</?[A-Za-z][^<>]{0,500}+> | <!--.{0,500}?-->         # HTML, SRT, VTT, SSML
      | </?\d{1,2}/?>                                         # of React
      | </?(?i:b|i|u|p|a|em|br|li|td|tr|div|span|font|strong|h\d)(?=\s)     # cut off
      | <\d\d[:.\d]{2,12}+> | \{\\[^{}]{0,80}+\}         # times within cues, ASS
      | &lt;/?[A-Za-z][^&<>]{0,80}+&gt;                        # escaped tags
      | \[\^\w{1,20}\]                                         # footnotes
      | \{%[^{}]{0,200}?%\} | <%(?!=)[^<>]{0,200}?%> | \{\{[\#/^!>][^{}]{0,80}+\}\}
      | &(?:[A-Za-z]{2,8}|\#\d{1,6}|\#x[0-9A-Fa-f]{1,6});
      | (?:\d\d:)?\d\d:\d\d[.,]\d{3}\s?-->\s?(?:\d\d:)?\d\d:\d\d[.,]\d{3}
          (?:\s{1,4}(?:align|line|position|region|size|vertical):\S{1,40}+)*+""",
        "newline": rf"""{_NEWLINE}""",
        "hole": rf"""
        \{{\w{{1,40}}+,[^{{}}]{{0,80}}+(?:\{{[^{{}}]{{0,200}}+\}}[^{{}}]{{0,80}}+){{1,12}}\}}
      | \[(?=[ \p{{Lu}}])(?:{_FIELD})\]
      | \*\|[^|\n]{{1,60}}+\|\* | \[%[^%\[\]\n]{{1,60}}+%\] | (?<!\S)![a-z_]\w{{1,30}}+
      | (?<![\w%])%{{1,2}}[A-Za-z]\w{{2,30}}+%{{1,2}}
      | (?<!\w)(?P<fence>\#\#|@@|~)\w{{2,30}}+(?P=fence)(?!\w)
      | <%=[^<>]{{0,200}}?%> | (?<!\S):[a-z_]{{2,30}}+(?![:\p{{L}}])
      | \{{\{{[^{{}}]{{0,80}}+\}}\}} | [$\#%]?\{{[^{{}}\n]{{0,80}}+\}} | \[\[[^\[\]\n]{{0,80}}+\]\]
      | (?<![\w%])%(?:\(\w{{1,40}}+\))?(?:\d{{1,2}}\$)?[-+0\#]?\d{{0,3}}(?:\.\d{{1,3}})?
        (?:l{{0,2}}[sdifgxXcuo]|@)(?!\w)(?:%%)?""",
        "blank": r"""(?<!\w)_{3,}+(?!\w)""",  # to be filled in
        "rule": r"""(?<=\s)\.{4,}+(?=\s) | (?:-{4,}+|={4,}+|~{4,}+|\*{4,}+|\#{4,}+)(?!\w)
      | \[[^\p{L}\p{N}\s\[\]]{3,60}+\]""",
        "face": r"""¯\\_\(ツ\)_/¯ | \([^\p{L}\p{N}\s()]{2,8}\)
      | (?<!\S)(?:[:;=]['’]?-?[)(\]\[DPpOo/\\|*3]++|<3++|\^\^|[xX]D++)(?![\p{L}\p{N}])""",
        "call": r"""(?<!\w)[A-Za-z_][\w.]{0,40}+\([^()\n]{0,60}?[,="'\d\[][^()\n]{0,60}+\)""",
        "link": r"""!?\[(?P<text>[^\[\]\n]{0,500}+)\](?P<url>\([^()\s]{0,500}+\))""",
        "tail": r"""\]\([^()\s]{0,500}+\)""",  # of one cut off before
        "menu": rf"""(?<![\p{{L}}\p{{N}}]){_MENU_WORD}
        (?:[ ](?:>|→|›|»|➔)[ ]{_MENU_WORD}(?:[ ]{_MENU_WORD}){{0,2}})++""",
        "sum": rf"""(?<![^\s(\["'“„])[-+±]?{_TERM}
        (?:[ ]?[+*×÷=^<>≤≥≠≈±][ ]?[-+]?{_TERM}|[ ][-−/][ ]{_TERM}(?=[ ]?=))++%?
        (?![^\s.,;:!?)\]"'”’])""",
        "signed": rf"""(?<!\w)(?:§§?|¶|№|\#|[±≈≥≤<>~])[ ]?{_NUMBER}(?!\w)(?:[ ]?°[CFK]?(?!\w))?
      | (?<![\w/.,])\d{{1,3}}[ ]\d/\d{{1,2}}(?![\w/])""",  # 1 1/2
        "inches": r"""(?<![\w'’.,])\d{1,2}['’]\ ?\d{1,2}(?:["”″]|'')(?!\w)   # 5'7"
      | (?<![\w"“”.,'’])\d{1,3}(?:[.,]\d)?["”](?=[\s-]\p{L})""",  # 27" monitor
        "picture": rf"""{_PICTURE_PART}(?:[ ]?{_PICTURE_PART}){{0,49}}+""",
        "shortcode": r"""(?<![\w:]):(?:[a-z][a-z0-9_+-]{1,30}+|[+-]1):(?![\w:])""",
        "foreign": rf"""{_FOREIGN}(?:[\s\p{{P}}\p{{N}}\p{{M}}\p{{Cf}}]*+{_FOREIGN})*+
        [。！？、，：；]*+""",
        "speaker": r""">{2,}+ | (?<=^\s{0,8})>++(?=\s)""",
        "arrow": r"""(?<![-=])[-=]++> | <[-=]++ | [\u2190-\u21ff\u27f0-\u27ff\u2794-\u27be]""",
        "censored": r"""(?<![\p{L}*])(?:\p{L}{1,3}+\*{2,}+\p{L}{0,8}+(?!\*)      # "f***"
      | \p{L}{2,8}+\*\p{L}{1,3}+(?![\p{L}*]))""",  # "bullsh*t"
        "emphasis": r"""(?<![\p{L}\p{N}*])\*{1,3}+(?=[\p{L}\p{N}"'“`\[<{])
      | (?<=[\p{L}\p{N}.!?,:;…"'”)`\]>}])\*{1,3}+(?![\p{L}\p{N}])
      | ~~ | (?:==|\^\^)(?=\p{L}) | (?<=[\p{L}.!?])(?:==|\^\^)
      | (?<![\p{L}\p{N}_])_{1,2}+(?=\p{L})
      | (?<=[\p{L}.!?])_{1,2}+(?![\p{L}\p{N}_])""",
        "lone": r"""(?<![^\s])(?:[|=+•·~^*/\\>]++|<{2,}+)(?![^\s])""",
    }.items()
}
_AUTOLINK: Final = regex.compile(r"<(?:https?|ftp|mailto):|<[^<>\s@]+@[^<>\s@]+>")
_NUMBERED: Final = regex.compile(r"\s?\p{Lu}\p{L}*")
_KEYCAP: Final = regex.compile(r"[0-9#*]\ufe0f?\u20e3")
# Whatever is found by `_FORMS` has one of these; most texts have none, and are not searched.
_SIGN_OF_STRUCTURE: Final = regex.compile(
    r"(?V1)[^\p{Latin}\d\s.,!?'\"’‘“”„«»…]|[xX]D|\d(?:[\"”]|'')"
)
_KINDS: Final[dict[str, Kind]] = {
    "code": "word", "tag": "mark", "hole": "word", "menu": "word", "sum": "word",
    "signed": "word", "picture": "picture", "shortcode": "picture", "foreign": "word",
    "censored": "word", "speaker": "break", "arrow": "break", "emphasis": "mark", "lone": "break",
    "tail": "mark", "newline": "mark", "blank": "word", "rule": "mark",
    "face": "picture",
    "call": "word", "inches": "word",
}  # fmt: skip
_SENTENCE_BEFORE: Final = regex.compile(r"[.!?…][\"'”’»)]?(?:[<{][^<>{}]{0,80}[>}])?$")
_LONGEST_END: Final = 84  # characters of what that matches
_QUOTE: Final = regex.compile(r'(?<!\d)"')
_LONGEST_QUOTE: Final = 500  # characters in which a quotation may have begun
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
_COMMAND: Final = regex.compile(
    r"\s*(?:\S{1,60}[:~][^$#\s]{0,60}[$#] |[$%] )?(?:sudo )?(?:"
    r"(?:pip3? (?:install|uninstall|list|show)"
    r"|(?:npm|npx|yarn) (?:install|i|run|start|test|build|init)"
    r"|(?:apt|apt-get|brew|conda) (?:install|update|upgrade|remove)|cargo (?:build|run|test|add)"
    r"|docker (?:run|build|pull|push|ps|exec)|kubectl (?:get|apply|delete|describe|logs)"
    r"|git (?:push|pull|clone|commit|add|checkout|merge|rebase|status|log|fetch|branch|diff|stash)"
    r"|systemctl (?:start|stop|restart|status|enable|disable))"
    r"(?: (?!(?:is|was|the|an?|it|to|for|and|or|of|in|on|with|does|has|can|will)\b)\S+)*"
    r"|(?:curl|wget|ssh|scp|chmod|chown|mkdir|rm|cp|mv|ls|cd|cat|grep|export)"
    r" (?:-|/|~|\.|\d|https?:)\S*(?: \S+)*"
    r"|(?:def|class) \w+\([^()]*\):"
    r"|import [\w.]+(?: as \w+)?|from [\w.]+ import [\w., *]+"
    r")(?<![.!?])\s*"
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
_MAX_WORD: Final = 500  # characters; longer words are spans only if they are addresses
# No language with spaces between words has a word of so many letters; a model would spell it out.
_NO_WORD: Final = regex.compile(r"(?V1)(?:[\p{Latin}\p{Greek}\p{Cyrillic}][\p{M}\p{Cf}]*+){100}")
_LITTLE: Final = STARTERS | {"de", "of"}
_UNIT: Final = regex.compile(r"[kcdm]?m")
_ADDRESS: Final = regex.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}+://|www\.|data:")
_OPENING: Final = "([{<\"'“„«‘‚¿¡"
_CLOSING: Final = ".,;:!?…)]}>\"'”“»’‘"
_NUMERALS: Final = frozenset("ii iii iv vii viii ix xi xii xiii xiv xv".split())
_TRIGGER: Final = regex.compile(
    r"^[\p{P}]*(?:i{2,3}|iv|vi{2,3}|ix|xi{1,3}|xi?v)[\p{P}]*$|\p{L}\(\p{L}\)|::|[@#/\\_.\d=$+\-*(²³¹⁰-⁹₀-₉]|\p{Ll}\p{Lu}|\(\)"
)
# Whatever `_TRIGGER` or `_NO_WORD` leads to has one of these; most texts have none.
_SIGN_OF_WORD: Final = regex.compile(
    r"\b(?:i{2,3}|iv|vi{2,3}|ix|xi{1,3}|xi?v)\b|\p{L}\(\p{L}\)|::|[@#/\\_\d=$+\-*(²³¹⁰-⁹₀-₉]"
    r"|\p{Ll}\p{Lu}|\.[^\s.,;:!?…)\]}>\"'”“»’‘]|(?:\G|(?<!\S))\S{100}"
)
_WORD: Final = regex.compile(
    rf"""(?V1)(?x:
    (?:[A-Za-z][A-Za-z0-9+.-]{{1,15}}+://|www\.|mailto:|tel:)\S++           # address
  | [\p{{L}}\p{{N}}.+%_-]++@[\p{{L}}\p{{N}}-]++(?:\.[\p{{L}}\p{{N}}-]++)++  # e-mail
  | [\p{{L}}\p{{N}}-]++(?:\.[\p{{L}}\p{{N}}-]++)*\.(?:{_DOMAINS})(?:[:/]\S*+)?
  | @{{1,2}}[\p{{L}}\p{{N}}_][\p{{L}}\p{{N}}_.-]*+ | \#\p{{N}}*+[\p{{L}}_][\p{{L}}\p{{N}}\p{{M}}_]*+
  | (?:[A-Za-z]:)?[\\/~]?[\w.\-\\/]*+(?<=[\w/\\-]\.(?i:{_FILES}))           # files
  | [A-Za-z]:[\\/]\S*+ | \S*+(?<=\\\S{{0,500}}) | ~/\S++
  | ~?/[\w.@%+-]++(?:/[\w.@%+-]*+)++(?:[?\#][\w.@%+&=/?\#-]*+)?              # paths
  | \.{{1,2}}/\S++ | \.[a-z][a-z0-9_-]++ | \.\p{{Lu}}{{2,}}+
  | (?!(?:[01]?\d|2[0-4]):[0-5]\d$)\d{{1,4}}(?::\d{{1,4}}){{1,3}}              # 16:9, no time
  | 24/7(?:/365)? | \d{{1,4}}[a-z]?(?:\([a-z\d]{{1,4}}\)){{2,}}                  # of laws: 3(b)(ii)
  | v\d++(?:\.\d++)*+[\w.+-]*+ | \d++\.\d++\.\d++(?:\.\d++)*+(?:[-+][\w.]++)?  # versions
  | (?=[\p{{Lu}}\p{{N}}_-]*+$)(?=.*\p{{Lu}})(?=.*\d)[\p{{Lu}}\p{{N}}][\p{{Lu}}\p{{N}}_-]{{2,}}+
  | \p{{L}}[\p{{L}}\p{{N}}]{{0,8}}+(?<=[²³¹⁰-⁹₀-₉].{{0,8}})                      # H₂O, m²
  | (?=\p{{L}}\S*(?<=\p{{Ll}})\d)[\p{{L}}\p{{N}}]++(?:[-.][\p{{Ll}}\p{{N}}]++)*+  # mp3
  | (?=[^/]*+/\S*\d)(?=[^/]*+/\S*\p{{L}})[\w.-]++/(?:[\w.]|-(?!\p{{Lu}}))++  # 10.1000/xyz1
  | \d{{4}}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d++)?)?(?:Z|[+-]\d\d:?\d\d)?     # ISO 8601
  | 0[xX][0-9a-fA-F]++
  | (?=[0-9a-fA-F:]*::|(?:[0-9a-fA-F]*+:){{4}})                                 # IPv6
      [0-9a-fA-F]{{0,4}}(?::[0-9a-fA-F]{{0,4}}){{2,7}}+(?:/\d++)?
  | (?=.*\d)(?=.*[a-f])[0-9a-f]{{7,}}+ | [0-9a-fA-F]{{2,}}+(?:[:-][0-9a-fA-F]{{2,}}+){{3,}}+
  | (?=.*[\p{{L}}\p{{N}}])[\p{{L}}\p{{N}}]*+(?:_++[\p{{L}}\p{{N}}]++)++_*+ | __\w++__
  | \p{{Ll}}++\p{{Lu}}[\p{{L}}\p{{N}}]*+ | \p{{Lu}}\p{{Ll}}++\p{{Lu}}\p{{Ll}}[\p{{L}}\p{{N}}]*+
  | [\p{{L}}_][\p{{L}}\p{{N}}_.:]*+\((?:[^\s()]*["'=.,\d\[][^\s()]*)?\)  # calls
  | \p{{L}}\(\p{{L}}\) | i{{2,3}} | iv | vi{{2,3}} | ix | xi{{1,3}} | xi?v    # f(x), small numerals
  | --?[A-Za-z][\w-]*+(?:=\S++)?
  | \d++(?:[.,]\d++)?°\S*[′″'"]\S*+                                            # 40°26′46″N
  | \d++(?:\*\*|\^)\d++ | [$€£]\d[\d.,]*+/\p{{L}}++                          # 2**8, $5/month
  | \$[A-Za-z_]\w*+(?:/[\w.@%+-]++)*+/? | \^\S{{2,}}+(?<=\$)                # $HOME/docs, ^a+$
  | [\p{{L}}_][\w.-]*+={{1,3}}\S++ | \p{{Lu}}(?:\+\+|\#)
    )"""
)
# Dates, grouped and scaled numbers look like versions and codes, but each language has its own.
_LOCAL: Final = regex.compile(
    r"\d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})|\d{1,3}(?:\.\d{3})+|\d+|\d{1,3}[KM]"
)
_LEAD: Final = regex.compile(
    # Headings, bullets, dashes of dialogue, numbers of lists.
    r"\s*(?:\#{1,6}|[-*+•‣◦▪–—]|>+|\d{1,3}\)|\(\d{1,3}\)|[a-z]\))(?=\s+\S)|\s*\[[ xX]\](?=\s)"
)
_TEXT: Final = regex.compile(r"[\p{L}\p{N}]")
_COUNTED_BY: Final = regex.compile(r"\s?\p{Ll}")
_ALWAYS_KNOWN: Final = frozenset("−⁄∕∗∙⋅°€£$¥₹%‰’‘“”„«»‹›–—…·¿¡&§ªº")
_SIGN: Final = regex.compile(r"[\p{So}\p{Sm}\p{Sk}\p{Sc}\p{No}\ufffd]+")


def find_spans(text: str, is_known: Callable[[str], bool] | None = None) -> Steps[list[Span]]:
    """Find the spans of a clean text from left to right, none overlapping another.

    Args:
        is_known: whether a vocabulary has a sign; those that it lacks are spans as well.
    """
    if text.isascii() and text.isalpha() and len(text) < 100:
        return []
    if _is_code(text):
        at = len(text) - len(text.lstrip())
        return [Span(at, len(text.rstrip()), "word", text.strip())]
    found: list[Span] = []
    for span in _structure(text):
        if span is not None:
            found.append(span)
        if span is None or not len(found) % SPANS_OF_A_STEP:
            yield
    lead = _LEAD.match(text)
    if lead and not any(span.start < lead.end() for span in found):
        at = lead.end() - len(lead[0].lstrip())
        found.insert(0, Span(at, lead.end(), "mark", text[at : lead.end()]))
    words: list[Span] = []
    number = 0
    for start, end in _between(found, len(text)):
        for span in _words(text, start, end):
            number += 1
            if span is not None:
                words.append(span)
            if not number % SPANS_OF_A_STEP:
                yield
    found = sorted(found + words, key=lambda span: span.start)
    if is_known is not None and not text.isascii():
        signs = [
            Span(*match.span(), "mark", match[0])
            for start, end in _between(found, len(text))
            for match in _SIGN.finditer(text, start, end)
            if not (UNITS.fullmatch(match[0]) or _is_amount(text, match))
            and not all(sign in _ALWAYS_KNOWN or is_known(sign) for sign in match[0])
        ]
        found = sorted(found + signs, key=lambda span: span.start)
    return found


def _is_amount(text: str, sign: regex.Match[str]) -> bool:
    """Whether a sign is a fraction of something: "¾ cup", "2½ hours"."""
    is_counted = _COUNTED_BY.match(text, sign.end()) is not None
    return FRACTION.fullmatch(sign[0]) is not None and is_counted


def _is_code(text: str) -> bool:
    """Whether a line is a statement of a programming language, by two signs that prose lacks.

    Or a typed command.
    """
    if len(text) > MAX_CODE:
        return False
    if _COMMAND.fullmatch(text):
        return True
    if not text.rstrip().endswith((";", "{", "}")) or not _CODE_END.search(text):
        return False
    return sum(sign.search(text) is not None for sign in _CODE_SIGNS) >= 1


def has_text(text: str, spans: list[Span]) -> bool:
    """Whether there are letters or digits outside of the spans."""
    return any(_TEXT.search(text, *free) for free in _between(spans, len(text)))


def _structure(text: str) -> Iterator[Span | None]:
    """Yield spans, and None where time may have passed without any."""
    if not _SIGN_OF_STRUCTURE.search(text):
        return
    ended: set[str] | None = None  # names of end tags; searched once, when first needed
    for name, match in _forms(text):
        if match is None:
            yield None
            continue
        if name == "link":
            for start, end in (
                (match.start(), match.start("text")),
                (match.end("text"), match.end()),
            ):
                yield Span(start, end, "mark", text[start:end])
            continue
        if name == "inches" and _is_quoted(match):
            continue
        kind = _KINDS[name]
        before = text[max(match.start() - _LONGEST_END, 0) : match.start()]
        if name == "newline" and _SENTENCE_BEFORE.search(before):
            kind = "break"
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
            # A keycap is a noun, unless it numbers what follows.
            kind = "break" if _NUMBERED.match(text, match.end()) else "word"
        around = text[match.start() - 1 : match.start()] + text[match.end() : match.end() + 1]
        if name == "arrow" and around.strip() == around:
            kind = "mark"
        yield Span(*match.span(), kind, match[0])


def _forms(text: str) -> Iterator[tuple[str, regex.Match[str] | None]]:
    """Yield the forms of a text by name, from left to right, none overlapping another.

    Before that each name without a form, once it was searched.
    """
    names = list(_FORMS)
    places: list[tuple[int, int, regex.Match[str]]] = []  # with the number of the form
    for number, form in enumerate(_FORMS.values()):
        match = form.search(text)
        if match is not None:
            places.append((match.start(), number, match))
        yield names[number], None
    heapify(places)
    at = 0
    while places:
        start, number, match = places[0]
        if start >= at:
            yield names[number], match
            at = match.end()
        following = _FORMS[names[number]].search(text, at)
        if following is None:
            heappop(places)
        else:
            heapreplace(places, (following.start(), number, following))


def _is_quoted(inches: regex.Match[str]) -> bool:
    """Whether the mark after a number ends a quotation: "I am 27"."""
    if "'" in inches[0] or "’" in inches[0]:
        return False
    before = inches.string[max(inches.start() - _LONGEST_QUOTE, 0) : inches.start()]
    return len(_QUOTE.findall(before)) % 2 == 1 or before.count("“") > before.count("”")


def _is_glued(text: str, start: int, end: int) -> bool:
    """Whether letters touch a stretch: a placeholder for it would become part of their word."""
    return text[max(start - 1, 0) : start].isalpha() or text[end : end + 1].isalpha()


def _words(text: str, start: int, end: int) -> Iterator[Span | None]:
    """Yield those parts between spaces that are not words of a language; None for others."""
    if not _SIGN_OF_WORD.search(text, start, end):
        return
    for match in _CHUNK.finditer(text, start, end):
        yield _word(text, match)


def _word(text: str, match: regex.Match[str]) -> Span | None:
    chunk = match[0]
    is_no_word = len(chunk) >= 100 and _NO_WORD.search(chunk) is not None
    if not (is_no_word or _TRIGGER.search(chunk)):
        return None
    core = chunk.lstrip(_OPENING)
    at = match.start() + len(chunk) - len(core)
    core = core.rstrip(_CLOSING)
    if is_no_word:
        return Span(at, at + len(core), "word", core)
    is_plain = core.isalpha() and (len(core) == 1 or core[1:].islower())
    if is_plain and core not in _NUMERALS:
        return None  # a plain word with a mark, as most are
    if "(" in core and len(core) <= _MAX_WORD:  # brackets that the word has opened: "f(x)"
        core = text[at : max(text.rfind(")", at, match.end()) + 1, at + len(core))]
        core = core[: len(core) - max(core.count(")") - core.count("("), 0)]
    return Span(at, at + len(core), "word", core) if core and _is_word(core) else None


def _is_word(core: str) -> bool:
    if len(core) > _MAX_WORD:
        return _ADDRESS.match(core) is not None
    lowered = core.lower()
    is_written_out = lowered in WITH_DIGITS or lowered in LEADING or core == "MwSt"
    is_ordinary = is_written_out or _LOCAL.fullmatch(core)
    if is_ordinary or _WORD.fullmatch(core) is None:
        return False
    # "km2" is counted; in "de1 000" a space is missing.
    letters = core.rstrip("0123456789")
    is_glued = letters.isalpha() and letters.islower() and letters != core
    return not (is_glued and (letters in _LITTLE or _UNIT.fullmatch(letters)))


def _between(spans: list[Span], length: int) -> list[tuple[int, int]]:
    """Return the stretches outside of spans that are in order."""
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), length]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
