"""Words as people type them in chats: "thx 4 ur help", "dont", "stp", "vllt", "xq".

Models copy such forms, or lose what is around them, so they get the words. Only forms that are no
words of their language: "wont" and "ill" stay, and so does whatever may still grow. Knows words of
languages; does not know models.
"""

import re
from functools import cache
from typing import Final

import regex

# Forms in lower case, and what is meant: "+" stands for a space.
_FORMS: Final = {
    "en": """
    thx|thnx|tnx=thanks  pls|plz=please  ur=your  urs=yours  l8r=later  gr8=great
    2nite|tonite=tonight  2day=today  2moro|2morrow|tmrw|tmw=tomorrow  cya=see+you
    idk=I+don't+know  imo|imho=in+my+opinion  btw=by+the+way  omg=oh+my+God
    brb=I'll+be+right+back  ttyl=talk+to+you+later  lmk=let+me+know  nvm=never+mind
    tbh=to+be+honest  ofc=of+course  sry=sorry  hbd=happy+birthday  bday=birthday
    wbu=what+about+you  wyd=what+are+you+doing  smth|sth=something  alot=a+lot  tho=though
    thru=through  luv=love  ppl=people  cuz|coz=because  bcuz|bcoz=because  2gether=together
    4ever=forever  sum1=someone  any1=anyone  every1=everyone  gimme=give+me  lemme=let+me
    dunno=don't+know  y'all=you+all  y’all=you+all  im=I'm  ive=I've  dont=don't  cant=can't
    didnt=didn't  doesnt=doesn't  isnt=isn't  arent=aren't  wasnt=wasn't  werent=weren't
    couldnt=couldn't  shouldnt=shouldn't  wouldnt=wouldn't  havent=haven't  hasnt=hasn't
    hadnt=hadn't  thats=that's  whats=what's  theres=there's  heres=here's  hes=he's  shes=she's
    youre=you're  theyre=they're  youve=you've  theyve=they've  weve=we've  youll=you'll
    theyll=they'll  shouldve=should+have  couldve=could+have  wouldve=would+have  aint=ain't
    rn=right+now  fyi=for+your+information  mtg=meeting  asap=as+soon+as+possible
    acct=account  appt=appointment  msg=message  msgs=messages
    """,
    "de": """
    vllt|vlt|viell=vielleicht  iwie=irgendwie  iwas=irgendwas  iwann=irgendwann  iwo=irgendwo
    zb=zum+Beispiel  mfg=mit+freundlichen+Grüßen  hdl=hab+dich+lieb  kp=keine+Ahnung
    jmd=jemand  jdn=jemanden  jdm=jemandem  eig|eigtl=eigentlich  aufjedenfall=auf+jeden+Fall
    hastn=hast+du+denn  bissl=bisschen
    """,
    "fr": """
    stp=s'il+te+plaît  svp=s'il+vous+plaît  bcp=beaucoup  pcq|pck=parce+que  pk=pourquoi  qd=quand
    tt=tout  tjs|tjrs=toujours  jsp=je+ne+sais+pas  jsuis=je+suis  slt=salut  bjr=bonjour
    bsr=bonsoir  rdv=rendez-vous  dc=donc  ds=dans  qqn=quelqu'un  qqch=quelque+chose
    ptdr|mdr=mort+de+rire  auj=aujourd'hui  dsl=désolé  mtn=maintenant
    qq=quelques  nb=nombre
    """,
    "es": """
    xq|pq=porque  q=que  tmb=también  xfa|xfavor=por+favor  msj=mensaje  grax=gracias
    finde=fin+de+semana  tqm=te+quiero+mucho  bn=bien  dnd=donde  cdo=cuando
    mñn=mañana  salu2=saludos  jaja=haha  jajaja=hahaha  jajajaja=hahahaha
    """,
}  # fmt: skip
WITH_DIGITS: Final = frozenset(
    "l8r gr8 2nite 2day 2moro 2morrow 2gether 4ever sum1 any1 every1 salu2".split()
)
# Those that people write in capitals, too; other words in capitals may be names: "RN", "PPL".
_LOUD: Final = frozenset("OMG BTW IDK IMO IMHO TBH BRB LMK NVM TTYL ASAP FYI".split())
# What only counts next to other words: "c u", "how r u", "4 ur help", "talk 2 you". A "u" alone is
# often the beginning of a word that a speaker broke off.
_BEFORE_U: Final = (
    "do did can could will would are were have if when what how why where that than hope see love"
    " miss thank thanks tell help call let for to with and because know think want give send ask"
    " bless hey wish show saw met"
)
_AFTER_U: Final = (
    "r are were can could have know want need should will would guys all too there come going said"
    " do did get like think wanna gonna"
)
_NEXT_TO: Final = {
    "en": (
        (regex.compile(r"(?<![\p{L}\p{N}'’&])[cC](?= u\b)"), "see"),
        (regex.compile(r"(?<![\p{L}\p{N}'’&])r(?= u\b)"), "are"),
        (regex.compile(r"\b4(?= ur?\b)"), "for"),
        (
            regex.compile(
                r"(?<![\p{L}\p{N}'’@#_./&-])(?:(?<=\b\L<before> )u"
                r"(?![\p{L}\p{N}'’_@/&-]|\.\p{L}| \p{Lu})|u(?= \L<after>\b))",
                before=_BEFORE_U.split(),
                after=_AFTER_U.split(),
            ),
            "you",
        ),
        (regex.compile(r"(?<=\b(?:how|where|who|what|you|we|they) )r(?= \p{Ll}|$)"), "are"),
        (
            regex.compile(
                r"(?<=\b(?:talk|text|write|going|nice|used) )2(?= (?:you|me|go|see|meet|be)\b)"
            ),
            "to",
        ),
    ),
    "es": ((regex.compile(r"\b[qk](?= (?:tal|haces|hora|pasa|pasó|quieres|hay|es)\b)"), "qué"),),
}
_BEGINS: Final = ".!?…"  # a sentence may begin after it, or after nothing
_WORD: Final = re.compile(r"[\w'’]+")
_SIGN_OF_NEXT_TO: Final = regex.compile(r"\b[ur]\b|\b4 ur|\b2 |\b[qk] ")


def written_out(text: str, language: str | None, *, is_open: bool = False) -> str:
    """Return a text with the forms of chats as words.

    Args:
        language: of the text; None if unknown: then nothing is replaced.
        is_open: whether the text may still grow: then its last word stays.
    """
    if language not in _FORMS:
        return text
    if is_open:
        known, space, last = text.rpartition(" ")
        return written_out(known, language) + space + last
    if _SIGN_OF_NEXT_TO.search(text):
        for pattern, word in _NEXT_TO.get(language, ()):
            text = pattern.sub(word, text)
    table, pattern = _table(language)
    if table.keys().isdisjoint(_WORD.findall(text.lower())):
        return text  # as most texts: a third of the time of a search for the forms

    def words(match: regex.Match[str]) -> str:
        form, said = match[0], table[match[0].lower()]
        before = text[max(match.start() - 3, 0) : match.start()].rstrip()[-1:]
        is_first, is_loud = before in _BEGINS, form in _LOUD and before in f"{_BEGINS},;:"
        is_name = form[1:] != form[1:].lower() or (form[0].isupper() and not is_first)
        is_place = text[match.end() + 1 : match.end() + 2].isupper()  # "Rainbach im Innkreis"
        if not is_loud and (is_name or is_place):
            return form
        return said[0].upper() + said[1:] if is_first and form[0].isupper() else said

    return pattern.sub(words, text)


@cache
def _table(language: str) -> tuple[dict[str, str], regex.Pattern[str]]:
    """Return the words for each form of a language, and a pattern that finds the forms."""
    found: dict[str, str] = {}
    for entry in _FORMS[language].split():
        forms, words = entry.split("=")
        found |= dict.fromkeys(forms.split("|"), words.replace("+", " "))
    pattern = r"(?<![\p{L}\p{N}'’@#_./&-])\L<forms>(?![\p{L}\p{N}'’_@/&-]|\.\p{L})"
    return found, regex.compile(pattern, regex.IGNORECASE, forms=found.keys())
