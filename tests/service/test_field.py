"""Languages, segments and terms as the field met them, over a real socket, with the shipped model.

Kinds of trouble from public bug reports of other tools. What is asked of a translation is only what
any right one has.
"""

import asyncio
from typing import Any

import httpx
import pytest

from service.wire import protocol as p
from tests.service.client import Client, session

GERMAN = "Die Folien schicke ich euch später per E-Mail und dann sehen wir uns am Montag."
ENGLISH = "The patch was merged yesterday and it will be deployed tonight by the operations team"


@pytest.fixture
def port(shipped: int) -> int:
    return shipped


async def meeting(port: int, source: str, *frames: p.ClientEvent, **params: Any) -> Client:
    """Send frames to a session, and close it."""
    targets = params.pop("targets", ("de",))
    async with session(f"ws://127.0.0.1:{port}/v1/stream") as client:
        await client.start(*targets, source=p.SourceParams(source), **params)
        for frame in frames:
            await client.send(frame)
        await client.send(p.SessionClose())
        async with asyncio.timeout(60):
            while not isinstance(await client.receive(), p.SessionClosed):
                pass
    return client


def finals(client: Client, target: str = "de") -> dict[str, str]:
    events = [e for e in client.received if isinstance(e, p.TranslationFinal)]
    return {e.segment_id: e.text for e in events if e.target == target}


def commits(*texts: str) -> list[p.ClientEvent]:
    return [p.SourceCommit(f"s{n}", text=text) for n, text in enumerate(texts)]


def errors(client: Client) -> list[str]:
    return [e.error.code for e in client.received if isinstance(e, p.Error)]


@pytest.mark.parametrize("source", ["auto", "de", "en"])
async def test_a_speaker_who_switches_languages_reads_well_in_one(port: int, source: str) -> None:
    client = await meeting(port, source, *commits(ENGLISH, GERMAN, ENGLISH), targets=("en", "fr"))
    said = finals(client, "en")
    assert (said["s0"], said["s2"]) == (ENGLISH, ENGLISH)
    assert "Monday" in said["s1"]
    assert {"slides", "e-mail", "email"} & {word.strip(".,").lower() for word in said["s1"].split()}
    assert "lundi" in finals(client, "fr")["s1"]  # through English
    named = [e for e in client.received if isinstance(e, p.SessionNotice)]
    assert {notice.code for notice in named} == (
        {"language_mismatch"} if source != "auto" else set()
    )


async def test_a_text_that_is_in_the_wanted_language_is_its_own_translation(port: int) -> None:
    text = "Wir haben 120 neue Kunden gewonnen."
    assert finals(await meeting(port, "auto", *commits(text))) == {"s0": text}


async def test_a_pair_that_takes_two_passes_streams_while_its_words_come(port: int) -> None:
    words = GERMAN.split()
    async with (
        asyncio.timeout(60),
        session(f"ws://127.0.0.1:{port}/v1/stream") as client,
    ):
        await client.start("fr", source=p.SourceParams("de"), stability="low")
        for n in (4, 8, len(words)):
            await client.send(p.SourceUpdate(n, " ".join(words[:n]), "", "a"))
            told: Any = None
            while told is None or told.source_rev < n:
                (told,) = await client.until(p.TranslationDelta)
        before = [e for e in client.received if isinstance(e, p.TranslationDelta)]
        await client.send(p.SourceCommit("a"))
        await client.until(p.TranslationFinal)
    assert {delta.target for delta in before} == {"fr"}
    assert len({delta.append + delta.unstable for delta in before}) > 2  # it grew
    assert finals(client, "fr")["a"].startswith("".join(delta.append for delta in before))
    assert "lundi" in finals(client, "fr")["a"]


async def test_what_grows_in_the_wanted_language_passes_through(port: int) -> None:
    words = ENGLISH.split()
    growing = [p.SourceUpdate(n, "", " ".join(words[:n]), "a") for n in range(1, len(words) + 1)]
    client = await meeting(port, "auto", *growing, p.SourceCommit("a"), targets=("en",))
    assert finals(client, "en") == {"a": ENGLISH}


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("No. 5 is alive.", ["5"], ["Nein"]),
        ("We met near the U.S. Embassy.", ["Botschaft"], [". Botschaft"]),
        ("The meeting is at 7 p.m. and lunch is at noon.", ["19 Uhr", "Mittagessen"], []),
    ],
)
async def test_abbreviations_end_no_sentence(
    port: int, text: str, wanted: list[str], unwanted: list[str]
) -> None:
    said = finals(await meeting(port, "en", *commits(text)))["s0"]
    assert all(word in said for word in wanted), said
    assert not any(word in said for word in unwanted), said
    assert said.rstrip(".").count(". ") == 0


async def test_finals_come_in_the_order_of_speech(port: int) -> None:
    long = (
        "The committee has decided after a long discussion that the bridge will be built next year."
    )
    client = await meeting(port, "en", *commits(long, "Yes.", long, "No."))
    assert list(finals(client)) == ["s0", "s1", "s2", "s3"]


async def test_a_long_segment_is_cut_with_a_notice_and_without_a_seam(port: int) -> None:
    text = "we walked down to the harbour because the boats were coming in and " * 31
    client = await meeting(port, "en", *commits(text + "then we slept."))
    assert errors(client) == []
    notices = [e for e in client.received if isinstance(e, p.SessionNotice)]
    assert {notice.code for notice in notices} == {"segment_cut"}
    assert list(finals(client)) == ["s0", "s0~2"]
    for said in finals(client).values():
        assert said.rstrip(".").count(". ") == 0  # it is one sentence, whatever its pieces are


async def test_a_name_that_is_used_twice_is_told(port: int) -> None:
    first: list[p.ClientEvent] = [
        p.SourceUpdate(0, "Good", segment_id="mic"),
        p.SourceUpdate(1, "Good morning.", segment_id="mic"),
        p.SourceCommit("mic", rev=1),
    ]
    again: list[p.ClientEvent] = [first[1], first[2]]
    second: list[p.ClientEvent] = [
        p.SourceUpdate(0, "The", segment_id="mic"),
        p.SourceCommit("mic", text="The weather is nice."),
    ]
    client = await meeting(port, "en", *first, *again, *second)
    assert errors(client) == ["unknown_segment"] * 2
    assert list(finals(client)) == ["mic"]


async def test_terms_are_found_in_plural_and_lost_ones_counted(port: int) -> None:
    glossary = (p.GlossaryEntry("ticket", "Eintrittskarte"), p.GlossaryEntry("stage", "Hauptbühne"))
    client = await meeting(
        port,
        "en",
        *commits("Our tickets are sold out.", "Both stages are open."),
        glossary=glossary,
    )
    stats = [e.stats for e in client.received if isinstance(e, p.TranslationFinal)]
    assert [each.terms for each in stats] == [1, 1]
    for each, said, term in zip(
        stats, finals(client).values(), ("eintrittskarte", "hauptbühne"), strict=True
    ):
        assert (each.violations == 0) == (term in said.lower())


async def test_a_form_of_address_works_or_is_refused_by_name(port: int) -> None:
    wanted = (p.TargetParams("de", "formal"),)
    async with session(f"ws://127.0.0.1:{port}/v1/stream") as client:
        await client.send(p.SessionUpdate(p.SessionParams(p.SourceParams("en"), wanted)))
        while not isinstance(
            client.received[-1:][0] if client.received else None, p.SessionUpdated | p.Error
        ):
            await client.receive()
        told = client.received[-1]
        if isinstance(told, p.Error):
            assert (told.error.code, told.error.param) == (
                "unsupported",
                "session.targets[0].formality",
            )
            return
        await client.send(p.SourceCommit("a", text="Can you help me?"))
        while not isinstance(client.received[-1], p.TranslationFinal):
            await client.receive()
        assert "Sie" in client.received[-1].text


def test_the_doors_agree(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:

        def translate(q: str, source: str, target: str, **more: Any) -> str:
            body = {"q": q, "source": source, "target": target, **more}
            text: str = http.post("/translate", json=body).json()["translatedText"]
            return text

        assert translate(ENGLISH, "auto", "en") == translate(ENGLISH, "de", "en") == ENGLISH
        assert translate(f"{GERMAN} {ENGLISH}", "auto", "en").endswith(ENGLISH)
        assert "lundi" in translate(GERMAN, "auto", "fr")
        assert "Nein" not in translate("No. 5 is alive.", "en", "de")
        said = translate("Our tickets are here.", "en", "de", glossary={"ticket": "Eintrittskarte"})
        assert "Eintrittskarte" in said
        detected = [
            http.post("/detect", json={"q": q}).json()[0] for q in ("Hola", "Ja", "OK", "No")
        ]
        assert detected[0]["language"] == "es"
        assert [each["confidence"] for each in detected[1:]] == [0.0] * 3
