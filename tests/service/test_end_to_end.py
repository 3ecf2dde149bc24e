"""The whole product: a real process, a real socket, the real model, at speaking pace."""

import asyncio
import re
import statistics
import time
import unicodedata
from pathlib import Path

import httpx
import pytest

from service.bench.served import Served
from service.captions.policy import trim_repetition
from service.config import load_config
from service.wire import protocol as p
from tests.service.client import Client, session
from tests.service.process import serving
from tests.tokenspeed.dictionary import LANGUAGES, translation, write_dictionary
from tokenspeed.engine.loading import load_engine
from tokenspeed.engine.request import Request

SENTENCE = "Good morning everyone, today we would like to talk about our new house."
UPDATES_PER_S = 3.0
WITHOUT_SPACES = ("zh-Hans", "ja")  # between sentences


TALK = "Good morning everyone. Today we talk about the new house."


async def speak(client: Client, sentence: str) -> None:
    """Send a sentence word by word, on a clock that does not wait for answers."""
    words = sentence.split()
    started = time.monotonic()
    for rev in range(1, len(words) + 1):
        await asyncio.sleep(max(0.0, started + rev / UPDATES_PER_S - time.monotonic()))
        await client.send(p.SourceUpdate(rev, " ".join(words[:rev]), segment_id="a"))
    await client.send(p.SourceCommit("a"))


async def test_a_sentence_at_speaking_pace(capsys: pytest.CaptureFixture[str]) -> None:
    directory = load_config().model
    with serving(directory) as (_, port):
        async with session(f"ws://127.0.0.1:{port}/v1/stream") as client:
            await client.start("de", timing=True)
            speaking = asyncio.create_task(speak(client, SENTENCE))
            await client.until(p.TranslationFinal)
            await speaking
    deltas = [e for e in client.received if isinstance(e, p.TranslationDelta)]
    final = client.received[-1]
    assert isinstance(final, p.TranslationFinal)
    assert len({delta.source_rev for delta in deltas}) >= 3, "translations grow while one speaks"
    appended = "".join(delta.append for delta in deltas)
    assert final.text.startswith(appended)
    assert final.source_text == SENTENCE

    model = load_engine(directory)
    try:
        prompt = model.prompts.build(SENTENCE, "en", "de", is_open=False)
        forced = tuple(model.tokenizer.encode(appended))
        cap = model.prompts.length_cap(len(prompt), "en", "de")
        request = Request(prompt, forced=forced, max_new_tokens=cap)
        (greedy,) = model.engine.run([request])
        tokens = greedy.tokens
        if greedy.finish_reason == "length":  # a model that runs in circles is cut short
            tokens = trim_repetition(tokens, len(forced))
        assert final.text == model.tokenizer.decode(tokens)
    finally:
        model.close()
    with capsys.disabled():
        print(summary(client), end="")  # noqa: T201


async def finals_of(port: int, number: int) -> list[str]:
    """Say three sentences, and return what comes of them."""
    async with session(f"ws://127.0.0.1:{port}/v1/stream") as client:
        await client.start("de", "fr", partials=False)
        for i in range(3):
            text = f"Speaker {number} says sentence {i} of three to everybody."
            await client.send(p.SourceCommit(f"s{i}", text=text))
        await client.until(p.TranslationFinal, count=6)
        finals = [e for e in client.received if isinstance(e, p.TranslationFinal)]
        assert not [e for e in client.received if isinstance(e, p.Error)]
        return sorted(f"{f.segment_id} {f.target} {f.text}" for f in finals)


@pytest.fixture(scope="module")
def finals_without_a_fault(shipped: int) -> list[list[str]]:
    return asyncio.run(finals_of_all(shipped))


async def finals_of_all(port: int) -> list[list[str]]:
    return list(await asyncio.gather(*(finals_of(port, number) for number in range(3))))


@pytest.mark.parametrize("fault", ["step:5", "memory:5", "exit:5"])
async def test_an_engine_that_fails_now_and_then_costs_nobody_a_word(
    fault: str, finals_without_a_fault: list[list[str]]
) -> None:
    variables = {"TOKENSPEED_ADMISSION": "0", "TOKENSPEED_LOG_LEVEL": "ERROR"}
    program = ("tests.service.faulty", fault)
    with serving(load_config().model, *program, **variables) as (process, port):
        assert await finals_of_all(port) == finals_without_a_fault
        metrics = await Served(f"127.0.0.1:{port}", process.pid).metrics()
        assert metrics["tokenspeed_engine_failures_total"] > 0
        assert process.poll() is None


def summary(client: Client) -> str:
    """The figures that the 200 ms budget is about."""
    timings = [
        event.timing
        for event in client.received
        if isinstance(event, p.TranslationDelta | p.TranslationFinal) and event.timing
    ]
    totals = sorted(timing.total_ms for timing in timings)
    p95 = statistics.quantiles(totals, n=20, method="inclusive")[-1]
    accepted = sum(timing.accepted for timing in timings)
    decoded = sum(timing.decoded for timing in timings)
    return (
        f"\n{len(totals)} updates: total_ms p50 {statistics.median(totals):.1f}, p95 {p95:.1f}, "
        f"max {totals[-1]:.1f}; {accepted} tokens accepted, {decoded} decoded\n"
    )


async def test_scripts_without_spaces_and_from_right_to_left(tmp_path: Path) -> None:
    """Appended only, of whole characters, joined as the language joins: what a reader sees."""
    with serving(write_dictionary(tmp_path)) as (_, port):
        async with session(f"ws://127.0.0.1:{port}/v1/stream") as client:
            # As people name them; the server says what it calls them.
            await client.start("zh-CN", "ja-JP", "th", "ar-EG", "iw", stability="low")
            words = TALK.split()
            for rev in range(1, len(words) + 1):
                await client.send(p.SourceUpdate(rev, " ".join(words[:rev]), segment_id="a"))
                # The next word comes when this one was said, however long that takes.
                while rev not in {getattr(e, "source_rev", 0) for e in client.received}:
                    await client.receive()
            await client.send(p.SourceCommit("a"))
            finals = await client.until(p.TranslationFinal, count=len(LANGUAGES))
        created = next(e for e in client.received if isinstance(e, p.SessionCreated))
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{port}"
            offered = (await http.get(f"{url}/languages")).json()
            body = {"q": TALK, "source": "en-GB", "target": "zh-SG"}
            whole = (await http.post(f"{url}/translate", json=body)).json()["translatedText"]
            asked = {"text": [TALK], "source_lang": "EN", "target_lang": "ZH-HANS"}
            deepl = (await http.post(f"{url}/v2/translate", json=asked)).json()
    (english,) = created.session.languages
    assert set(english.targets) == set(LANGUAGES)
    assert {target for info in offered for target in info["targets"]} == set(LANGUAGES)
    said = {final.target: final.text for final in finals if isinstance(final, p.TranslationFinal)}
    assert said == {
        language: (" " if language not in WITHOUT_SPACES else "").join(
            translation(sentence, language) for sentence in re.split(r"(?<=\.) ", TALK)
        )
        for language in LANGUAGES
    }
    assert whole == said["zh-Hans"]
    assert deepl["translations"][0]["text"] == whole
    for language in LANGUAGES:
        deltas = [
            e for e in client.received if isinstance(e, p.TranslationDelta) and e.target == language
        ]
        assert len(deltas) > 2, "translations grow while one speaks"
        text = ""
        for delta in deltas:
            text += delta.append
            for shown in (text, text + delta.unstable):
                # No mark of the next character is missing: that would be half a character.
                assert said[language].startswith(text)
                assert not unicodedata.combining((said[language][len(shown) :] or "x")[0])
