"""What other programs send, to the shipped model: what must hold whatever a model says.

Kinds of trouble from public bug reports of other tools. The marks round a text, its tags and its
times come to nothing that the plain words would not have come to.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import regex

from service.config import load_config
from tests.service.process import serving
from tokenspeed.cli import main

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
def http() -> Iterator[httpx.Client]:
    with serving(load_config().model, TOKENSPEED_ADMISSION="0") as (_, port):
        url = f"http://127.0.0.1:{port}"
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
        GREETING, "We have a lot to talk about this afternoon.", "Where is the key?",
        "It is on the table.",
    ]  # fmt: skip
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
    ("text", "target", "there", "not_there"),
    [
        ("She is twenty nine and her sister is seventeen.", "de", ("29", "17"), ()),
        ("She is twenty nine and her sister is seventeen.", "es", ("29", "17"), ()),
        ("It costs twenty three dollars.", "fr", ("23",), ("20",)),
        ("The doors open at noon.", "de", ("12",), ("19",)),
        ("Let us start at half past nine.", "de", ("9:30",), ("8:30", "21:30")),
        ("Dinner is at a quarter past seven.", "fr", ("7 ?h ?15",), ("8",)),
        ("The backup runs at 23:59.", "fr", ("23 ?h ?59",), ("14",)),
        ("The parcel arrives on 05/11/2026 at 8:45 p.m.", "de", ("05/11/2026", "20:45"), ("17",)),
    ],
)
def test_numbers_are_those_of_the_source(
    http: httpx.Client, text: str, target: str, there: tuple[str, ...], not_there: tuple[str, ...]
) -> None:
    name = {"de": "German", "fr": "French", "es": "Spanish"}[target]
    asked = f"Translate from English into {name}."
    for said in (translate(http, text, target), chat(http, asked, text)):
        assert all(regex.search(rf"(?<!\d){number}", said) for number in there), said
        assert not any(number in said for number in not_there), said


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
