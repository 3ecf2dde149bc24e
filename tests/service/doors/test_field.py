"""What other programs send, to the shipped model: what must hold whatever a model says.

Kinds of trouble from public bug reports of other tools. The marks round a text, its tags and its
times come to nothing that the plain words would not have come to.
"""

import asyncio
import io
import json
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import regex

from service.wire import protocol as p
from tests.lazily import Lazily
from tests.service.client import session
from tokenspeed.cli import main

if TYPE_CHECKING:
    import openai
else:
    openai = Lazily("openai")

GREETING = "Good morning, everyone."
SRT = """1
00:00:00,500 --> 00:00:02,000
Good morning, everyone.

2
00:00:02,100 --> 00:00:05,000
<i>We have a lot to talk about
this afternoon.</i>

3
00:00:05,100 --> 00:00:07,000
- Where is the key?
- It is on the table.
"""


@pytest.fixture(scope="module")
def http(shipped: int) -> Iterator[httpx.Client]:
    url = f"http://127.0.0.1:{shipped}"
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client


def translate(http: httpx.Client, q: Any, target: str = "de", **more: Any) -> Any:
    body = {"q": q, "source": "en", "target": target, **more}
    return http.post("/translate", json=body).json()["translatedText"]


def chat(http: httpx.Client, system: str, text: str, **more: Any) -> str:
    with openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client:
        create: Any = client.chat.completions.create
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        content: str = create(model="any", messages=messages, **more).choices[0].message.content
        return content


@pytest.mark.parametrize(
    ("system", "text"),
    [
        ("Interpret the sentence between the 🔤 marks into German. Leave out the 🔤.", "🔤 {} 🔤"),
        ("Translate what is between 🔤 to German, without retaining 🔤.", "🔤{}🔤"),
        ("The text is in <text> tags. Into German, please.", "<text>\n{}\n</text>"),
        ("Translate the part between ### into German, not English.", "###\n{}\n###"),
        ("Übersetze ins Deutsche, nie ins Französische.", "{}"),
        ("del inglés al alemán", "{}"),
        ("target_language: de", "{}"),
    ],
)
def test_a_fence_changes_nothing(http: httpx.Client, system: str, text: str) -> None:
    assert chat(http, system, text.format(GREETING)) == translate(http, GREETING)


@pytest.mark.parametrize(
    ("system", "target"),
    [
        ("Render this into French, never into Spanish.", "fr"),
        ("Answer in Spanish. Do not use German words, nor French ones.", "es"),
        ("From Spanish into German, please. Do not use English words.", "de"),
        ("en->fr", "fr"),
    ],
)
def test_the_language_asked_for_comes_back(http: httpx.Client, system: str, target: str) -> None:
    found = chat(http, system, GREETING)
    assert found == translate(http, GREETING, target)
    assert chat(http, "", GREETING, extra_body={"translation": {"target": target}}) == found


@pytest.mark.parametrize("system", ["English to Italian", "into Dutch, not German", "Auf Polnisch"])
def test_a_language_that_is_not_there_is_refused_by_name(http: httpx.Client, system: str) -> None:
    with pytest.raises(openai.BadRequestError, match="to (it|nl|pl) is not supported"):
        chat(http, system, GREETING)


def test_a_subtitle_file_keeps_its_times_and_tags(http: httpx.Client) -> None:
    upload = {"file": ("talk.srt", SRT.encode())}
    data = {"source": "en", "target": "de"}
    url = http.post("/translate_file", files=upload, data=data).json()["translatedFileUrl"]
    lines = http.get(url).text.split("\n")
    assert len(lines) == len(SRT.split("\n"))
    words = [
        GREETING,
        "We have a lot to talk about this afternoon.",
        "Where is the key?",
        "It is on the table.",
    ]
    greeting, sentence, question, answer = translate(http, words)
    assert lines[2] == greeting
    assert " ".join(lines[6:8]) == f"<i>{sentence}</i>"
    assert lines[11:13] == [f"- {question}", f"- {answer}"]
    kept = [i for i, line in enumerate(SRT.split("\n")) if not regex.search(r"\p{L}", line)]
    assert [lines[i] for i in kept] == [SRT.split("\n")[i] for i in kept]


@pytest.mark.parametrize(
    "page",
    [
        "<p>Good morning, everyone.</p><ul><li>Where is the key?</li></ul>",
        "<h1>Good morning, everyone.</h1>\n<img src='a.png' alt='Where is the key?'>",
        "Good morning, everyone.<br><a href='?a=1&amp;b=2'>Where is the key?</a>",
    ],
)
def test_html_is_its_words(http: httpx.Client, page: str) -> None:
    expected = page
    for words in (GREETING, "Where is the key?"):
        expected = expected.replace(words, translate(http, words))
    assert translate(http, page, format="html") == expected


LINES = [
    "Great job 👍",
    "THE TRAIN TO THE AIRPORT IS LATE AGAIN",
    "Write to anna.meier@example.com or see https://example.org/a?b=c now.",
    "<i>The hamster comes down from the sky.</i>",
    "Hello {name}, you have {count} new messages.",
    "She is twenty nine and the train leaves at half past nine.",
    "Die Folien schicke ich euch später per E-Mail.",
    "word " * 150,
    "[applause]",
    "...",
    "",
]


@pytest.mark.parametrize("source", ["en", "auto"])
def test_the_command_line_says_what_the_service_says(
    http: httpx.Client,
    source: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = "\n".join(LINES).encode() + b"\n\xff\xfe bad\nafter\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["translate", "--from", source, "--to", "de"]) == 0
    lines = [*LINES, "\ufffd\ufffd bad", "after"]
    assert capsys.readouterr().out.split("\n")[:-1] == translate(http, lines, source=source)


def test_json_values_are_translated_and_keys_are_not(http: httpx.Client) -> None:
    upload = {"file": ("app.json", json.dumps({"Good": GREETING, "n": 1, "x": "42"}).encode())}
    data = {"source": "en", "target": "fr"}
    url = http.post("/translate_file", files=upload, data=data).json()["translatedFileUrl"]
    assert http.get(url).json() == {"Good": translate(http, GREETING, "fr"), "n": 1, "x": "42"}


@pytest.mark.parametrize(
    "text",
    [
        "Hello <b>world</b>",
        "The <i>train to the airport</i> is late <b>again</b>.",
        "Press <code>Ctrl+C</code> to <a href='x'>stop</a> it.",
    ],
)
def test_tags_among_words_all_stay(http: httpx.Client, text: str) -> None:
    found = translate(http, text, format="html")
    tags = regex.compile(r"<code>.*?</code>|<[^<>]*>")
    assert sorted(tags.findall(found)) == sorted(tags.findall(text))
    # Nothing is made up: a translation is about as long as its text.
    assert len(tags.sub("", found)) < 2 * len(tags.sub("", text)) + 10


# ---- text hygiene: each case through the socket, REST and OpenAI's endpoint ----------------------

NAMES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}
NFD = unicodedata.normalize

# Source, target, what is sent, and the form of what must come back.
FORMS = [
    ("en", "de", "Great job 👍", r"(Großart|Gut|Toll|Super|Klasse|Prima).* 👍"),
    ("en", "es", "Great job 👍", r".*trabajo.* 👍"),
    ("en", "de", "😀", "😀"),
    ("en", "de", "🔴 LIVE now", r"🔴 (LIVE|Live|Jetzt).*"),
    ("en", "de", "Great stream today 😂 see you next week everybody", r"\p{L}.+ 😂 .*Woche.*"),
    ("en", "es", "They are in my freezer 😆 I guess they came with the van.",
     r".*congelador.* 😆 \p{L}.*"),
    ("en", "de", "<i>The hamster comes down from the sky.</i>", r"<i>[^<>]*Himmel[^<>]*</i>"),
    ("en", "fr", "<i>The hamster comes down from the sky.</i>",
     r"<i>[^<>]*hamster[^<>]*ciel[^<>]*</i>"),
    ("en", "de", "Hello {name}, you have {count} new messages.",
     r"Hallo,? \{name\}.*\{count\}.*Nachrichten.*"),
    ("en", "fr", "Hello {name}, you have {count} new messages.", r"Bonjour,? \{name\}.*messages.*"),
    ("en", "de", "Go to Settings > General > About.", r"Geh.* Settings > General > About\."),
    ("en", "de", "The door is open.<br>Please close it.", r"[^<> ][^<>]+\.<br>[^<> ][^<>]+\."),
    ("en", "fr", "<p>Good morning.</p><p>The book is on the table.</p>",
     r"<p>Bonjour[^<>]*</p><p>[^<> ][^<>]*livre[^<>]*</p>"),
    ("en", "de", ">> Welcome back. >> Thanks for having me.",
     r">> Willkommen[^>]* >> [^>]*Dank[^>]*"),
    ("en", "fr", "Use `pip install` to install it.", r".*`pip install`.*install.*"),
    ("en", "de", "Hello %1$s, good to see you again!", r"Hallo,? %1\$s.*"),
    ("en", "fr", "The file is in C:\\Users\\me\\notes.txt",
     r".*fichier.* C:\\Users\\me\\notes\.txt\.?"),
    ("en", "de", "Привет, как дела?", "Привет, как дела\\?"),
    ("en", "de", "مرحبا بكم في العرض", "مرحبا بكم في العرض"),
    ("en", "de", "שלום לכולם", "שלום לכולם"),
    ("en", "de", "你好，世界", "你好，世界"),
    ("en", "de", "こんにちは", "こんにちは"),
    ("en", "es", "नमस्ते दोस्तों, कैसे हो?", "नमस्ते दोस्तों, कैसे हो\\?"),
    ("en", "de", "你好" * 300, "(你好){300}"),
    ("en", "fr", "Bye", "(?i)(au revoir|salut|adieu|bye)[.!]?"),
    ("en", "es", "Goodbye.", "(?i)¡?(adiós|hasta luego)[.!]?"),
    ("en", "fr", "Hello world!", "(?i)(bonjour|salut|hello),? .*monde ?!"),
    ("en", "de", "(inaudible) and then", r"\(unverständlich\) .*[Dd]ann.*"),
    ("en", "fr", "[inaudible] and then", r"\[inaudible\] .*"),
    ("en", "es", "(coughs)", r"\(tose\)"),
    ("en", "de", "[crosstalk] let me finish", r"\[Stimmengewirr\] [^\[\]]+"),
    ("en", "de", "?", r"\?"),
    ("en", "de", "...", r"\.\.\."),
    ("en", "de", "—", "—"),
    ("en", "fr", "Write #AskTheBoard2027 under your question.", r".*#AskTheBoard2027 .*question.*"),
    ("en", "de", "very very very very very very very very very very big", r"(?i).*sehr.* groß\.?"),
    ("en", "fr", "very very very very very very very very very very big",
     r"(?i).*très.* (grand|gros).*"),
    ("en", "es", "very very very very very very very very very very big",
     r"(?i).*muy.* (grand|enorm).*"),
    ("de", "en", "§ 5 des Gesetzes", r"§ 5 .*(law|act|Law|Act).*"),
    ("fr", "en", "L'Île est belle.", r"The [Ii](sland|le).*beautiful.*"),
    ("en", "de", "5 + 3 = 8", r"5 \+ 3 = 8"),
    ("en", "de", "Write to anna.meier@example.com or see https://example.org/a?b=c now.",
     r"Schreib.* anna\.meier@example\.com .*https://example\.org/a\?b=c.*"),
]  # fmt: skip
# Source, target, what is sent, and what says the same.
ALIKE = [
    (
        "de",
        "en",
        NFD("NFD", "Können Sie mir bitte über Ihre Pläne erzählen?"),
        "Können Sie mir bitte über Ihre Pläne erzählen?",
    ),
    (
        "es",
        "en",
        NFD("NFD", "El niño comió una manzana en la montaña."),
        "El niño comió una manzana en la montaña.",
    ),
    ("en", "de", "Hello\u200bworld, how are you?", "Hello world, how are you?"),
    ("en", "de", "Hello\xa0Ann, how are you?", "Hello Ann, how are you?"),
    ("en", "de", "The \xadhyphen", "The hyphen"),
    ("en", "de", "non\u2011breaking hyphen", "non-breaking hyphen"),
    ("en", "de", "a\0b", "ab"),
    ("fr", "en", "«\xa0Je pars\xa0», dit-elle.", "« Je pars », dit-elle."),
]
# Source, target, what is sent, numbers of which each must come back, and numbers that must not.
NUMBERS: list[tuple[str, str, str, tuple[str, ...], tuple[str, ...]]] = [
    ("en", "de", "She is twenty nine and her sister is seventeen.",
     ("29|neunundzwanzig", "17|siebzehn"), ()),
    ("en", "es", "She is twenty nine and her sister is seventeen.",
     ("29|veintinueve", "17|diecisiete"), ()),
    ("en", "fr", "She is twenty nine and her sister is seventeen.",
     ("29|vingt-neuf", "17|dix-sept"), ("27",)),
    ("en", "fr", "It costs twenty three dollars.", ("23",), ("20",)),
    ("en", "de", "The doors open at noon.", ("12|[Mm]ittag",), ("19",)),
    ("en", "de", "Let us start at half past nine.", ("9:30",), ("8:30", "21:30")),
    ("en", "fr", "Let us start at half past nine.", ("9 ?h ?30|neuf heures et demie",), ("7",)),
    ("en", "fr", "Dinner is at a quarter past seven.", ("7 ?h ?15",), ("8",)),
    ("en", "fr", "The backup runs at 23:59.", ("23 ?h ?59",), ("14",)),
    ("en", "de", "The parcel arrives on 05/11/2026 at 8:45 p.m.", ("05/11/2026", "20:45"), ("17",)),
    ("de", "en", "Wir treffen uns um halb zehn.", ("9:30|half past nine",), ("10:30", "2:30")),
    ("de", "en", "Der Zug fährt um Viertel nach sieben.", ("7:15|quarter past seven",), ("6:45",)),
    ("fr", "en", "Le train part à neuf heures et demie.", ("9:30|half past nine",), ()),
    ("es", "en", "La reunión es a las nueve menos cuarto.", ("8:45|quarter to nine",), ("9:45",)),
]  # fmt: skip
LOUD = [
    "The train to the airport is late again",
    "Good morning everyone",
    "The book is on the table.",
]


def through_all_doors(http: httpx.Client, asked: list[tuple[str, str, str]]) -> list[list[str]]:
    """What the socket, REST and OpenAI's endpoint say of each (source, target, text)."""
    pairs = sorted({(source, target) for source, target, _ in asked})
    said: dict[tuple[str, str, str], list[str]] = {each: [] for each in asked}
    for source, target in pairs:
        texts = [text for a, b, text in asked if (a, b) == (source, target)]
        finals = asyncio.run(committed(http, texts, source, target))
        rest = translate(http, texts, target, source=source)
        system = f"Translate from {NAMES[source]} into {NAMES[target]}."
        for text, final, whole in zip(texts, finals, rest, strict=True):
            said[source, target, text] += [final, whole, chat(http, system, text)]
    return [said[each] for each in asked]


async def committed(http: httpx.Client, texts: list[str], source: str, target: str) -> list[str]:
    url = f"{http.base_url}".replace("http", "ws").rstrip("/") + "/v1/stream"
    async with session(url) as client:
        await client.start(target, source=p.SourceParams(source))
        for i, text in enumerate(texts):
            await client.send(p.SourceCommit(f"s{i}", text=text))
        finals: Any = await client.until(p.TranslationFinal, count=len(texts))
    assert [final.source_text for final in finals] == texts  # what was sent, not what was read
    return [final.text for final in finals]


def test_what_is_no_word_comes_through_every_door(http: httpx.Client) -> None:
    found = through_all_doors(http, [(source, target, text) for source, target, text, _ in FORMS])
    wrong = [
        (text, said)
        for (_, _, text, form), doors in zip(FORMS, found, strict=True)
        for said in doors
        if not regex.fullmatch(form, said)
    ]
    assert wrong == []


def test_numbers_are_those_of_the_source_at_every_door(http: httpx.Client) -> None:
    found = through_all_doors(
        http, [(source, target, text) for source, target, text, *_ in NUMBERS]
    )
    wrong = [
        (text, said)
        for (_, _, text, there, not_there), doors in zip(NUMBERS, found, strict=True)
        for said in doors
        if not all(regex.search(rf"(?<!\d)(?:{number})", said) for number in there)
        or any(number in said for number in not_there)
    ]
    assert wrong == []


def test_odd_characters_say_what_plain_ones_say(http: httpx.Client) -> None:
    odd = through_all_doors(http, [(a, b, text) for a, b, text, _ in ALIKE])
    plain = through_all_doors(http, [(a, b, text) for a, b, _, text in ALIKE])
    assert odd == plain


@pytest.mark.parametrize("target", ["de", "fr", "es"])
def test_capitals_are_read_as_sentences_and_given_back(http: httpx.Client, target: str) -> None:
    loud = through_all_doors(http, [("en", target, text.upper()) for text in LOUD])
    calm = through_all_doors(http, [("en", target, text) for text in LOUD])
    assert loud == [[said.upper() for said in doors] for doors in calm]
    assert all(
        said != text.upper() for text, doors in zip(LOUD, loud, strict=True) for said in doors
    )


def test_a_line_break_is_a_space_that_whole_texts_get_back(http: httpx.Client) -> None:
    text = "We are happy to\nsee you here\nthis evening"
    ((live, whole, asked),) = through_all_doors(http, [("en", "de", text)])
    assert "\n" not in live
    assert whole == asked
    assert whole.count("\n") == 2
    assert whole.split() == live.split()
    plain = translate(http, text.replace("\n", " "))
    assert live == plain
    pages = "One page.\n\n  Two pages.\r\n\n"
    assert regex.fullmatch(r"\S[^\n]+\n\n  \S[^\n]+\r\n\n", translate(http, pages))
